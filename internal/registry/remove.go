package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// PushBlobs writes those of blobs that repo does not have yet. Errors are classified, see Classify.
func (c *Client) PushBlobs(ctx context.Context, repo name.Repository, blobs ...v1.Layer) error {
	return c.writing("pushing to "+RepositoryName(repo), repo).outcome(ctx, c.uploadBlobs(ctx, repo, blobs...))
}

// RemoveArtifact deletes the artifact ref, which may be gone already, and before that takes it out of the list of its
// subject's referrers if that list is kept under a tag: some registries take no list with something in it that is gone. Many
// delete nothing, or not for everybody. Errors are classified, see Classify.
func (c *Client) RemoveArtifact(ctx context.Context, ref, subject name.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.RequestTimeout.Std())
	defer cancel()
	release, err := c.attaching.take(ctx, Name(subject))
	if err != nil {
		return reading("waiting to delete "+Name(ref)).outcome(ctx, err)
	}
	defer release()
	if !c.listing.by(subject.Context()) {
		if err := c.unlist(ctx, ref, subject); err != nil {
			return err
		}
	}
	err = c.pusher.Delete(ctx, ref)
	if e, ok := errors.AsType[*transport.Error](err); ok && e.StatusCode == http.StatusNotFound {
		return nil
	}
	return c.writing("deleting "+Name(ref), ref.Context()).outcome(ctx, err)
}

// unlist takes ref out of the list under the tag of subject, if there is one.
func (c *Client) unlist(ctx context.Context, ref, subject name.Digest) error {
	tag, err := referrersTag(subject)
	if err != nil {
		return err
	}
	m, err := c.Manifest(ctx, tag)
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok && t.Reason == pipeline.ReasonImageNotFound {
		return nil
	}
	if err != nil || !m.MediaType.IsIndex() {
		return err
	}
	rest, err := without(m, ref.DigestStr())
	if err != nil || rest.Digest == m.Digest {
		return err
	}
	return c.PutManifest(ctx, tag, rest)
}

// referrersTag is where the referrers of subject are listed by registries that do not list them themselves.
func referrersTag(subject name.Digest) (name.Tag, error) {
	h, err := v1.NewHash(subject.DigestStr())
	return subject.Context().Tag(h.Algorithm + "-" + h.Hex), err
}

// without is the index m without the manifest that has the digest.
func without(m Manifest, digest string) (Manifest, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(m.Raw))
	if err != nil {
		return m, pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading a list of referrers: %w", err)
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest.String() == digest })
	if len(index.Manifests) == before {
		return m, nil
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return m, err
	}
	return NewManifest(raw, m.MediaType)
}

// NewManifest is a manifest of these bytes.
func NewManifest(raw []byte, mediaType types.MediaType) (Manifest, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	return Manifest{Descriptor: v1.Descriptor{Digest: digest, Size: size, MediaType: mediaType}, Raw: raw}, err
}
