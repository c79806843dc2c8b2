package job

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// pullFailures are the reasons for which the kubelet has no image (k8s.io/kubernetes/pkg/kubelet/images).
var pullFailures = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull", "RegistryUnavailable", "SignatureValidationFailed"}

// startingAgain is when to look again at a pod that a node prepares: if it can't, that is told by events alone.
const startingAgain = 20 * time.Second

// progress says in a few words what the newest pod is doing, as a Waiting: some reasons for which it does nothing ask
// for a change by somebody, and have a name of their own.
func (r reader) progress(job *batchv1.Job, pods []corev1.Pod) error {
	if job.Spec.Suspend != nil && *job.Spec.Suspend {
		return pipeline.Waitingf(v1alpha1.ReasonQueued, "%s: Job %s is suspended: Kueue, or whoever suspended it, lets it run later", r.Subject, job.Name)
	}
	if len(pods) == 0 {
		return pipeline.Waitingf(r.Running, "%s: waiting for a pod", r.Subject)
	}
	pod := newest(pods)
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return pipeline.Waitingf(pipeline.ReasonPodUnschedulable,
				"%s: pod %s can't be scheduled: %s; %s", r.Subject, pod.Name, r.tail(c.Message), r.Placement)
		}
	}
	for _, s := range statuses(pod) {
		if err := r.containerProgress(s); err != nil {
			return err
		}
	}
	return &pipeline.Waiting{Reason: r.Running, Message: fmt.Sprintf("%s: starting pod %s", r.Subject, pod.Name), After: startingAgain}
}

// containerProgress says what a container does or waits for; nil if it says nothing.
func (r reader) containerProgress(s corev1.ContainerStatus) error {
	switch w := s.State.Waiting; {
	case s.State.Running != nil:
		return pipeline.Waitingf(r.Running, "%s: running %s", r.Subject, s.Name)
	case w != nil && slices.Contains(pullFailures, w.Reason):
		return pipeline.Waitingf(pipeline.ReasonImagePullFailed,
			"%s: the node can't pull %s for container %s: %s; check images of the operator's configuration, and the pull secrets of the namespace's ServiceAccount default", r.Subject, s.Image, s.Name, r.tail(w.Reason+": "+w.Message))
	case w != nil && w.Message != "":
		return pipeline.Waitingf(r.Running, "%s: container %s is waiting: %s: %s", r.Subject, s.Name, w.Reason, r.tail(w.Message))
	}
	return nil
}

func newest(pods []corev1.Pod) *corev1.Pod {
	pod := slices.MaxFunc(pods, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return &pod
}
