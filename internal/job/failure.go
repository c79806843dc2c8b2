package job

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// failure says why a Job has failed. What the node or the scheduler did to the pod is not the build's fault: another
// attempt may succeed.
func (r reader) failure(job *batchv1.Job, cond *batchv1.JobCondition, pods []corev1.Pod) error {
	if len(pods) == 0 {
		return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: the pod of Job %s is gone: it was evicted, preempted or deleted (%s: %s)", r.Subject, job.Name, cond.Reason, r.tail(cond.Message))
	}
	for i := range pods {
		if err := r.podFailure(&pods[i]); err != nil {
			return err
		}
	}
	return pipeline.Terminalf(r.Failed, "%s: Job %s failed: %s: %s", r.Subject, job.Name, cond.Reason, r.tail(cond.Message))
}

func (r reader) podFailure(pod *corev1.Pod) error {
	// What ended the whole pod, such as an eviction, is why its containers were killed.
	if pod.Status.Phase == corev1.PodFailed && strings.HasPrefix(pod.Status.Message, "Usage of EmptyDir volume") {
		return pipeline.Terminalf(pipeline.ReasonImageTooLarge, "%s: pod %s was evicted: %s: %s", r.Subject, pod.Name, r.tail(pod.Status.Message), r.Volume)
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: pod %s failed: %s: %s", r.Subject, pod.Name, pod.Status.Reason, r.tail(pod.Status.Message))
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: pod %s was disrupted: %s: %s", r.Subject, pod.Name, c.Reason, r.tail(c.Message))
		}
	}
	for _, s := range statuses(pod) {
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			return r.containerFailure(s.Name, t)
		}
	}
	return nil
}

// statuses are those of a pod's containers in the order in which they run.
func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// seenOtherwise are reports of what the operator saw otherwise a moment before: a Secret that was rotated, an input that
// was made by an operator with another configuration.
var seenOtherwise = []string{pipeline.ReasonSourceDenied, pipeline.ReasonSourceSecretInvalid, pipeline.ReasonInputChanged}

func (r reader) containerFailure(container string, t *corev1.ContainerStateTerminated) error {
	if !r.isLog(container) {
		if report, err := pipeline.ParseReport(t.Message); err == nil && report.Reason != "" {
			return &pipeline.Terminal{Reason: report.Reason, Retryable: report.Transient || slices.Contains(seenOtherwise, report.Reason), Err: fmt.Errorf("%s: %s: %s", r.Subject, container, r.tail(report.Message))}
		}
	}
	said := cmp.Or(r.tail(t.Message), "it left no message")
	if t.Reason == "OOMKilled" {
		return r.OutOfMemory(container)
	}
	if err := r.explain(container, t, said); err != nil {
		return err
	}
	return pipeline.Terminalf(r.Failed, "%s: container %s exited with %d: %s", r.Subject, container, t.ExitCode, said)
}

// tail keeps the end of a log, where the error is, without what says nothing about it.
func (r reader) tail(s string) string {
	const cut = "…"
	// The kubelet keeps the last 2048 bytes of a log: the first line is then a piece of one.
	if _, rest, found := strings.Cut(s, "\n"); found && len(s) >= kubeletTail {
		s = rest
	}
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(s, "�")) {
		line = strings.TrimRight(plainText(line), " ")
		if line != "" && !r.chatter(line) {
			lines = append(lines, line)
		}
	}
	// In one line: tables cut a message at its first end of line.
	s = strings.TrimSpace(strings.Join(lines[max(0, len(lines)-r.limits.MessageLines):], " | "))
	if limit := int(r.limits.MessageBytes); len(s) > limit {
		s = cut + strings.ToValidUTF8(s[len(s)-limit+len(cut):], "")
	}
	return s
}

// colour is how programs colour their logs (ECMA-48, "CSI sequences").
var colour = regexp.MustCompile("\x1b\\[[0-9;?]*[@-~]")

// plainText is a line without colours and characters that a terminal would obey.
func plainText(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, colour.ReplaceAllString(line, ""))
}
