package upstream

import (
	"bytes"
	"context"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// checkPlatforms compares an image with the platforms that need it.
func (r Resolver) checkPlatforms(ctx context.Context, img image, at *location) error {
	if len(img.platforms) == 0 {
		return nil
	}
	if at.manifest.MediaType.IsIndex() {
		return compare(img.name, img.platforms, at.has)
	}
	if len(img.final) == 0 {
		return nil
	}
	return r.checkSingle(ctx, img, at)
}

// platforms lists those of an index, each once, with names cut to a length that no platform has.
func platforms(img image, raw []byte) ([]pipeline.Platform, error) {
	const maxName, maxPlatforms = 40, 256
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading the index %s: %w", img.name, err)
	}
	var has []pipeline.Platform
	for _, m := range index.Manifests {
		if m.Platform == nil || !m.MediaType.IsImage() || m.Platform.OS == "unknown" {
			continue
		}
		p := pipeline.Platform{OS: short(m.Platform.OS, maxName), Architecture: short(m.Platform.Architecture, maxName)}
		if !slices.Contains(has, p) && len(has) < maxPlatforms {
			has = append(has, p)
		}
	}
	return has, nil
}

// short is a copy, which does not keep what it was cut from.
func short(s string, limit int) string {
	return strings.Clone(s[:min(len(s), limit)])
}

func (r Resolver) checkSingle(ctx context.Context, img image, at *location) error {
	opened, err := r.Registry.Image(ctx, at.repo.Digest(at.manifest.Digest.String()))
	if err != nil {
		return err
	}
	config, err := opened.ConfigFile()
	if err != nil {
		return registry.Classify("reading the config of "+img.name, err)
	}
	return compare(img.name, img.final, []pipeline.Platform{{OS: config.OS, Architecture: config.Architecture}})
}

// compare names the first platform that is missing.
func compare(name string, wanted, has []pipeline.Platform) error {
	for _, p := range wanted {
		if slices.Contains(has, p) {
			continue
		}
		return pipeline.Terminalf(pipeline.ReasonUpstreamMissingPlatform,
			"the Dockerfile uses %s, which has no image for %s (it has %s): choose an image that has it, or remove %s from spec.platforms",
			name, p, list(has), p)
	}
	return nil
}

// list is sorted and short, whatever an index holds.
func list(platforms []pipeline.Platform) string {
	const limit, maxName = 16, 40
	names := make([]string, 0, len(platforms))
	for _, p := range platforms {
		name := p.String()
		names = append(names, strings.ToValidUTF8(name[:min(len(name), maxName)], "?"))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > limit:
		return strings.Join(names[:limit], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
