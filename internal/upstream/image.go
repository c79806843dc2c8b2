package upstream

import (
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// image is a need with its reference taken apart.
type image struct {
	need
	// name is fully qualified, with the tag if it has one.
	name string
	// lookup is what a registry is asked: the tag, or the digest if that stays.
	lookup name.Reference
}

// images parses all requests before any registry is asked.
func (r Resolver) images(needs []need, refresh Refresh) ([]image, error) {
	out := make([]image, 0, len(needs))
	var errs []error
	for _, n := range needs {
		img, err := r.image(n, refresh)
		errs = append(errs, err)
		out = append(out, img)
	}
	return out, worst(errs)
}

func (r Resolver) image(n need, refresh Refresh) (image, error) {
	tagged, digest, pinned := strings.Cut(n.ref, "@")
	ref, err := r.Registry.Parse(n.ref)
	if err != nil {
		return image{}, err
	}
	if !pinned {
		if refresh == Never {
			return image{}, unpinned(n.ref, ref)
		}
		return image{need: n, name: registry.Name(ref), lookup: ref}, nil
	}
	if !hasTag(tagged) {
		return image{need: n, name: registry.RepositoryName(ref.Context()), lookup: ref}, nil
	}
	tag, err := r.Registry.Parse(tagged)
	if err != nil {
		return image{}, err
	}
	img := image{need: n, name: registry.Name(tag), lookup: ref.Context().Digest(digest)}
	if refresh == Always {
		img.lookup = tag
	}
	return img, nil
}

// hasTag tells the colon of a tag from that of a port.
func hasTag(ref string) bool {
	return strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":")
}

func unpinned(ref string, parsed name.Reference) error {
	return pipeline.Terminalf(pipeline.ReasonUpstreamUnpinned,
		"the Dockerfile uses %s without a digest, and spec.upstream.refresh is Never: write %s@sha256:<digest>, or set spec.upstream.refresh to IfUnpinned",
		ref, registry.Name(parsed))
}

func (i image) upstream(at *location) pipeline.Upstream {
	if at.err != nil {
		return pipeline.Upstream{}
	}
	digest := at.manifest.Digest.String()
	return pipeline.Upstream{
		Ref:    i.ref,
		Name:   i.name,
		Digest: digest,
		Pull:   registry.Name(at.repo.Digest(digest)),
	}
}

// asUpstream names the Dockerfile's word for an image that was not found, or not shown.
func asUpstream(ref string, err error) error {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok {
		return err
	}
	reason := t.Reason
	switch reason {
	case pipeline.ReasonImageNotFound:
		reason = pipeline.ReasonUpstreamNotFound
	case pipeline.ReasonRegistryUnauthorized, pipeline.ReasonRegistryDenied:
	default:
		return err
	}
	return pipeline.Terminalf(reason, "the Dockerfile uses %s: %w", ref, t.Err)
}
