package index

import (
	"context"
	"errors"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Push writes an index by digest, unless it is there already; no tag moves. Its images must
// be in repo. Errors are classified, see registry.Classify.
func Push(ctx context.Context, client *registry.Client, repo name.Repository, idx v1.ImageIndex) (name.Digest, error) {
	digest, err := idx.Digest()
	if err != nil {
		return name.Digest{}, registry.Classify("computing the digest of the index", err)
	}
	ref := repo.Digest(digest.String())
	_, err = client.Head(ctx, ref)
	if err == nil {
		return ref, nil
	}
	if t, ok := errors.AsType[*pipeline.Terminal](err); !ok || t.Reason != pipeline.ReasonImageNotFound {
		return name.Digest{}, err
	}
	return client.PushIndex(ctx, repo, idx)
}

// Read opens what a build says that it pushed to repo: the manifest must have claim's
// digest, and its size and media type unless these are zero, and its config must be for
// claim's platform. It returns the claim with what was read in place of zero values. The
// image's content is read with ctx, as with registry.Client.Image.
//
// Another size or media type is Terminal with reason DigestMismatch, another platform
// Terminal with reason PlatformMismatch; bytes that do not match the digest are Transient
// with reason DigestMismatch. Other errors are classified, see registry.Classify.
func Read(ctx context.Context, client *registry.Client, repo name.Repository, claim Image) (Image, v1.Image, error) {
	if _, err := v1.NewHash(claim.Digest); err != nil {
		return Image{}, nil, pipeline.Terminalf(pipeline.ReasonDigestMismatch, "the build for %s reports the digest %.100q: %w", claim.Platform, claim.Digest, err)
	}
	img, err := client.Image(ctx, repo.Digest(claim.Digest))
	if err != nil {
		return Image{}, nil, err
	}
	read, err := described(img, claim)
	if err != nil {
		return Image{}, nil, err
	}
	return read, img, inspect.CheckPlatform(img, claim.Platform)
}

func described(img v1.Image, claim Image) (Image, error) {
	size, err := img.Size()
	if err != nil {
		return Image{}, registry.Classify("reading the size of "+claim.Digest, err)
	}
	mediaType, err := img.MediaType()
	if err != nil {
		return Image{}, registry.Classify("reading the media type of "+claim.Digest, err)
	}
	read := Image{Platform: claim.Platform, Digest: claim.Digest, Size: size, MediaType: string(mediaType)}
	if claim.Size != 0 && claim.Size != size || claim.MediaType != "" && claim.MediaType != read.MediaType {
		return Image{}, pipeline.Terminalf(pipeline.ReasonDigestMismatch,
			"the build for %s reports %d bytes of %.100q, but the registry has %d bytes of %q: the build pod's report is not true",
			claim.Platform, claim.Size, claim.MediaType, size, mediaType)
	}
	return read, nil
}
