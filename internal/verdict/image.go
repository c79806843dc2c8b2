package verdict

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// maxListed entries of an index are looked at. Each platform may have one for itself and one for what is attested of it.
	maxListed = 128
	// maxRunnable of them may be for nodes of the cluster: each takes requests.
	maxRunnable = 16
	// maxMembers of a JSON object that is taken apart. Those of manifests have a few.
	maxMembers = 64
)

// image is what a digest stands for.
type image struct {
	ref name.Digest
	// index: config is unset, and children are those that nodes can run; at least one.
	index    bool
	children []child
	config   v1.Descriptor
}

// child of an index.
type child struct {
	ref name.Digest
	// platform in messages.
	platform string
}

// parse is the image of a manifest, for nodes of these platforms; none: for any. Whoever runs an image may read a manifest in
// another way than we do, so what can be read in two ways is refused. Errors are Terminal: they are about the image.
func parse(ref name.Digest, m registry.Manifest, platforms []pipeline.Platform) (*image, error) {
	fields, err := members(m.Raw)
	if err != nil {
		return nil, malformed(ref, err)
	}
	if m.MediaType.IsIndex() {
		children, err := runnable(ref, fields["manifests"], platforms)
		return &image{ref: ref, index: true, children: children}, err
	}
	config, err := members(fields["config"])
	if err != nil {
		return nil, malformed(ref, fmt.Errorf("its config: %w", err))
	}
	d, err := descriptor(config)
	if err != nil {
		return nil, malformed(ref, fmt.Errorf("its config: %w", err))
	}
	return &image{ref: ref, config: d}, nil
}

func malformed(ref name.Digest, err error) error {
	return pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading the manifest of %s: %w", registry.Name(ref), err)
}

// runnable are the entries of an index that a node may run, each once.
func runnable(ref name.Digest, raw json.RawMessage, platforms []pipeline.Platform) ([]child, error) {
	var children []child
	seen := map[v1.Hash]bool{}
	err := elements(raw, func(i int, entry json.RawMessage) error {
		c, hash, err := entryOf(ref, entry, platforms)
		if err != nil {
			return malformed(ref, fmt.Errorf("manifests[%d]: %w", i, err))
		}
		if c == nil || seen[hash] {
			return nil
		}
		seen[hash] = true
		if children = append(children, *c); len(children) > maxRunnable {
			return pipeline.Terminalf(pipeline.ReasonImageTooLarge, "reading index %s: it has more than %d images that nodes of this cluster can run", registry.Name(ref), maxRunnable)
		}
		return nil
	})
	switch {
	case errors.Is(err, errListed):
		return nil, pipeline.Terminalf(pipeline.ReasonImageTooLarge, "reading index %s: it lists more than %d manifests", registry.Name(ref), maxListed)
	case err != nil && !pipeline.IsTerminal(err):
		return nil, malformed(ref, err)
	case err == nil && len(children) == 0:
		err = pipeline.Terminalf(pipeline.ReasonPlatformMissing, "reading index %s: it has no image that nodes of this cluster can run; they are %v", registry.Name(ref), platforms)
	}
	return children, err
}

// entryOf is an entry of an index, nil if no node can run it.
func entryOf(ref name.Digest, raw json.RawMessage, platforms []pipeline.Platform) (*child, v1.Hash, error) {
	fields, err := members(raw)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	p, err := platformOf(fields["platform"])
	if err != nil || !p.mayRun(platforms) {
		return nil, v1.Hash{}, err
	}
	d, err := descriptor(fields)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if !d.MediaType.IsImage() {
		return nil, v1.Hash{}, fmt.Errorf("it is of type %.100q, and only images are looked into: an index in an index, for example, is not", d.MediaType)
	}
	return &child{ref: ref.Context().Digest(d.Digest.String()), platform: p.String()}, d.Digest, nil
}

func descriptor(fields map[string]json.RawMessage) (v1.Descriptor, error) {
	var d v1.Descriptor
	err := errors.Join(json.Unmarshal(fields["digest"], &d.Digest), json.Unmarshal(fields["mediaType"], &d.MediaType), json.Unmarshal(fields["size"], &d.Size))
	switch {
	case err != nil:
		return d, fmt.Errorf("it is no descriptor: %w", err)
	case d.Digest.Algorithm != "sha256":
		return d, fmt.Errorf("its digest is of %.20q, not of sha256", d.Digest.Algorithm)
	}
	return d, nil
}
