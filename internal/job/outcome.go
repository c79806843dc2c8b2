package job

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// kubeletTail is k8s.io/kubernetes/pkg/kubelet/container MaxContainerTerminationMessageLogLength.
const kubeletTail = 2048

// reader reads a Job of one kind.
type reader struct {
	Kind
	limits limits.Build
}

func (r reader) outcome(job *batchv1.Job, pods []corev1.Pod) (string, error) {
	switch cond := finished(job); {
	case cond == nil:
		return "", r.progress(job, pods)
	case cond.Type == batchv1.JobComplete:
		return r.report(job, pods)
	case cond.Reason == batchv1.JobReasonDeadlineExceeded:
		limit := time.Duration(ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0)) * time.Second
		return "", pipeline.Terminalf(v1alpha1.ReasonTimedOut, "%s: %s", r.Subject, r.timedOut(limit))
	default:
		return "", r.failure(job, cond, pods)
	}
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

func (r reader) report(job *batchv1.Job, pods []corev1.Pod) (string, error) {
	// Whoever may create pods can make one that names our Job as its owner: two are one too many, and the one has to
	// be what the Job asks for.
	if len(pods) > 1 {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: %d pods name Job %s as their owner, which makes one: find out who else makes pods in namespace %s, then request a new build", r.Subject, len(pods), job.Name, job.Namespace)
	}
	if len(pods) == 1 && !madeFrom(job.Spec.Template, pods[0]) {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: pod %s has not the containers and volumes that Job %s asks for: exempt build pods from the admission webhook that changes them, or find out who made the pod, then request a new build", r.Subject, pods[0].Name, job.Name)
	}
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			if s.Name != r.Reporter || s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
				continue
			}
			return s.State.Terminated.Message, nil
		}
	}
	return "", pipeline.Retryablef(r.Failed, "%s: the pod of Job %s is gone, and with it %s", r.Subject, job.Name, r.Lost)
}
