package job

import (
	"errors"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func jobWith(conditions ...batchv1.JobCondition) *batchv1.Job {
	made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "x-scan"}}
	made.Spec.ActiveDeadlineSeconds = new(int64(60))
	made.Status.Conditions = conditions
	return made
}

var (
	running  = jobWith()
	complete = jobWith(batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue})
	failed   = jobWith(batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonBackoffLimitExceeded})
	late     = jobWith(batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: batchv1.JobReasonDeadlineExceeded})
)

func podOf(container string, state corev1.ContainerState) []corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container, State: state}}
	return []corev1.Pod{pod}
}

func exited(container string, code int32, reason, message string) []corev1.Pod {
	return podOf(container, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}})
}

func evicted(message string) []corev1.Pod {
	pods := exited("syft", 137, "Error", "")
	pods[0].Status.Phase, pods[0].Status.Reason, pods[0].Status.Message = corev1.PodFailed, "Evicted", message
	return pods
}

func unschedulable() []corev1.Pod {
	pods := podOf("syft", corev1.ContainerState{})
	pods[0].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes"}}
	return pods
}

// plain has no words of its own, worded has all.
var (
	plain  = Kind{Subject: "scan", Reporter: "report", Running: "Scanning", Failed: "ScanFailed", Logs: []string{"syft"}}
	worded = Kind{Subject: "scan", Reporter: "report", Running: "Scanning", Failed: "ScanFailed", Logs: []string{"syft"},
		TimedOut:  func(limit time.Duration) string { return fmt.Sprintf("%s are over", limit) },
		Memory:    func(container string) string { return ": buy more for " + container },
		Volume:    "make room",
		Placement: "buy nodes",
		Lost:      "the digests",
		Explain: func(container string, t *corev1.ContainerStateTerminated, said string) error {
			if t.ExitCode != 2 {
				return nil
			}
			return pipeline.Retryablef("Explained", "%s explained: %s", container, said)
		},
	}
)

func TestEveryKindSaysWhatCameOfItInItsWords(t *testing.T) {
	const fault = `{"reason":"RegistryDenied","message":"403"}`
	tests := map[string]struct {
		kind         Kind
		job          *batchv1.Job
		pods         []corev1.Pod
		reason, want string
	}{
		"no pod":                             {plain, running, nil, "Scanning", "scan: waiting for a pod"},
		"it runs":                            {plain, running, podOf("syft", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), "Scanning", "scan: running syft"},
		"no node takes it":                   {plain, running, unschedulable(), pipeline.ReasonPodUnschedulable, "scan: pod pod can't be scheduled: 0/1 nodes; add nodes"},
		"no node takes it, in words":         {worded, running, unschedulable(), pipeline.ReasonPodUnschedulable, "scan: pod pod can't be scheduled: 0/1 nodes; buy nodes"},
		"the pod is gone":                    {plain, complete, nil, "ScanFailed", "scan: the pod of Job x-scan is gone, and with it its report"},
		"the pod is gone, in words":          {worded, complete, nil, "ScanFailed", "scan: the pod of Job x-scan is gone, and with it the digests"},
		"time is over":                       {plain, late, nil, v1alpha1.ReasonTimedOut, "scan: spec.timeout of 1m0s has passed: raise it"},
		"time is over, in words":             {worded, late, nil, v1alpha1.ReasonTimedOut, "scan: 1m0s are over"},
		"a volume is full":                   {plain, failed, evicted("Usage of EmptyDir volume x"), pipeline.ReasonImageTooLarge, "scan: pod pod was evicted: Usage of EmptyDir volume x: raise its limit in the operator's configuration"},
		"a volume is full, in words":         {worded, failed, evicted("Usage of EmptyDir volume x"), pipeline.ReasonImageTooLarge, "scan: pod pod was evicted: Usage of EmptyDir volume x: make room"},
		"memory":                             {plain, failed, exited("syft", 137, "OOMKilled", "x"), pipeline.ReasonOutOfMemory, "scan: container syft ran out of memory: raise its limit"},
		"memory, in words":                   {worded, failed, exited("syft", 137, "OOMKilled", "x"), pipeline.ReasonOutOfMemory, "scan: container syft ran out of memory: buy more for syft"},
		"a log":                              {plain, failed, exited("syft", 2, "Error", "a\nb"), "ScanFailed", "scan: container syft exited with 2: a | b"},
		"a log that looks like a report":     {plain, failed, exited("syft", 1, "Error", fault), "ScanFailed", "scan: container syft exited with 1: " + fault},
		"a log that is explained":            {worded, failed, exited("syft", 2, "Error", "a\nb"), "Explained", "syft explained: a | b"},
		"a log that has no explanation":      {worded, failed, exited("syft", 1, "Error", "a"), "ScanFailed", "scan: container syft exited with 1: a"},
		"a report of a fault":                {plain, failed, exited("report", 1, "Error", fault), "RegistryDenied", "scan: report: 403"},
		"the message of another container":   {plain, complete, exited("syft", 0, "Completed", "{}"), "ScanFailed", "scan: the pod of Job x-scan is gone, and with it its report"},
		"a fault that no container reported": {plain, failed, podOf("syft", corev1.ContainerState{}), "ScanFailed", "scan: Job x-scan failed: BackoffLimitExceeded: "},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			message, err := tt.kind.Outcome(tt.job, tt.pods, limits.Build{})
			if message != "" || err == nil || err.Error() != tt.want || reasonOf(err) != tt.reason {
				t.Errorf("got %q, %s: %v; want %s: %s", message, reasonOf(err), err, tt.reason, tt.want)
			}
		})
	}
}

func reasonOf(err error) string {
	if terminal, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return terminal.Reason
	}
	if waiting, ok := errors.AsType[*pipeline.Waiting](err); ok {
		return waiting.Reason
	}
	return ""
}

func TestTheMessageOfTheReporterIsTheOutcome(t *testing.T) {
	got, err := plain.Outcome(complete, exited("report", 0, "Completed", `{"any":"thing"}`), limits.Build{})
	if err != nil || got != `{"any":"thing"}` {
		t.Errorf("got %q, %v", got, err)
	}
}
