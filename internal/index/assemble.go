// Package index joins the images of the platforms into one OCI image index.
package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Image is the image of one platform, as an index lists it.
type Image struct {
	Platform pipeline.Platform
	// Digest of the image manifest, "sha256:…".
	Digest string
	// Size of the image manifest in bytes.
	Size int64
	// MediaType of the image manifest, of OCI or Docker.
	MediaType string
}

// Annotations of the index, by the names of
// https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md. Empty ones are
// left out.
type Annotations struct {
	// Created is written in UTC, to the second (RFC 3339).
	Created time.Time
	// Revision of the source, for example a git commit.
	Revision string
	// Source is the URL of the source.
	Source string
	// BaseName is the base of the final stage, for example "docker.io/library/alpine:3.23".
	BaseName string
	// BaseDigest is what BaseName stood for: since this is an index, the digest of the
	// base's index if it has one, not of one platform's image.
	BaseDigest string
}

// Input has one image per platform, in any order.
type Input struct {
	Images      []Image
	Annotations Annotations
}

// Assemble makes an OCI image index
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md). The same
// input, in whatever order, gives the same bytes: images are sorted by platform. The
// result has no children to read. An image without digest, size or known media type, and
// two images for one platform, are plain errors: a caller's defect.
func Assemble(in Input) (v1.ImageIndex, error) {
	if len(in.Images) == 0 {
		return nil, errors.New("assembling an index: no images")
	}
	images := slices.Clone(in.Images)
	slices.SortFunc(images, func(a, b Image) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	manifest := v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Annotations:   in.Annotations.all(),
	}
	for i, img := range images {
		if i > 0 && images[i-1].Platform == img.Platform {
			return nil, fmt.Errorf("assembling an index: two images for %s", img.Platform)
		}
		desc, err := img.descriptor()
		if err != nil {
			return nil, fmt.Errorf("assembling an index: image for %s: %w", img.Platform, err)
		}
		manifest.Manifests = append(manifest.Manifests, desc)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return nil, fmt.Errorf("assembling an index: %w", err)
	}
	return assembled(raw), nil
}

func (i Image) descriptor() (v1.Descriptor, error) {
	digest, err := v1.NewHash(i.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	mediaType := types.MediaType(i.MediaType)
	if !mediaType.IsImage() {
		return v1.Descriptor{}, fmt.Errorf("%q is not the media type of an image", i.MediaType)
	}
	if i.Size <= 0 {
		return v1.Descriptor{}, fmt.Errorf("size %d", i.Size)
	}
	return v1.Descriptor{
		MediaType: mediaType,
		Digest:    digest,
		Size:      i.Size,
		Platform:  &v1.Platform{OS: i.Platform.OS, Architecture: i.Platform.Architecture},
	}, nil
}

func (a Annotations) all() map[string]string {
	const prefix = "org.opencontainers.image."
	out := map[string]string{}
	for name, value := range map[string]string{
		"revision":    a.Revision,
		"source":      a.Source,
		"base.name":   a.BaseName,
		"base.digest": a.BaseDigest,
	} {
		if value != "" {
			out[prefix+name] = value
		}
	}
	if !a.Created.IsZero() {
		out[prefix+"created"] = a.Created.UTC().Format(time.RFC3339)
	}
	return out
}

// assembled is an index that only has its manifest.
type assembled []byte

// errNoChildren is the answer to a request for a child's content.
var errNoChildren = errors.New("an assembled index has no content: read its images from the registry")

func (a assembled) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }
func (a assembled) RawManifest() ([]byte, error)        { return slices.Clone(a), nil }
func (a assembled) Size() (int64, error)                { return int64(len(a)), nil }

func (a assembled) Digest() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(a))
	return h, err
}

func (a assembled) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(a))
}

func (a assembled) Image(v1.Hash) (v1.Image, error)           { return nil, errNoChildren }
func (a assembled) ImageIndex(v1.Hash) (v1.ImageIndex, error) { return nil, errNoChildren }
