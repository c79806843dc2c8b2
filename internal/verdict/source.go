package verdict

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

// source is a registry for one verdict: it, or its repository, is left alone when it is away, and who waits too long is told for what.
type source struct {
	client *registry.Client
	gate   gate
	steps  *steps
	clock  clock.PassiveClock
	// known are manifests that were read a moment ago, or nil.
	known func(name.Reference) (registry.Manifest, bool)
}

func (s *source) Manifest(ctx context.Context, ref name.Reference) (registry.Manifest, error) {
	if s.known != nil {
		if m, ok := s.known(ref); ok {
			return m, nil
		}
	}
	return exchange(ctx, s, "reading manifest "+registry.Name(ref), func() (registry.Manifest, error) { return s.client.Manifest(ctx, ref) })
}

type referrers struct {
	found  []v1.Descriptor
	listed int
}

func (s *source) Referrers(ctx context.Context, subject name.Digest, most int) (found []v1.Descriptor, listed int, err error) {
	all, err := exchange(ctx, s, "reading the referrers of "+registry.Name(subject), func() (referrers, error) {
		found, listed, err := s.client.Referrers(ctx, subject, most)
		return referrers{found, listed}, err
	})
	return all.found, all.listed, err
}

func (s *source) Blob(ctx context.Context, repo name.Repository, desc v1.Descriptor, limit int64) ([]byte, error) {
	return exchange(ctx, s, "reading blob "+desc.Digest.String()+" of "+registry.RepositoryName(repo), func() ([]byte, error) {
		return s.client.Blob(ctx, repo, desc, limit)
	})
}

var _ verify.Source = (*source)(nil)

func exchange[T any](ctx context.Context, s *source, doing string, f func() (T, error)) (T, error) {
	leave, err := s.gate.enter(s.clock.Now())
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", doing, err)
	}
	defer s.steps.begin(pipeline.ReasonRegistryTimeout, doing)()
	value, err := guarded(f)
	leave(ctx, s.clock.Now(), err)
	return value, err
}
