package job

import (
	"cmp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Kind is what one kind of Job is called in messages, and what to do about one that did not end well. Words may be
// empty: the others stand for them.
type Kind struct {
	// Subject begins every message, for example linux/amd64.
	Subject string
	// Reporter is the container whose termination message is what the Job was made for.
	Reporter string
	// Running and Failed are the reasons of waiting for the Job and of its failure, for example Building and BuildFailed.
	Running, Failed string
	// Logs are the containers whose last words are a log. Those of every other container are a pipeline.WorkerReport,
	// whose reason becomes that of the failure.
	Logs []string
	// Explain makes the fault of a container that has failed, of which said is the end of its last words. nil: the
	// default, which names the container, its exit code and what it said.
	Explain func(container string, t *corev1.ContainerStateTerminated, said string) error
	// Chatter reports whether a line of a log says nothing about a failure.
	Chatter func(line string) bool
	// TimedOut says what the limit of time is called and how to mend it.
	TimedOut func(limit time.Duration) string
	// Memory ends the sentence "container x ran out of memory", from its punctuation on, with what to change.
	Memory func(container string) string
	// Volume says what to change if the pod leaves too much on a volume.
	Volume string
	// Placement says what to change if no node takes the pod.
	Placement string
	// Lost is what is gone with the pod, for example "the digest it pushed".
	Lost string
}

func (k Kind) timedOut(limit time.Duration) string {
	if k.TimedOut != nil {
		return k.TimedOut(limit)
	}
	return "spec.timeout of " + limit.String() + " has passed: raise it"
}

// OutOfMemory is the fault of a container that used more memory than it may.
func (k Kind) OutOfMemory(container string) error {
	fix := ": raise its limit"
	if k.Memory != nil {
		fix = k.Memory(container)
	}
	return pipeline.Terminalf(pipeline.ReasonOutOfMemory, "%s: container %s ran out of memory%s", k.Subject, container, fix)
}

func (k Kind) explain(container string, t *corev1.ContainerStateTerminated, said string) error {
	if k.Explain == nil {
		return nil
	}
	return k.Explain(container, t, said)
}

// Outcome reads how a Job ended: the termination message of its Reporter, which exited with 0 (a hint, to be checked by
// whoever reads it), or a pipeline fault: Waiting while it runs, Terminal when it has failed, Retryable if another
// attempt may succeed. pods are those of the Job. bounds are of what containers say; zero ones have their defaults.
func (k Kind) Outcome(job *batchv1.Job, pods []corev1.Pod, bounds limits.Build) (string, error) {
	k.Placement = cmp.Or(k.Placement, "add nodes")
	k.Volume = cmp.Or(k.Volume, "raise its limit in the operator's configuration")
	k.Lost = cmp.Or(k.Lost, "its report")
	return reader{Kind: k, limits: bounds.WithDefaults()}.outcome(job, pods)
}

// Ended reports whether a Job has completed or failed.
func Ended(job *batchv1.Job) bool { return finished(job) != nil }

// isLog reports whether the last words of a container are a log.
func (k Kind) isLog(container string) bool { return slices.Contains(k.Logs, container) }

func (k Kind) chatter(line string) bool { return k.Chatter != nil && k.Chatter(line) }
