package kaniko

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// What a container says in a condition is bounded.
const (
	maxMessage = 1024
	maxLines   = 10
	// kubeletTail is k8s.io/kubernetes/pkg/kubelet/container MaxContainerTerminationMessageLogLength.
	kubeletTail = 2048
)

// Outcome reads how a build Job ended: the digest that push reports (a hint, to be read again from the
// registry), or a pipeline fault: Waiting while it runs, Terminal when it has failed. pods are
// those of the Job.
func Outcome(job *batchv1.Job, pods []corev1.Pod) (string, error) {
	platform := "linux/" + job.Labels[LabelArchitecture]
	switch cond := finished(job); {
	case cond == nil:
		return "", pipeline.Waitingf(v1alpha1.ReasonBuilding, "%s: %s", platform, progress(pods))
	case cond.Type == batchv1.JobComplete:
		return reportedDigest(platform, job, pods)
	case cond.Reason == batchv1.JobReasonDeadlineExceeded:
		return "", pipeline.Terminalf(v1alpha1.ReasonTimedOut, "%s: spec.timeout of %s has passed: raise it, or give the build more CPU (spec.platforms[].resources)", platform, time.Duration(ptrOr(job.Spec.ActiveDeadlineSeconds))*time.Second)
	default:
		return "", failure(platform, job, cond, pods)
	}
}

func ptrOr(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// finished returns the condition that ends the Job, or nil. A Job counts as failed as soon as
// Kubernetes says that it will fail, but only once no pod runs any more.
func finished(job *batchv1.Job) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// madeFrom reports whether a pod runs the containers of a template on its volumes. What admission may add is ignored.
func madeFrom(template, pod corev1.PodSpec) bool {
	return sameContainers(template, template.InitContainers, pod.InitContainers) &&
		sameContainers(template, template.Containers, pod.Containers) &&
		!slices.ContainsFunc(template.Volumes, func(v corev1.Volume) bool {
			return !slices.ContainsFunc(pod.Volumes, func(p corev1.Volume) bool { return equality.Semantic.DeepEqual(v, p) })
		})
}

// sameContainers wants each of ours to be there, unchanged but for a digest that admission may pin, and no other
// container to see our volumes.
func sameContainers(template corev1.PodSpec, want, got []corev1.Container) bool {
	ours := 0
	for _, c := range got {
		i := slices.IndexFunc(want, func(w corev1.Container) bool { return w.Name == c.Name })
		switch {
		case i >= 0 && sameContainer(want[i], c):
			ours++
		case i >= 0 || mountsAny(c, template.Volumes):
			return false
		}
	}
	return ours == len(want)
}

func sameContainer(want, got corev1.Container) bool {
	pinned := got.Image == want.Image || strings.HasPrefix(got.Image, want.Image+"@")
	return pinned && slices.Equal(want.Command, got.Command) && slices.Equal(want.Args, got.Args) &&
		equality.Semantic.DeepEqual(want.Env, got.Env) && equality.Semantic.DeepEqual(want.VolumeMounts, got.VolumeMounts)
}

func mountsAny(c corev1.Container, volumes []corev1.Volume) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
	})
}

// Ended reports whether a Job has completed or failed.
func Ended(job *batchv1.Job) bool { return finished(job) != nil }

func reportedDigest(platform string, job *batchv1.Job, pods []corev1.Pod) (string, error) {
	// Whoever may create pods can make one that names our Job as its owner: two are one too many, and the one has to
	// be what the Job asks for.
	if len(pods) > 1 {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: %d pods name Job %s as their owner, which makes one: find out who else makes pods in namespace %s, then request a new build", platform, len(pods), job.Name, job.Namespace)
	}
	if len(pods) == 1 && !madeFrom(job.Spec.Template.Spec, pods[0].Spec) {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: pod %s has not the containers and volumes that Job %s asks for: exempt build pods from the admission webhook that changes them, or find out who made the pod, then request a new build", platform, pods[0].Name, job.Name)
	}
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			if s.Name != ContainerPush || s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
				continue
			}
			report, err := pipeline.ParseReport(s.State.Terminated.Message)
			if err != nil || report.Digest == "" {
				return "", pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container push of Job %s reported no digest", platform, job.Name)
			}
			return report.Digest, nil
		}
	}
	return "", pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: the pod of Job %s is gone, and with it the digest it pushed: request a new build", platform, job.Name)
}

func failure(platform string, job *batchv1.Job, cond *batchv1.JobCondition, pods []corev1.Pod) error {
	for i := range pods {
		pod := &pods[i]
		// What ended the whole pod, such as an eviction, is why its containers were killed.
		if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
			return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: pod %s failed: %s: %s", platform, pod.Name, pod.Status.Reason, tail(pod.Status.Message))
		}
		for _, s := range statuses(pod) {
			if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
				return containerFailure(platform, s.Name, t)
			}
		}
	}
	return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: Job %s failed: %s: %s", platform, job.Name, cond.Reason, tail(cond.Message))
}

// statuses are those of a pod's containers in the order in which they run.
func statuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

func containerFailure(platform, container string, t *corev1.ContainerStateTerminated) error {
	if container != ContainerKaniko {
		if r, err := pipeline.ParseReport(t.Message); err == nil && r.Reason != "" {
			return &pipeline.Terminal{Reason: r.Reason, Err: fmt.Errorf("%s: %s: %s", platform, container, tail(r.Message))}
		}
	}
	if t.Reason == "OOMKilled" {
		return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container %s ran out of memory: raise spec.platforms[].resources.limits.memory", platform, container)
	}
	return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container %s exited with %d: %s", platform, container, t.ExitCode, cmp.Or(tail(t.Message), "it left no message"))
}

// tail keeps the end of a log, where the error is, without Kaniko's own progress and empty lines.
func tail(s string) string {
	const cut = "…"
	// The kubelet keeps the last 2048 bytes of a log: the first line is then a piece of one.
	if _, rest, found := strings.Cut(s, "\n"); found && len(s) >= kubeletTail {
		s = rest
	}
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(s, "�")) {
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" && (!strings.HasPrefix(line, "time=") || !strings.Contains(line, " level=info ")) {
			lines = append(lines, line)
		}
	}
	s = strings.TrimSpace(strings.Join(lines[max(0, len(lines)-maxLines):], "\n"))
	if len(s) > maxMessage {
		s = cut + strings.ToValidUTF8(s[len(s)-maxMessage+len(cut):], "")
	}
	return s
}

// progress says in a few words what the newest pod is doing.
func progress(pods []corev1.Pod) string {
	if len(pods) == 0 {
		return "waiting for a pod"
	}
	pod := newest(pods)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("pod %s can't be scheduled: %s", pod.Name, tail(c.Message))
		}
	}
	for _, s := range statuses(pod) {
		switch {
		case s.State.Running != nil:
			return "running " + s.Name
		case s.State.Waiting != nil && s.State.Waiting.Message != "":
			return fmt.Sprintf("container %s is waiting: %s: %s", s.Name, s.State.Waiting.Reason, tail(s.State.Waiting.Message))
		}
	}
	return "starting pod " + pod.Name
}

func newest(pods []corev1.Pod) *corev1.Pod {
	pod := slices.MaxFunc(pods, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &pod
}
