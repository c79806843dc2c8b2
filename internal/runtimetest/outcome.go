package runtimetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Outcome reads how a test Job ended: the report of the probe, whatever it says of the image, or a fault as of
// job.Kind.Outcome. A probe that could not work says nothing of the image, so another attempt may succeed.
func Outcome(made *batchv1.Job, pods []corev1.Pod, bounds limits.Build) (pipeline.ProbeReport, error) {
	k := kind("linux/" + made.Labels[job.LabelArchitecture])
	message, err := k.Outcome(made, pods, bounds)
	if i := slices.IndexFunc(pods, tooSlow); i >= 0 && pipeline.IsTerminal(err) {
		return pipeline.ProbeReport{}, pipeline.Retryablef(v1alpha1.ReasonTimedOut,
			"%s: pod %s did not end within %s: see its events for what held it up, such as a slow pull of the images", k.Subject, pods[i].Name, deadline*time.Second)
	}
	if err != nil {
		return pipeline.ProbeReport{}, err
	}
	report, err := pipeline.ParseProbeReport(message)
	if err != nil {
		return pipeline.ProbeReport{}, pipeline.Retryablef(pipeline.ReasonProbeFailed, "%s: container %s of Job %s left no report: %w", k.Subject, ContainerTest, made.Name, err)
	}
	return report, nil
}

// tooSlow reports whether the kubelet has ended a pod because of its own deadline
// (k8s.io/kubernetes/pkg/kubelet, active_deadline.go). Another node may be faster.
func tooSlow(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodFailed && pod.Status.Reason == "DeadlineExceeded"
}

func kind(platform string) job.Kind {
	k := job.Kind{
		Subject:  platform,
		Reporter: ContainerTest,
		Running:  v1alpha1.ReasonTesting,
		Failed:   pipeline.ReasonProbeFailed,
		Logs:     []string{ContainerTest},
		Memory: func(container string) string {
			if container == ContainerTest {
				return ", of which it has 256Mi: set spec.tests.command to one that needs less"
			}
			return ", of which it has 128Mi: report it"
		},
		Placement: "add nodes, or change spec.platforms[] (nodeSelector, tolerations)",
		Lost:      "the probe's report",
	}
	k.Explain = func(container string, t *corev1.ContainerStateTerminated, said string) error {
		return pipeline.Retryablef(pipeline.ReasonProbeFailed, "%s: container %s exited with %d%s: %s", platform, container, t.ExitCode, foreign(platform, said), said)
	}
	return k
}

// foreign explains what runc says of a program that the node can't run, although its labels say so.
func foreign(platform, said string) string {
	if !strings.Contains(said, "exec format error") {
		return ""
	}
	_, architecture, _ := strings.Cut(platform, "/")
	return fmt.Sprintf(": the node does not run programs for %s: install binfmt_misc emulation on it with the flag F, or remove its label %s%s", platform, EmulationLabel, architecture)
}
