package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// inspect checks the file system and the config of every platform, which the operator has read itself.
func (run *buildRun) inspect(ctx context.Context) (done, error) {
	policy := run.inspectPolicy()
	found := byPlatform{of: len(run.build.Status.Platforms)}
	for _, p := range run.build.Status.Platforms {
		facts, err := run.factsOf(ctx, p)
		if err != nil {
			return done{}, fmt.Errorf("%s: %w", p.Platform, err)
		}
		for _, f := range inspect.Check(facts, policy) {
			found.add(p.Platform, f.Check+": "+f.Message)
		}
	}
	if messages := found.messages(); len(messages) > 0 {
		return done{}, pipeline.Terminalf(pipeline.ReasonInspectionFailed, "the image is not what spec.tests asks for: %s", summed(messages, len(messages)))
	}
	return done{message: fmt.Sprintf("The file system and the config of %s are what spec.tests asks for", platformNames(run.build.Spec.Platforms))}, nil
}

// factsOf are remembered from when the index was made, unless that was long ago.
func (run *buildRun) factsOf(ctx context.Context, p v1alpha1.PlatformImage) (inspect.Facts, error) {
	if facts, ok := run.inspected.Get(p.Platform + "@" + p.Digest); ok {
		return facts, nil
	}
	client, repo, err := run.output(ctx)
	if err != nil {
		return inspect.Facts{}, err
	}
	_, facts, err := run.check(ctx, client, repo, p.Platform)
	return facts, err
}

// defaultUser is what the policy asks for where nothing is said, as the images of the distroless project have it.
const defaultUser = 65532

// defaultLabels must be there where nothing is said.
var defaultLabels = []string{"org.opencontainers.image.title", "org.opencontainers.image.description", "org.opencontainers.image.source"}

func (run *buildRun) inspectPolicy() inspect.Policy {
	tests := &run.build.Spec.Tests
	p := inspect.Policy{
		User:            ptr.Deref(tests.User, defaultUser),
		Shells:          tests.Shells == v1alpha1.Allow,
		PackageManagers: tests.PackageManagers == v1alpha1.Allow,
		SetuidFiles:     tests.SetuidFiles == v1alpha1.Allow,
		MaxSize:         int64(run.Config.Defaults.MaxImageSize),
		RequiredLabels:  tests.RequiredLabels,
	}
	if tests.MaxSize != nil {
		p.MaxSize = tests.MaxSize.Value()
	}
	if len(p.RequiredLabels) == 0 {
		p.RequiredLabels = defaultLabels
	}
	return p
}

// byPlatform collects messages, and says where each applies only if that is not everywhere.
type byPlatform struct {
	// of is the number of platforms.
	of    int
	found []platformMessage
}

type platformMessage struct {
	message   string
	platforms []string
}

func (b *byPlatform) add(platform, message string) {
	i := slices.IndexFunc(b.found, func(m platformMessage) bool { return m.message == message })
	if i < 0 {
		i = len(b.found)
		b.found = append(b.found, platformMessage{message: message})
	}
	b.found[i].platforms = append(b.found[i].platforms, platform)
}

func (b *byPlatform) messages() []string {
	slices.SortStableFunc(b.found, func(x, y platformMessage) int { return cmp.Compare(len(y.platforms), len(x.platforms)) })
	var out []string
	for _, m := range b.found {
		if len(m.platforms) < b.of {
			m.message = m.platforms[0] + ": " + m.message
		}
		out = append(out, m.message)
	}
	return out
}
