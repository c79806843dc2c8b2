package kaniko

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

// reader reads the Job of one platform.
type reader struct {
	platform string
	limits   limits.Build
}

// Outcome reads how a build Job ended: the digest that push reports (a hint, to be read again from the
// registry), or a pipeline fault: Waiting while it runs, Terminal when it has failed, Retryable if another
// attempt may succeed. pods are those of the Job. limits bound what containers say; zero ones have their defaults.
func Outcome(job *batchv1.Job, pods []corev1.Pod, bounds limits.Build) (string, error) {
	r := reader{platform: "linux/" + job.Labels[LabelArchitecture], limits: bounds.WithDefaults()}
	switch cond := finished(job); {
	case cond == nil:
		return "", r.progress(job, pods)
	case cond.Type == batchv1.JobComplete:
		return r.reportedDigest(job, pods)
	case cond.Reason == batchv1.JobReasonDeadlineExceeded:
		limit := time.Duration(ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0)) * time.Second
		return "", pipeline.Terminalf(v1alpha1.ReasonTimedOut, "%s: spec.timeout of %s has passed: raise it, or give the build more CPU (spec.platforms[].resources)", r.platform, limit)
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

// Ended reports whether a Job has completed or failed.
func Ended(job *batchv1.Job) bool { return finished(job) != nil }

func (r reader) reportedDigest(job *batchv1.Job, pods []corev1.Pod) (string, error) {
	// Whoever may create pods can make one that names our Job as its owner: two are one too many, and the one has to
	// be what the Job asks for.
	if len(pods) > 1 {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: %d pods name Job %s as their owner, which makes one: find out who else makes pods in namespace %s, then request a new build", r.platform, len(pods), job.Name, job.Namespace)
	}
	if len(pods) == 1 && !madeFrom(job.Spec.Template.Spec, pods[0].Spec) {
		return "", pipeline.Terminalf(v1alpha1.ReasonConflict, "%s: pod %s has not the containers and volumes that Job %s asks for: exempt build pods from the admission webhook that changes them, or find out who made the pod, then request a new build", r.platform, pods[0].Name, job.Name)
	}
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			if s.Name != ContainerPush || s.State.Terminated == nil || s.State.Terminated.ExitCode != 0 {
				continue
			}
			report, err := pipeline.ParseReport(s.State.Terminated.Message)
			if err != nil || report.Digest == "" {
				return "", pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container push of Job %s reported no digest", r.platform, job.Name)
			}
			return report.Digest, nil
		}
	}
	return "", pipeline.Retryablef(v1alpha1.ReasonBuildFailed, "%s: the pod of Job %s is gone, and with it the digest it pushed", r.platform, job.Name)
}
