package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Manifest is an image manifest or index as a registry has it.
type Manifest struct {
	// Descriptor has the digest computed from Raw, its length and its media type.
	v1.Descriptor
	// Raw are the bytes, unchanged.
	Raw []byte
}

// Head asks what ref is, without reading it. The digest of a tag is what the registry
// says, so it only tells whether something changed. Errors are classified, see Classify.
func (c *Client) Head(ctx context.Context, ref name.Reference) (v1.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.RequestTimeout.Std())
	defer cancel()
	desc, err := pulling(ctx, c, ref.Context(), func(p *remote.Puller) (*v1.Descriptor, error) { return p.Head(ctx, ref) })
	if err == nil {
		return *desc, nil
	}
	err = reading("looking up "+Name(ref)).outcome(ctx, err)
	if isFault(err) || ctx.Err() != nil {
		return v1.Descriptor{}, err
	}
	// Some registries leave headers out of the answer to HEAD that the specification
	// asks for. The manifest itself needs none of them.
	m, err := c.Manifest(ctx, ref)
	return m.Descriptor, err
}

// Manifest reads an image manifest or index of at most Limits.ManifestBytes. Its digest is
// computed from the bytes and, if ref has one, the same; that a tag's digest belongs to
// the tag is the registry's word. Errors are classified, see Classify; what is no
// manifest of version 2 is Terminal with reason ImageInvalid.
func (c *Client) Manifest(ctx context.Context, ref name.Reference) (Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.RequestTimeout.Std())
	defer cancel()
	doing := "reading manifest " + Name(ref)
	desc, err := pulling(ctx, c, ref.Context(), func(p *remote.Puller) (*remote.Descriptor, error) { return p.Get(ctx, ref) })
	if err != nil {
		return Manifest{}, reading(doing).outcome(ctx, err)
	}
	return newManifest(doing, desc.Descriptor, desc.Manifest)
}

func newManifest(doing string, desc v1.Descriptor, raw []byte) (Manifest, error) {
	mediaType, err := manifestType(desc.MediaType, raw)
	if err != nil {
		return Manifest{}, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: %w", doing, err)
	}
	return Manifest{
		Descriptor: v1.Descriptor{Digest: desc.Digest, Size: desc.Size, MediaType: mediaType},
		Raw:        raw,
	}, nil
}

// manifestShape is what tells an image from an index.
type manifestShape struct {
	MediaType types.MediaType `json:"mediaType"`
	Manifests json.RawMessage `json:"manifests"`
	Config    json.RawMessage `json:"config"`
	Layers    json.RawMessage `json:"layers"`
}

// fits refuses what could be read as both an image and an index
// (https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh).
func (m manifestShape) fits(said types.MediaType) bool {
	image := m.Config != nil || m.Layers != nil
	index := m.Manifests != nil
	return said.IsImage() && image && !index || said.IsIndex() && index && !image
}

// manifestType decides what raw is: what the registry says, if that is a type of version
// 2 and raw says nothing else, or what raw says.
func manifestType(header types.MediaType, raw []byte) (types.MediaType, error) {
	var m manifestShape
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", fmt.Errorf("it is not JSON: %w", err)
	}
	said := header
	if base, _, err := mime.ParseMediaType(string(header)); err == nil {
		said = types.MediaType(base)
	}
	if !said.IsImage() && !said.IsIndex() {
		said = m.MediaType
	}
	if m.MediaType != "" && m.MediaType != said {
		return "", fmt.Errorf("it is served as %q and says that it is %.100q", said, m.MediaType)
	}
	if !m.fits(said) {
		return "", fmt.Errorf("media type %.100q is not an image or index of version 2, or its content does not fit", said)
	}
	return said, nil
}

// PutManifest writes the bytes of m, under a tag or under its digest. What m refers to
// must be there already. Errors are classified, see Classify.
func (c *Client) PutManifest(ctx context.Context, ref name.Reference, m Manifest) error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.RequestTimeout.Std())
	defer cancel()
	return c.writing("writing manifest "+Name(ref), ref.Context()).outcome(ctx, c.pusher.Put(ctx, ref, content{m}))
}

// Tag makes tag point to m, which must be in the same repository.
func (c *Client) Tag(ctx context.Context, tag name.Tag, m Manifest) error {
	return c.PutManifest(ctx, tag, m)
}

// content gives Manifest the methods of go-containerregistry.
type content struct{ m Manifest }

func (c content) RawManifest() ([]byte, error)        { return c.m.Raw, nil }
func (c content) MediaType() (types.MediaType, error) { return c.m.MediaType, nil }
func (c content) Digest() (v1.Hash, error)            { return c.m.Digest, nil }
func (c content) Size() (int64, error)                { return c.m.Size, nil }

// errSlow is the cause of a request that outlived Limits.RequestTimeout.
var errSlow = errors.New("the registry did not answer in time")

// opening is a context for a request whose answer keeps using it, as images do: it ends
// with ctx, and RequestTimeout only until done is called.
func (c *Client) opening(ctx context.Context) (opened context.Context, done func()) {
	opened, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.limits.RequestTimeout.Std(), func() { cancel(errSlow) })
	return opened, func() { timer.Stop() }
}
