package registry

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Image opens the image manifest ref. Config and layers are read when asked for, checked
// against their digests and sizes, with ctx, which must therefore live, and have a
// deadline, until the image was read; their errors are raw, see Classify. An index, and a
// manifest that is malformed, are Terminal with reason ImageInvalid; one over the limits
// is Terminal with reason ImageTooLarge.
func (c *Client) Image(ctx context.Context, ref name.Digest) (v1.Image, error) {
	doing := "opening image " + Name(ref)
	desc, m, err := c.open(ctx, ref, doing)
	if err != nil {
		return nil, err
	}
	if !m.MediaType.IsImage() {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: it is an index, not an image of one platform", doing)
	}
	img, err := desc.Image()
	if err != nil {
		return nil, reading(doing).outcome(ctx, err)
	}
	parsed, err := img.Manifest()
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: %w", doing, err)
	}
	return img, c.fits(doing, parsed)
}

// Index opens the index ref; as with Image, its children are read with ctx.
func (c *Client) Index(ctx context.Context, ref name.Digest) (v1.ImageIndex, error) {
	doing := "opening index " + Name(ref)
	desc, m, err := c.open(ctx, ref, doing)
	if err != nil {
		return nil, err
	}
	if !m.MediaType.IsIndex() {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: it is an image of one platform, not an index", doing)
	}
	idx, err := desc.ImageIndex()
	return idx, reading(doing).outcome(ctx, err)
}

func (c *Client) open(ctx context.Context, ref name.Digest, doing string) (*remote.Descriptor, Manifest, error) {
	opened, done := c.opening(ctx)
	defer done()
	desc, err := pulling(opened, c, ref.Context(), func(p *remote.Puller) (*remote.Descriptor, error) { return p.Get(opened, ref) })
	if err != nil {
		return nil, Manifest{}, reading(doing).outcome(ctx, err)
	}
	m, err := newManifest(doing, desc.Descriptor, desc.Manifest)
	return desc, m, err
}

// fits compares what a manifest says with the limits. go-containerregistry reads a config
// of any size into memory, and holds layers to the sizes that are checked here.
func (c *Client) fits(doing string, m *v1.Manifest) error {
	if m.Config.Size < 0 || m.Config.Size > int64(c.limits.ManifestBytes) {
		return tooLarge(doing, "the config", int64(c.limits.ManifestBytes))
	}
	if len(m.Layers) > c.limits.Layers {
		return tooLarge(doing, "the number of layers", int64(c.limits.Layers))
	}
	left := int64(c.limits.ImageBytes)
	for _, l := range m.Layers {
		left -= l.Size
		if l.Size < 0 || left < 0 {
			return tooLarge(doing, "the sum of the layers", int64(c.limits.ImageBytes))
		}
	}
	return nil
}

// PushImage writes img by digest, with the layers that are not there yet, four at a time.
// Errors are classified, see Classify.
func (c *Client) PushImage(ctx context.Context, repo name.Repository, img v1.Image) (name.Digest, error) {
	digest, err := img.Digest()
	if err != nil {
		return name.Digest{}, reading("computing the digest of an image").outcome(ctx, err)
	}
	ref := repo.Digest(digest.String())
	return ref, c.writing("pushing "+Name(ref), repo).outcome(ctx, c.pusher.Push(ctx, ref, img))
}

// PushIndex writes the manifest of idx by digest, and nothing else: the images that it
// lists must be in repo already. Errors are classified, see Classify.
func (c *Client) PushIndex(ctx context.Context, repo name.Repository, idx v1.ImageIndex) (name.Digest, error) {
	raw, err := idx.RawManifest()
	if err != nil {
		return name.Digest{}, reading("reading an index").outcome(ctx, err)
	}
	mediaType, err := idx.MediaType()
	if err != nil {
		return name.Digest{}, reading("reading an index").outcome(ctx, err)
	}
	digest, err := idx.Digest()
	if err != nil {
		return name.Digest{}, reading("computing the digest of an index").outcome(ctx, err)
	}
	ref := repo.Digest(digest.String())
	desc := v1.Descriptor{Digest: digest, Size: int64(len(raw)), MediaType: mediaType}
	return ref, c.PutManifest(ctx, ref, Manifest{Descriptor: desc, Raw: raw})
}
