// Package upstream turns the external images of a Dockerfile into digests, and checks that
// they fit the platforms of a build.
package upstream

import (
	"context"
	"slices"
	"sync"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Refresh says what happens to a reference that has a digest, or none. The values are
// those of spec.upstream.refresh.
type Refresh string

const (
	// Always resolves every tag again, also that of "name:tag@digest". A reference
	// with only a digest stays.
	Always Refresh = "Always"
	// IfUnpinned keeps every digest and resolves the tags of the others.
	IfUnpinned Refresh = "IfUnpinned"
	// Never asks for a digest in every reference.
	Never Refresh = "Never"
)

// maxParallel requests are under way at once, per Resolve or Poll.
const maxParallel = 4

// Request is one use of an image in a Dockerfile.
type Request struct {
	// Ref is the reference after ARG expansion, for example "alpine:3.23". Not
	// "scratch", and not the name of a stage.
	Ref string
	// Platforms need the image. Empty: none is checked.
	Platforms []pipeline.Platform
	// Final is true for the base of the final stage: an image of one platform must
	// then be of the requested one. Elsewhere it is accepted, for it may only
	// provide files.
	Final bool
}

// Resolver resolves images at their registries and mirrors.
type Resolver struct {
	// Registry has the credentials and the mirrors. Required.
	Registry *registry.Client
}

// Resolve returns what each distinct Ref stands for, in the order of first appearance;
// the platforms of its requests are joined. That an image exists is checked in any case.
//
// Terminal reasons: UpstreamInvalid, UpstreamUnpinned (before anything is asked of a
// registry), UpstreamNotFound, UpstreamMissingPlatform, and those of registry.Classify.
// Of several errors the first Terminal one is returned, else the first.
func (r Resolver) Resolve(ctx context.Context, requests []Request, refresh Refresh) ([]pipeline.Upstream, error) {
	images, err := r.images(merge(requests), refresh)
	if err != nil {
		return nil, err
	}
	places := r.lookUp(ctx, images, r.read)
	out := make([]pipeline.Upstream, len(images))
	var errs []error
	for i, img := range images {
		at := places[registry.Name(img.lookup)]
		err := at.err
		if err == nil {
			err = r.checkPlatforms(ctx, img, at)
		}
		errs = append(errs, err)
		out[i] = img.upstream(at)
	}
	if err := worst(errs); err != nil {
		return nil, err
	}
	return out, nil
}

// need is what all requests for one Ref need together.
type need struct {
	ref string
	// platforms need the image; those in final, as the base of the final stage.
	platforms, final []pipeline.Platform
}

// merge joins the requests for the same Ref.
func merge(requests []Request) []need {
	var out []need
	for _, req := range requests {
		i := slices.IndexFunc(out, func(n need) bool { return n.ref == req.Ref })
		if i < 0 {
			i = len(out)
			out = append(out, need{ref: req.Ref})
		}
		out[i].platforms = union(out[i].platforms, req.Platforms)
		if req.Final {
			out[i].final = union(out[i].final, req.Platforms)
		}
	}
	return out
}

func union(a, b []pipeline.Platform) []pipeline.Platform {
	for _, p := range b {
		if !slices.Contains(a, p) {
			a = append(a, p)
		}
	}
	return a
}

// lookUp finds every image once, by the full name that is looked up: two spellings of one
// tag cannot become two digests.
func (r Resolver) lookUp(ctx context.Context, images []image, ask ask) map[string]*location {
	found := map[string]*location{}
	slots := make(chan struct{}, maxParallel)
	var wg sync.WaitGroup
	for _, img := range images {
		if found[registry.Name(img.lookup)] != nil {
			continue
		}
		at := &location{}
		found[registry.Name(img.lookup)] = at
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			*at = r.locate(ctx, img, ask)
		})
	}
	wg.Wait()
	return found
}

// worst is the first Terminal error, else the first error.
func worst(errs []error) error {
	var first error
	for _, err := range errs {
		if pipeline.IsTerminal(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}
