package upstream

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Poll tells which digests Resolve would find, to see whether anything has changed. It is cheap: it asks nothing about
// a reference whose digest stays, and only the headers of a manifest about a tag, which Docker Hub does not count as a
// pull (https://docs.docker.com/docker-hub/usage/pulls/). In return it checks no platforms, takes a registry's word for a
// digest, does not notice that a digest is gone, and leaves Pull empty.
//
// The order and the errors are those of Resolve, except UpstreamMissingPlatform.
func (r Resolver) Poll(ctx context.Context, requests []Request, refresh Refresh) ([]pipeline.Upstream, error) {
	images, err := r.images(merge(requests), refresh)
	if err != nil {
		return nil, err
	}
	var moving []image
	for _, img := range images {
		if _, stays := img.lookup.(name.Digest); !stays {
			moving = append(moving, img)
		}
	}
	places := r.lookUp(ctx, moving, r.head)
	out := make([]pipeline.Upstream, len(images))
	var errs []error
	for i, img := range images {
		digest := img.lookup.Identifier()
		if at, asked := places[registry.Name(img.lookup)]; asked {
			digest = at.manifest.Digest.String()
			errs = append(errs, at.err)
		}
		out[i] = pipeline.Upstream{Ref: img.ref, Name: img.name, Digest: digest}
	}
	if err := worst(errs); err != nil {
		return nil, err
	}
	return out, nil
}

// head asks for the digest.
func (r Resolver) head(ctx context.Context, _ image, at name.Reference) (location, error) {
	desc, err := r.Registry.Head(ctx, at)
	return location{repo: at.Context(), manifest: registry.Manifest{Descriptor: desc}}, err
}
