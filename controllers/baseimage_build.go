package controllers

import (
	"context"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// startBuild creates the next BaseImageBuild. Its name depends only on the image and the attempt, so
// that two decisions from a cache that is behind make one build.
func (r *BaseImageReconciler) startBuild(ctx context.Context, s *state, p *plan, res *resolved) error {
	build := newBuild(s, p, res)
	if err := r.children().ensure(ctx, s.image, build); err != nil {
		return fmt.Errorf("creating build %s: %w", build.Name, err)
	}
	s.builds = append(s.builds, *build)
	s.last = summary(build)
	r.buildCreated(s.image, build)
	return nil
}

func newBuild(s *state, p *plan, res *resolved) *v1alpha1.BaseImageBuild {
	image, attempt := s.image, int64(1)
	if s.last != nil {
		attempt = s.last.Attempt + 1
	}
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: image.Namespace,
			Name:      kaniko.BuildName(image.Name, attempt, string(image.UID), strconv.FormatInt(attempt, 10)),
			Labels:    map[string]string{kaniko.LabelManagedBy: kaniko.ManagedBy, kaniko.LabelBaseImage: image.Name},
		},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage:      image.Name,
			Attempt:        attempt,
			Reasons:        p.reasons,
			Reason:         reasonTypes(p.reasons),
			Inputs:         p.inputs,
			Source:         image.Spec.Source,
			SourceTime:     metav1.NewTime(res.revision.Time.UTC()),
			Dockerfile:     string(res.revision.Dockerfile),
			DockerfilePath: image.Spec.Dockerfile,
			Target:         image.Spec.Target,
			BuildArgs:      image.Spec.BuildArgs,
			Upstreams:      resolvedUpstreams(res.upstreams),
			Platforms:      image.Spec.Platforms,
			Output:         image.Spec.Output,
			Timeout:        ptr.Deref(image.Spec.Timeout, metav1.Duration{Duration: time.Hour}),
		},
	}
}

func resolvedUpstreams(upstreams []pipeline.Upstream) []v1alpha1.ResolvedUpstream {
	var out []v1alpha1.ResolvedUpstream
	for _, u := range upstreams {
		out = append(out, v1alpha1.ResolvedUpstream{Ref: u.Ref, Name: u.Name, Digest: u.Digest, Pull: u.Pull})
	}
	return out
}

func summary(build *v1alpha1.BaseImageBuild) *v1alpha1.BuildSummary {
	return &v1alpha1.BuildSummary{
		Name:      build.Name,
		Attempt:   build.Spec.Attempt,
		Reason:    build.Spec.Reason,
		Inputs:    build.Spec.Inputs,
		CreatedAt: new(build.CreationTimestamp),
		Phase:     build.Status.Phase,
	}
}

// prune deletes finished builds beyond spec.history, oldest first. The newest build stays.
func (r *BaseImageReconciler) prune(ctx context.Context, s *state) error {
	keep := map[v1alpha1.BuildPhase]int32{
		v1alpha1.PhaseSucceeded: ptr.Deref(s.image.Spec.History.Successful, 3),
		v1alpha1.PhaseFailed:    ptr.Deref(s.image.Spec.History.Failed, 3),
	}
	for i := len(s.builds) - 1; i >= 0; i-- {
		build := &s.builds[i]
		if !finished(build) {
			continue
		}
		if keep[build.Status.Phase]--; keep[build.Status.Phase] >= 0 || i == len(s.builds)-1 {
			continue
		}
		err := r.Delete(ctx, build, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &build.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting old build %s: %w", build.Name, err)
		}
	}
	return nil
}

// finished reports whether a build has succeeded or failed for good.
func finished(build *v1alpha1.BaseImageBuild) bool {
	return build.Status.Phase == v1alpha1.PhaseSucceeded || build.Status.Phase == v1alpha1.PhaseFailed
}
