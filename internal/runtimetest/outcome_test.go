package runtimetest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func assertTerminal(t *testing.T, err error, reason string, retryable bool) {
	t.Helper()
	terminal, ok := err.(*pipeline.Terminal) //nolint:errorlint // It must be the fault itself.
	if !ok || terminal.Reason != reason || terminal.Retryable != retryable {
		t.Errorf("got %#v (%v), want a Terminal with reason %s, retryable: %t", err, err, reason, retryable)
	}
}

// ended is a Job that ended with a condition, and its pod with a state of each container.
func ended(t *testing.T, condition batchv1.JobCondition, states map[string]corev1.ContainerStateTerminated) (*batchv1.Job, []corev1.Pod) {
	t.Helper()
	made, err := Job(testOptions("linux/arm64", nil))
	if err != nil {
		t.Fatal(err)
	}
	condition.Status = corev1.ConditionTrue
	made.Status.Conditions = []batchv1.JobCondition{condition}
	pod := corev1.Pod{ObjectMeta: made.Spec.Template.ObjectMeta, Spec: made.Spec.Template.Spec}
	for name, state := range states {
		s := corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &state}}
		if name == ContainerInstall {
			pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, s)
		} else {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
		}
	}
	return made, []corev1.Pod{pod}
}

func TestOutcomeOfATestThatRan(t *testing.T) {
	made, pods := ended(t, batchv1.JobCondition{Type: batchv1.JobComplete}, map[string]corev1.ContainerStateTerminated{
		ContainerInstall: {},
		ContainerTest:    {Message: `{"checks":[{"name":"user","outcome":"Failed","message":"root"}]}`},
	})
	got, err := Outcome(made, pods, limits.Build{})
	want := pipeline.ProbeReport{Checks: []pipeline.ProbeCheck{{Name: "user", Outcome: pipeline.ProbeFailed, Message: "root"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestOutcomeOfATestThatFailed(t *testing.T) {
	complete, broken := batchv1.JobCondition{Type: batchv1.JobComplete}, batchv1.JobCondition{Type: batchv1.JobFailed}
	tests := map[string]struct {
		condition batchv1.JobCondition
		states    map[string]corev1.ContainerStateTerminated
		reason    string
		retryable bool
		says      string
	}{
		"no report": {complete, map[string]corev1.ContainerStateTerminated{ContainerTest: {}}, pipeline.ReasonProbeFailed, true, "left no report"},
		"a report that is none": {complete, map[string]corev1.ContainerStateTerminated{ContainerTest: {Message: `{"checks":[]}`}},
			pipeline.ReasonProbeFailed, true, "left no report"},
		"the probe could not work": {broken, map[string]corev1.ContainerStateTerminated{ContainerTest: {ExitCode: 1, Message: "probe: /proc/self is not of the kernel"}},
			pipeline.ReasonProbeFailed, true, "linux/arm64: container test exited with 1: probe: /proc/self is not"},
		"what looks like a report of the worker is a log": {broken, map[string]corev1.ContainerStateTerminated{ContainerTest: {ExitCode: 1, Message: `{"reason":"Promoted","message":"x"}`}},
			pipeline.ReasonProbeFailed, true, "exited with 1"},
		"no emulation on a node that says so": {broken, map[string]corev1.ContainerStateTerminated{ContainerTest: {ExitCode: 128, Reason: "StartError", Message: "exec /basewright-probe/probe: exec format error"}},
			pipeline.ReasonProbeFailed, true, "remove its label emulation.basewright.dev/arm64"},
		"no memory for the command": {broken, map[string]corev1.ContainerStateTerminated{ContainerTest: {ExitCode: 137, Reason: "OOMKilled"}},
			pipeline.ReasonOutOfMemory, false, "256Mi: set spec.tests.command"},
		"the worker has no probe": {broken, map[string]corev1.ContainerStateTerminated{ContainerInstall: {ExitCode: 1, Message: "worker: opening the probe"}},
			pipeline.ReasonProbeFailed, true, "container install exited with 1: worker: opening the probe"},
		"the worker says what is wrong with it": {broken, map[string]corev1.ContainerStateTerminated{ContainerInstall: {ExitCode: 1, Message: `{"reason":"ProbeFailed","message":"no probe"}`}},
			pipeline.ReasonProbeFailed, false, "install: no probe"},
		"no time left": {batchv1.JobCondition{Type: batchv1.JobFailed, Reason: batchv1.JobReasonDeadlineExceeded}, nil, v1alpha1.ReasonTimedOut, false, "spec.timeout of 1h30m0s has passed"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			made, pods := ended(t, tt.condition, tt.states)
			report, err := Outcome(made, pods, limits.Build{})
			assertTerminal(t, err, tt.reason, tt.retryable)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !cmp.Equal(report, pipeline.ProbeReport{}) {
				t.Errorf("got %+v, %v, want %q", report, err, tt.says)
			}
		})
	}
}

func TestOutcomeOfASlowPod(t *testing.T) {
	made, pods := ended(t, batchv1.JobCondition{Type: batchv1.JobFailed, Reason: batchv1.JobReasonBackoffLimitExceeded}, nil)
	pods[0].Status.Phase, pods[0].Status.Reason = corev1.PodFailed, "DeadlineExceeded"
	_, err := Outcome(made, pods, limits.Build{})
	assertTerminal(t, err, v1alpha1.ReasonTimedOut, true)
	pods[0].Status.Reason = "Evicted"
	_, err = Outcome(made, pods, limits.Build{})
	assertTerminal(t, err, pipeline.ReasonPodEvicted, true)
}

func TestOutcomeOfATestThatRuns(t *testing.T) {
	made, err := Job(testOptions("linux/amd64", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Outcome(made, nil, limits.Build{}); !pipeline.IsWaiting(err) {
		t.Errorf("got %v", err)
	}
}
