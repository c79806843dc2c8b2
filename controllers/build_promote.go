package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/promote"
)

// promote moves the tags to the index, last of all.
func (run *buildRun) promote(ctx context.Context) (done, error) {
	if err := run.stillWanted(ctx); err != nil {
		return done{}, err
	}
	if err := run.refuseSharedTags(ctx); err != nil {
		return done{}, err
	}
	if err := run.verifiedLately(ctx); err != nil {
		return done{}, err
	}
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	tags := make([]string, len(run.build.Spec.Output.Tags))
	for i, t := range run.build.Spec.Output.Tags {
		tags[i] = string(t)
	}
	if err := promote.Move(ctx, client, repo, run.build.Status.Digest, tags); err != nil {
		return done{}, err
	}
	return done{message: fmt.Sprintf("%s:%s is %s", repo, tagList(run.build.Spec.Output.Tags), run.build.Status.Digest)}, nil
}

// verifiedFor is how long what was read back counts: a promotion may have waited for a registry or a tag since.
const verifiedFor = time.Minute

func (run *buildRun) verifiedLately(ctx context.Context) error {
	if run.Clock.Since(run.verified) < verifiedFor {
		return nil
	}
	_, err := run.verify(ctx)
	return err
}

// stillWanted asks the apiserver once more for the build: one that was deleted while its images were checked must not
// move tags that its successor may have moved.
func (run *buildRun) stillWanted(ctx context.Context) error {
	now := &v1alpha1.BaseImageBuild{}
	err := run.Live.Get(ctx, nameOf(run.build), now)
	if apierrors.IsNotFound(err) || err == nil && (now.UID != run.build.UID || over(now)) {
		run.superseded = true
		return pipeline.Terminalf(v1alpha1.ReasonSuperseded, "the build was deleted, or has ended, meanwhile")
	}
	if err != nil {
		return fmt.Errorf("reading the build: %w", err)
	}
	return nil
}

// refuseSharedTags looks once more whether another image has the tags: both may have been made while this build ran.
func (run *buildRun) refuseSharedTags(ctx context.Context) error {
	image := &v1alpha1.BaseImage{}
	err := run.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: run.build.Spec.BaseImage}, image)
	if err == nil && !isOwnedBy(run.build, image.UID) {
		err = errors.New("another one has its name")
	}
	if err != nil {
		return fmt.Errorf("reading BaseImage %s: %w", run.build.Spec.BaseImage, err)
	}
	image = image.DeepCopy()
	image.Spec.Output = run.build.Spec.Output
	err = refuseSharedTags(ctx, run.Client, image)
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		t.Retryable = true // Once the tag is free, there is nobody who would ask for this build again.
	}
	return err
}
