package controllers

import (
	"context"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// startBuild creates the next BaseImageBuild. Its name depends only on the image and the attempt, so
// that two decisions from a cache that is behind make one build.
func (r *BaseImageReconciler) startBuild(ctx context.Context, s *state, p *plan, res *resolved) error {
	build := newBuild(s, p, res, &r.Config.Defaults.BuildPods)
	if err := r.children().ensure(ctx, s.image, build); err != nil {
		return fmt.Errorf("creating build %s: %w", build.Name, err)
	}
	s.builds = append(s.builds, *build)
	s.last = summary(build)
	r.buildCreated(s.image, build)
	return nil
}

func newBuild(s *state, p *plan, res *resolved, pods *config.BuildPods) *v1alpha1.BaseImageBuild {
	image, attempt, supersedes := s.image, int64(1), ""
	if s.last != nil {
		attempt = s.last.Attempt + 1
	}
	if running := s.running(); running != nil {
		supersedes = running.Name
	}
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: image.Namespace,
			Name:      job.BuildName(image.Name, attempt, string(image.UID), strconv.FormatInt(attempt, 10)),
			Labels:    buildLabels(image),
		},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage:        image.Name,
			Attempt:          attempt,
			Reasons:          p.reasons,
			Reason:           reasonTypes(p.reasons),
			Retry:            p.retry,
			Supersedes:       supersedes,
			Inputs:           p.inputs,
			Source:           image.Spec.Source,
			SourceTime:       metav1.NewTime(res.revision.Time.UTC()),
			Dockerfile:       string(res.revision.Dockerfile),
			DockerfilePath:   image.Spec.Dockerfile,
			Target:           image.Spec.Target,
			BuildArgs:        image.Spec.BuildArgs,
			Upstreams:        resolvedUpstreams(res.upstreams),
			Platforms:        platformsOf(&image.Spec, pods),
			Output:           image.Spec.Output,
			DockerfilePolicy: image.Spec.DockerfilePolicy,
			Scan:             image.Spec.Scan,
			Tests:            image.Spec.Tests,
			Timeout:          metav1.Duration{Duration: s.set.timeout},
		},
	}
}

// buildLabels are ours, and those by which Kueue knows a Job's queue: they are passed to the Jobs.
func buildLabels(image *v1alpha1.BaseImage) map[string]string {
	labels := map[string]string{job.LabelManagedBy: job.ManagedBy, job.LabelBaseImage: image.Name}
	for _, name := range job.KueueLabels {
		if value, ok := image.Labels[name]; ok {
			labels[name] = value
		}
	}
	return labels
}

func resolvedUpstreams(upstreams []pipeline.Upstream) []v1alpha1.ResolvedUpstream {
	var out []v1alpha1.ResolvedUpstream
	for _, u := range upstreams {
		out = append(out, v1alpha1.ResolvedUpstream{Ref: u.Ref, Name: u.Name, Digest: u.Digest, Pull: u.Pull})
	}
	return out
}

// maxBecause is the limit of status.latestBuild.because.
const maxBecause = 1024

func summary(build *v1alpha1.BaseImageBuild) *v1alpha1.BuildSummary {
	return &v1alpha1.BuildSummary{
		Name:      build.Name,
		Attempt:   build.Spec.Attempt,
		Reason:    build.Spec.Reason,
		Because:   truncate(describeReasons(build.Spec.Reasons), maxBecause),
		Inputs:    build.Spec.Inputs,
		CreatedAt: new(build.CreationTimestamp),
		Phase:     build.Status.Phase,
	}
}

// prune deletes finished builds beyond spec.history, oldest first. The newest build stays.
func (r *BaseImageReconciler) prune(ctx context.Context, s *state) error {
	keep := map[bool]int32{
		true:  ptr.Deref(s.image.Spec.History.Successful, 3),
		false: ptr.Deref(s.image.Spec.History.Failed, 3),
	}
	for i := len(s.builds) - 1; i >= 0; i-- {
		build := &s.builds[i]
		if !finished(build) {
			continue
		}
		succeeded := build.Status.Phase == v1alpha1.PhaseSucceeded
		if keep[succeeded]--; keep[succeeded] >= 0 || i == len(s.builds)-1 {
			continue
		}
		err := r.Delete(ctx, build, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &build.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting old build %s: %w", build.Name, err)
		}
	}
	return nil
}

// finished reports whether a build has ended for good.
func finished(build *v1alpha1.BaseImageBuild) bool { return isFinal(build.Status.Phase) }

// over reports whether nothing more is done for a build: it has ended, or is being deleted.
func over(build *v1alpha1.BaseImageBuild) bool {
	return finished(build) || !build.DeletionTimestamp.IsZero()
}

func isFinal(phase v1alpha1.BuildPhase) bool {
	return phase == v1alpha1.PhaseSucceeded || phase == v1alpha1.PhaseFailed || phase == v1alpha1.PhaseSuperseded
}
