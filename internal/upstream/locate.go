package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// location is where an image was found, or why it was not.
type location struct {
	repo     name.Repository
	manifest registry.Manifest
	// has are the platforms of an index. Its bytes are not kept: a Dockerfile may name many images, and an index may
	// have megabytes.
	has []pipeline.Platform
	err error
}

// ask is one question about an image at one place.
type ask func(ctx context.Context, img image, at name.Reference) (location, error)

// locate asks the mirrors in order, then the image's own registry. The next one is asked
// if the image is not at a mirror, or the mirror is unavailable; any other answer of a
// mirror stands, such as a refusal.
func (r Resolver) locate(ctx context.Context, img image, ask ask) location {
	var failed error
	for _, at := range r.Registry.Pulls(img.lookup) {
		found, err := ask(ctx, img, at)
		if err == nil {
			return found
		}
		failed = both(failed, err)
		if !elsewhere(err) || ctx.Err() != nil {
			break
		}
	}
	return location{err: asUpstream(img.ref, failed)}
}

// read asks for the manifest.
func (r Resolver) read(ctx context.Context, img image, at name.Reference) (location, error) {
	m, err := r.Registry.Manifest(ctx, at)
	if err != nil {
		return location{}, err
	}
	return found(img, at.Context(), m), nil
}

func found(img image, repo name.Repository, m registry.Manifest) location {
	at := location{repo: repo, manifest: m}
	at.manifest.Raw = nil
	if m.MediaType.IsIndex() {
		at.has, at.err = platforms(img, m.Raw)
	}
	return at
}

func elsewhere(err error) bool {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return t.Reason == pipeline.ReasonImageNotFound
	}
	_, transient := errors.AsType[*pipeline.Transient](err)
	return transient
}

// both is one fault with the messages of two. It is transient if the image may still be
// found at either.
func both(mirror, own error) error {
	if mirror == nil {
		return own
	}
	joined := fmt.Errorf("%w; and %w", mirror, own)
	for _, err := range []error{own, mirror} {
		if t, ok := errors.AsType[*pipeline.Transient](err); ok {
			return &pipeline.Transient{Reason: t.Reason, After: t.After, Err: plain{joined}}
		}
	}
	if t, ok := errors.AsType[*pipeline.Terminal](own); ok {
		return &pipeline.Terminal{Reason: t.Reason, Err: plain{joined}}
	}
	return joined
}

// plain keeps the message of an error and hides the faults inside it: two causes that are
// one fault must not be taken for the type of either.
type plain struct{ err error }

func (p plain) Error() string { return p.err.Error() }
