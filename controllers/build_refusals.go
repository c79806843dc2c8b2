package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// refusedAgain is how long a Job or pod that the cluster refused is left alone: nobody tells when a quota has room.
	refusedAgain = 15 * time.Second
	// noPodAgain is how long the Job controller may take to make a pod before the cluster's events are looked at.
	noPodAgain = 5 * time.Second
	// maxEvents of a Job are read.
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
		t.Err = fmt.Errorf("%s: Pod Security refuses %s: build pods need the level baseline (label pod-security.kubernetes.io/enforce of the namespace): %s", platform, what, truncate(message, maxNote))
	default:
		t.Err = fmt.Errorf("%s: the cluster refuses %s: %s", platform, what, truncate(message, maxNote))
	}
	return t
}

// whyNoPod says why a Job has no pod: only the cluster's events tell.
func (run *buildRun) whyNoPod(ctx context.Context, platform string, job *batchv1.Job) error {
	events := &corev1.EventList{}
	err := run.Live.List(ctx, events, client.InNamespace(job.Namespace), client.Limit(maxEvents),
		client.MatchingFields{"involvedObject.uid": string(job.UID), "reason": "FailedCreate"})
	if err != nil {
		return fmt.Errorf("listing the events of Job %s: %w", job.Name, err)
	}
	if len(events.Items) == 0 {
		return &pipeline.Waiting{Reason: v1alpha1.ReasonBuilding, Message: platform + ": waiting for a pod", After: noPodAgain}
	}
	newest := &events.Items[0]
	for i := range events.Items {
		if e := &events.Items[i]; newest.LastTimestamp.Before(&e.LastTimestamp) {
			newest = e
		}
	}
	return refused(platform, "the pod of Job "+job.Name, strings.TrimPrefix(newest.Message, "Error creating: "))
}
