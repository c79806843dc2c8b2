package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// refusedAgain is how long a Job or pod that the cluster refused is left alone: nobody tells when a quota has room.
	refusedAgain = 15 * time.Second
	// noPodAgain is how long the Job controller may take to make a pod before the cluster's events are looked at.
	noPodAgain = 5 * time.Second
	// notStartedAfter is how long a node may take to prepare a pod before the cluster's events are looked at.
	notStartedAfter = 20 * time.Second
	// maxEvents of a Job or pod are read.
	maxEvents = 20
)

// refusedJob is what an error of creating a Job means.
func refusedJob(platform, job string, err error) error {
	switch {
	case pipeline.IsTerminal(err):
		return err
	case apierrors.IsInvalid(err):
		return pipeline.Terminalf(pipeline.ReasonJobInvalid, "%s: the cluster calls Job %s invalid; correct spec.platforms[] or defaults.buildPods of the operator's configuration: %w", platform, job, err)
	case apierrors.IsForbidden(err):
		return refused(platform, "Job "+job, err.Error())
	}
	return fmt.Errorf("creating Job %s: %w", job, err)
}

// refused says what keeps the cluster from taking a Job or its pod. It may change without notice, so it is transient.
func refused(platform, what, message string) error {
	t := &pipeline.Transient{Reason: pipeline.ReasonPodRefused, After: refusedAgain}
	switch {
	case strings.Contains(message, "exceeded quota"), strings.Contains(message, "failed quota"):
		t.Reason = pipeline.ReasonQuotaExceeded
		t.Err = fmt.Errorf("%s: a ResourceQuota refuses %s: raise it, free what it counts, or lower spec.platforms[].resources: %s", platform, what, truncate(message, maxNote))
	case strings.Contains(message, "violates PodSecurity"):
		t.Err = fmt.Errorf("%s: Pod Security refuses %s: build pods need the level baseline, those of scans and tests restricted (label pod-security.kubernetes.io/enforce of the namespace): %s", platform, what, truncate(message, maxNote))
	default:
		t.Err = fmt.Errorf("%s: the cluster refuses %s: change what refuses it, such as a LimitRange or an admission webhook, or exempt build pods (label app.kubernetes.io/managed-by: basewright): %s", platform, what, truncate(message, maxNote))
	}
	return t
}

// whyNoPod says why a Job has no pod: only the cluster's events tell.
func (run *buildRun) whyNoPod(ctx context.Context, t task, job *batchv1.Job) error {
	message, err := run.newestWarning(ctx, job, "FailedCreate")
	if err != nil {
		return err
	}
	if message == "" {
		return &pipeline.Waiting{Reason: t.running, Message: t.subject + ": waiting for a pod", After: noPodAgain}
	}
	return refused(t.subject, "the pod of Job "+job.Name, strings.TrimPrefix(message, "Error creating: "))
}

// whyNotStarted says why a pod has a node and yet no container runs or has an excuse: a volume can't be mounted, for
// example, because a Secret is missing. nil if there is nothing to say.
func (run *buildRun) whyNotStarted(ctx context.Context, platform string, pods []corev1.Pod) error {
	if len(pods) != 1 || !isPreparing(&pods[0]) || run.Clock.Since(pods[0].CreationTimestamp.Time) < notStartedAfter {
		return nil
	}
	message, err := run.newestWarning(ctx, &pods[0], "FailedMount")
	if err != nil || message == "" {
		return err
	}
	return &pipeline.Waiting{Reason: pipeline.ReasonPodNotStarted, After: refusedAgain,
		Message: fmt.Sprintf("%s: the node can't start pod %s: create the Secret that is missing, or mend what is wrong with its volumes: %s", platform, pods[0].Name, truncate(message, maxNote))}
}

// isPreparing says of a pod that it has a node, where nothing of it runs yet.
func isPreparing(pod *corev1.Pod) bool {
	started := func(s corev1.ContainerStatus) bool { return s.State.Running != nil || s.State.Terminated != nil }
	return pod.Status.Phase == corev1.PodPending && pod.Spec.NodeName != "" &&
		!slices.ContainsFunc(pod.Status.InitContainerStatuses, started)
}

// newestWarning is the message of an object's newest event of a reason; empty if there is none.
func (run *buildRun) newestWarning(ctx context.Context, o client.Object, reason string) (string, error) {
	events := &corev1.EventList{}
	err := run.Live.List(ctx, events, client.InNamespace(o.GetNamespace()), client.Limit(maxEvents),
		client.MatchingFields{"involvedObject.uid": string(o.GetUID()), "reason": reason})
	if err != nil {
		return "", fmt.Errorf("listing the events of %s: %w", o.GetName(), err)
	}
	newest := slices.MaxFunc(append(events.Items, corev1.Event{}), func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	return newest.Message, nil
}
