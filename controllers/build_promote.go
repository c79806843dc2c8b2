package controllers

import (
	"context"
	"fmt"

	"github.com/ibshafique/base-images/internal/promote"
)

// promote moves the tags to the index, last of all.
func (run *buildRun) promote(ctx context.Context) (string, error) {
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
