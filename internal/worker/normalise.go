package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// normalise gives an image OCI media types (https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md)
// and the source's date, without touching a layer, so that the same layers give the same digest.
func normalise(img v1.Image, created time.Time) (v1.Image, error) {
	config, err := datedConfig(img, created)
	if err != nil {
		return nil, err
	}
	manifest, err := ociManifest(img, config)
	if err != nil {
		return nil, err
	}
	out, err := partial.CompressedToImage(&ociImage{Image: img, manifest: manifest, config: config})
	if err != nil {
		return nil, fmt.Errorf("normalising the image: %w", err)
	}
	return out, nil
}

func datedConfig(img v1.Image, created time.Time) ([]byte, error) {
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the config of the image: %w", err)
	}
	cf = cf.DeepCopy()
	cf.Created = v1.Time{Time: created.UTC()}
	for i := range cf.History {
		cf.History[i].Created = cf.Created
	}
	raw, err := json.Marshal(cf)
	if err != nil {
		return nil, fmt.Errorf("encoding the config of the image: %w", err)
	}
	return raw, nil
}

func ociManifest(img v1.Image, config []byte) ([]byte, error) {
	old, err := img.Manifest()
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of the image: %w", err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(config))
	if err != nil {
		return nil, fmt.Errorf("hashing the config of the image: %w", err)
	}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: digest, Size: size},
		Layers:        []v1.Descriptor{},
	}
	for _, l := range old.Layers {
		mediaType, err := ociLayerType(l.MediaType)
		if err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: mediaType, Digest: l.Digest, Size: l.Size})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest of the image: %w", err)
	}
	return raw, nil
}

func ociLayerType(t types.MediaType) (types.MediaType, error) {
	switch t {
	case types.DockerLayer, types.OCILayer:
		return types.OCILayer, nil
	case types.DockerUncompressedLayer, types.OCIUncompressedLayer:
		return types.OCIUncompressedLayer, nil
	case types.OCILayerZStd:
		return t, nil
	default:
		return "", pipeline.Terminalf(pipeline.ReasonImageInvalid, "normalising the image: a layer has the media type %q, which can't be pushed", t)
	}
}

// ociImage is an image with another manifest and config over the same layers.
type ociImage struct {
	v1.Image
	manifest, config []byte
}

func (i *ociImage) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (i *ociImage) RawManifest() ([]byte, error)        { return i.manifest, nil }
func (i *ociImage) RawConfigFile() ([]byte, error)      { return i.config, nil }
func (i *ociImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	return i.Image.LayerByDigest(h)
}
