package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// rewriteTries are how often a tag is written until it has what it should. Somebody else has to write it at the same time
// for each of them to fail: registries have no way to write only if nothing has changed.
const rewriteTries = 5

// tagOf is where signatures (.sig) or attestations (.att) of ref are listed.
func tagOf(ref name.Digest, suffix string) name.Tag {
	return ref.Context().Tag(strings.ReplaceAll(ref.DigestStr(), ":", "-") + suffix)
}

// change is what is to become of the layers of a tag.
type change struct {
	add []layer
	// drop are digests of layers.
	drop map[string]struct{}
}

// apply leaves what is not dropped in its order, and puts what is new behind it, where verifiers look first.
func (c change) apply(layers []v1.Descriptor) []v1.Descriptor {
	out := slices.DeleteFunc(slices.Clone(layers), func(d v1.Descriptor) bool {
		_, drop := c.drop[d.Digest.String()]
		return drop
	})
	for _, l := range c.add {
		if !slices.ContainsFunc(out, func(d v1.Descriptor) bool { return same(d, l.Descriptor) }) {
			out = append(out, l.Descriptor)
		}
	}
	return out
}

// same: signatures of several people have the same content, and differ in their annotations.
func same(a, b v1.Descriptor) bool {
	return a.Digest == b.Digest && maps.Equal(a.Annotations, b.Annotations)
}

// rewrite makes c of the layers under tag, and reads it again: others may have written it in between.
func (s *Signer) rewrite(ctx context.Context, client *registry.Client, tag name.Tag, c change) error {
	if len(c.add) == 0 && len(c.drop) == 0 {
		return nil
	}
	for i := range c.add {
		if err := c.add[i].upload(ctx, client, tag.Context()); err != nil {
			return err
		}
	}
	release, err := s.tags.take(ctx, registry.Name(tag))
	if err != nil {
		return err
	}
	defer release()
	for try := 0; ; try++ {
		m, err := readTag(ctx, client, tag)
		if err != nil {
			return err
		}
		layers := c.apply(m.Layers)
		if slices.EqualFunc(layers, m.Layers, same) {
			return nil
		}
		if try == rewriteTries {
			return pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "writing %s: others keep overwriting it", registry.Name(tag))
		}
		m.Layers = layers
		if err := writeTag(ctx, client, tag, m); err != nil {
			return err
		}
	}
}

// readTag returns a manifest without layers if there is none.
func readTag(ctx context.Context, client *registry.Client, tag name.Tag) (*v1.Manifest, error) {
	found, err := client.Manifest(ctx, tag)
	if isGone(err) {
		return &v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: v1.Descriptor{MediaType: types.OCIConfigJSON}}, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Raw))
	if err != nil || !found.MediaType.IsImage() {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s is not a list of signatures: delete this tag, so that it can be written", registry.Name(tag))
	}
	m.MediaType = found.MediaType
	return m, nil
}

func isGone(err error) bool {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	return ok && t.Reason == pipeline.ReasonImageNotFound
}

// checkTag tells before anything is signed what keeps so many more layers from being written: what is in a log stays there.
func checkTag(ctx context.Context, client *registry.Client, tag name.Tag, adds int, drop map[string]struct{}) error {
	m, err := readTag(ctx, client, tag)
	if err != nil {
		return err
	}
	return fits(client, tag, adds+len(change{drop: drop}.apply(m.Layers)))
}

func fits(client *registry.Client, tag name.Tag, layers int) error {
	if most := client.Limits().Layers; layers > most {
		return pipeline.Terminalf(pipeline.ReasonImageTooLarge, "%s would have %d signatures, limits.registry.layers allows %d: delete old ones", registry.Name(tag), layers, most)
	}
	return nil
}

func writeTag(ctx context.Context, client *registry.Client, tag name.Tag, m *v1.Manifest) error {
	if err := fits(client, tag, len(m.Layers)); err != nil {
		return err
	}
	config, err := newConfig(m.Layers)
	if err != nil {
		return err
	}
	uploaded := static.NewLayer(config, m.Config.MediaType)
	if err := client.PushBlobs(ctx, tag.Context(), uploaded); err != nil {
		return err
	}
	digest, err := uploaded.Digest()
	if err != nil {
		return err
	}
	m.Config = v1.Descriptor{MediaType: m.Config.MediaType, Digest: digest, Size: int64(len(config))}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	written, err := registry.NewManifest(raw, m.MediaType)
	if err != nil {
		return err
	}
	return client.PutManifest(ctx, tag, written)
}

// newConfig is what tools that copy images expect: the layers, which are not compressed.
func newConfig(layers []v1.Descriptor) ([]byte, error) {
	config := v1.ConfigFile{RootFS: v1.RootFS{Type: "layers"}}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
		config.History = append(config.History, v1.History{})
	}
	return json.Marshal(config)
}

// tagLocks are taken by the name of a tag. Two names may have the same one.
type tagLocks [64]chan struct{}

func newTagLocks() (locks tagLocks) {
	for i := range locks {
		locks[i] = make(chan struct{}, 1)
	}
	return locks
}

// take waits as long as ctx lasts.
func (l tagLocks) take(ctx context.Context, tag string) (release func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tag))
	lock := l[h.Sum32()%uint32(len(l))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to write %s: %w", tag, context.Cause(ctx))
	}
}
