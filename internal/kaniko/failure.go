package kaniko

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// failure says why a Job has failed. What the node or the scheduler did to the pod is not the build's fault: another
// attempt may succeed.
func (r reader) failure(job *batchv1.Job, cond *batchv1.JobCondition, pods []corev1.Pod) error {
	if len(pods) == 0 {
		return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: the pod of Job %s is gone: it was evicted, preempted or deleted (%s: %s)", r.platform, job.Name, cond.Reason, r.tail(cond.Message))
	}
	for i := range pods {
		if err := r.podFailure(&pods[i]); err != nil {
			return err
		}
	}
	return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: Job %s failed: %s: %s", r.platform, job.Name, cond.Reason, r.tail(cond.Message))
}

func (r reader) podFailure(pod *corev1.Pod) error {
	// What ended the whole pod, such as an eviction, is why its containers were killed.
	if pod.Status.Phase == corev1.PodFailed && strings.HasPrefix(pod.Status.Message, "Usage of EmptyDir volume") {
		return pipeline.Terminalf(pipeline.ReasonImageTooLarge, "%s: pod %s was evicted: %s: build something smaller, or raise limits.build of the operator's configuration", r.platform, pod.Name, r.tail(pod.Status.Message))
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: pod %s failed: %s: %s", r.platform, pod.Name, pod.Status.Reason, r.tail(pod.Status.Message))
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return pipeline.Retryablef(pipeline.ReasonPodEvicted, "%s: pod %s was disrupted: %s: %s", r.platform, pod.Name, c.Reason, r.tail(c.Message))
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

// exitKilled is the exit code of a program that was killed (128 + SIGKILL).
const exitKilled = 137

func (r reader) containerFailure(container string, t *corev1.ContainerStateTerminated) error {
	if container != ContainerKaniko {
		if report, err := pipeline.ParseReport(t.Message); err == nil && report.Reason != "" {
			return &pipeline.Terminal{Reason: report.Reason, Retryable: report.Transient || slices.Contains(seenOtherwise, report.Reason), Err: fmt.Errorf("%s: %s: %s", r.platform, container, r.tail(report.Message))}
		}
	}
	said := cmp.Or(r.tail(t.Message), "it left no message")
	if t.Reason == "OOMKilled" || outOfMemory.MatchString(said) && t.ExitCode == exitKilled {
		return r.outOfMemory(container)
	}
	if container == ContainerKaniko && unavailable.MatchString(said) {
		return pipeline.Retryablef(pipeline.ReasonRegistryUnavailable, "%s: container %s exited with %d: %s", r.platform, container, t.ExitCode, said)
	}
	return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container %s exited with %d%s: %s", r.platform, container, t.ExitCode, at(container, t.Message), said)
}

// instruction is how Kaniko logs that it comes to one.
var instruction = regexp.MustCompile(`level=info msg="((?:ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR) .*)"`)

// at names the last instruction that Kaniko came to, if its log still has it.
func at(container, log string) string {
	found := instruction.FindAllStringSubmatch(log, -1)
	if container != ContainerKaniko || len(found) == 0 {
		return ""
	}
	const limit = 200
	last := found[len(found)-1][1]
	if len(last) > limit {
		last = strings.ToValidUTF8(last[:limit], "") + "…"
	}
	return " at " + last
}

func (r reader) outOfMemory(container string) error {
	if container == ContainerKaniko {
		return pipeline.Terminalf(pipeline.ReasonOutOfMemory, "%s: container kaniko ran out of memory: raise spec.platforms[].resources.limits.memory", r.platform)
	}
	return pipeline.Terminalf(pipeline.ReasonOutOfMemory, "%s: container %s ran out of memory, of which it has 512Mi: build a smaller context or image, and report it", r.platform, container)
}

var (
	// outOfMemory is how Kaniko reports an instruction that the kernel has killed.
	outOfMemory = regexp.MustCompile(`signal: killed|exit status 137|Killed`)
	// unavailable is how Kaniko, not an instruction, reports a registry that can't be reached or has no time: what it
	// pulls was there when the build was decided.
	unavailable = regexp.MustCompile(`(?m)^.*error building image.*(TOOMANYREQUESTS|unexpected status code 5\d\d|50[0234] |i/o timeout|TLS handshake timeout|connection re(fused|set)|no such host|unexpected EOF|server misbehaving)`)
)

// chatter is Kaniko's progress, and what it thinks of our flags.
var chatter = regexp.MustCompile(`^time=\S+ level=(info |warning msg="Flag )`)

// tail keeps the end of a log, where the error is, without Kaniko's own progress and empty lines.
func (r reader) tail(s string) string {
	const cut = "…"
	// The kubelet keeps the last 2048 bytes of a log: the first line is then a piece of one.
	if _, rest, found := strings.Cut(s, "\n"); found && len(s) >= kubeletTail {
		s = rest
	}
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(s, "�")) {
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && !chatter.MatchString(line) {
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
