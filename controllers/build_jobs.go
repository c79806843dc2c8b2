package controllers

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/runtimetest"
	"github.com/ibshafique/base-images/internal/scan"
)

// task is one Job of a build.
type task struct {
	name string
	// subject begins messages about it: linux/amd64, or scan.
	subject string
	// running is the reason of waiting for it.
	running string
	// make the Job, and what it needs to be there first.
	make func(context.Context) (*batchv1.Job, error)
}

// follow starts the Job of a task, once, and returns it with its pods. Why there is nothing to read of it yet is a fault.
func (run *buildRun) follow(ctx context.Context, t task) (*batchv1.Job, []corev1.Pod, error) {
	found, err := run.findJob(ctx, t.name)
	if err != nil {
		return nil, nil, err
	}
	if found == nil {
		run.active++
		return nil, nil, run.startJob(ctx, t)
	}
	run.noteTimes(found)
	pods, err := run.podsOf(ctx, found)
	if err != nil {
		return nil, nil, err
	}
	if len(pods) == 0 && !job.Ended(found) && !run.suspended {
		return nil, nil, run.whyNoPod(ctx, t, found)
	}
	return found, pods, run.whyNotStarted(ctx, t.subject, pods)
}

func (run *buildRun) startJob(ctx context.Context, t task) error {
	if !run.Clock.Now().Before(run.deadline()) {
		return pipeline.Waitingf(t.running, "%s: no Job was started", t.subject)
	}
	made, err := t.make(ctx)
	if err != nil {
		return err
	}
	if err := run.ensureNetwork(ctx, t.subject); err != nil {
		return err
	}
	if err := run.children().ensure(ctx, run.build, made); err != nil {
		return refusedJob(t.subject, made.Name, err)
	}
	return pipeline.Waitingf(t.running, "%s: Job %s was created", t.subject, made.Name)
}

// yield gives the slot to others while nothing but suspended Jobs is left to wait for: whoever holds them back may take
// days. Resumed, they run at once, whatever the queue has.
func (run *buildRun) yield() {
	if run.suspended && run.active == 0 {
		run.wake(run.queue.leave(nameOf(run.build)))
	}
}

// noteTimes sees whether somebody holds a Job back, or has: then its time had not begun.
func (run *buildRun) noteTimes(found *batchv1.Job) {
	switch {
	case job.Ended(found):
	case ptr.Deref(found.Spec.Suspend, false):
		run.suspended = true
	default:
		run.active++
	}
	held := slices.ContainsFunc(found.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == batchv1.JobSuspended })
	if held && found.Status.StartTime != nil && found.Status.StartTime.After(run.resumed) {
		run.resumed = found.Status.StartTime.Time
	}
}

func (run *buildRun) findJob(ctx context.Context, name string) (*batchv1.Job, error) {
	found := &batchv1.Job{}
	err := run.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: name}, found)
	if apierrors.IsNotFound(err) || (err == nil && !metav1.IsControlledBy(found, run.build)) {
		return nil, nil // One of somebody else is refused when ours is created.
	}
	if err != nil {
		return nil, fmt.Errorf("reading Job %s: %w", name, err)
	}
	return found, nil
}

// podsOf reads the pods of a Job: from the apiserver once it has ended, because a cache that is behind the Job
// would hide what they report.
func (run *buildRun) podsOf(ctx context.Context, of *batchv1.Job) ([]corev1.Pod, error) {
	var reader client.Reader = run.Client
	if job.Ended(of) {
		reader = run.Live
	}
	pods := &corev1.PodList{}
	err := reader.List(ctx, pods, client.InNamespace(of.Namespace), client.MatchingLabels{batchv1.JobNameLabel: of.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of Job %s: %w", of.Name, err)
	}
	var own []corev1.Pod
	for _, pod := range pods.Items {
		if metav1.IsControlledBy(&pod, of) {
			own = append(own, pod)
		}
	}
	return own, nil
}

// ensureSame makes a ConfigMap that Jobs read. One that exists must be what would be made.
func (run *buildRun) ensureSame(ctx context.Context, input *corev1.ConfigMap) error {
	made := input.DeepCopy()
	if err := run.children().ensure(ctx, run.build, made); err != nil {
		return fmt.Errorf("creating ConfigMap %s: %w", input.Name, err)
	}
	if pipeline.InputDigest(made.BinaryData) != pipeline.InputDigest(input.BinaryData) || len(made.Data) > 0 {
		return pipeline.Retryablef(pipeline.ReasonInputChanged, "ConfigMap %s is not what the operator makes of this build: somebody has written it, or the operator's configuration has changed", input.Name)
	}
	return nil
}

// end gives the slot back and ends the Jobs that still run. Ended ones stay, for their logs.
func (run *buildRun) end(ctx context.Context) error {
	for _, name := range run.jobNames() {
		found, err := run.findJob(ctx, name)
		if err != nil {
			return err
		}
		if found == nil || job.Ended(found) {
			continue
		}
		err = run.Delete(ctx, found, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &found.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("cancelling Job %s: %w", found.Name, err)
		}
	}
	run.wake(run.queue.leave(nameOf(run.build)))
	return nil
}

// jobNames are the names of all Jobs that a build can have.
func (run *buildRun) jobNames() []string {
	names := []string{scan.JobName(run.build.Name)}
	for _, p := range run.build.Spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			continue // Such a platform never has a Job.
		}
		names = append(names, kaniko.JobName(run.build.Name, platform), runtimetest.JobName(run.build.Name, platform))
	}
	return names
}

func (run *buildRun) children() children {
	return children{client: run.Client, live: run.Live}
}
