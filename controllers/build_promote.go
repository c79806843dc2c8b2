package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/promote"
)

// promote moves the tags to the index, last of all.
func (run *buildRun) promote(ctx context.Context) (string, error) {
	if err := run.refuseSharedTags(ctx); err != nil {
		return "", err
	}
	client, repo, err := run.output(ctx)
	if err != nil {
		return "", err
	}
	tags := make([]string, len(run.build.Spec.Output.Tags))
	for i, t := range run.build.Spec.Output.Tags {
		tags[i] = string(t)
	}
	if err := promote.Move(ctx, client, repo, run.build.Status.Digest, tags); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%s is %s", repo, tagList(run.build.Spec.Output.Tags), run.build.Status.Digest), nil
}

// refuseSharedTags looks once more whether another image has the tags: both may have been made while this build ran.
func (run *buildRun) refuseSharedTags(ctx context.Context) error {
	image := &v1alpha1.BaseImage{}
	err := run.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: run.build.Spec.BaseImage}, image)
	if err != nil {
		return fmt.Errorf("reading BaseImage %s: %w", run.build.Spec.BaseImage, err)
	}
	image = image.DeepCopy()
	image.Spec.Output = run.build.Spec.Output
	return refuseSharedTags(ctx, run.Client, image)
}
