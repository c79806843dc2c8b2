// Package inspect looks into the file system of an image without unpacking it.
package inspect

import (
	"context"
	"debug/elf"
	"errors"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// CheckPlatform compares os and architecture of the image config
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties) with p.
// A difference is Terminal with reason PlatformMismatch; errors of reading are classified
// as by registry.Classify.
func CheckPlatform(img v1.Image, p pipeline.Platform) error {
	config, err := img.ConfigFile()
	if err != nil {
		return registry.Classify("reading the config of the image for "+p.String(), err)
	}
	if got := (pipeline.Platform{OS: config.OS, Architecture: config.Architecture}); got != p {
		return pipeline.Terminalf(pipeline.ReasonPlatformMismatch,
			"the image that was built for %s says that it is for %.80q: the builder ignored the platform, or the Dockerfile copied another image", p, got.String())
	}
	return nil
}

// Image checks that an image is for p, and collects what Check judges: its config as in CheckPlatform, and every ELF
// file that its layers show together, with whiteouts and opaque directories applied
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts). linux/amd64
// runs x86-64 and i386, linux/arm64 runs AArch64 and ARM, and BPF is allowed in both.
//
// A foreign file is Terminal with reason WrongArchitecture. A layer that is no
// archive, or one that unpackers would not agree on, is Terminal with reason ImageInvalid, one beyond bounds Terminal
// with reason ImageTooLarge; errors of reading are classified as by registry.Classify. Layers are streamed
// from the top down, each once; memory is bounded by 64 MiB for paths, and some 200 bytes for each entry.
//
// The check is stricter than the file system in one place: of two entries with one path in
// one layer, both count.
func Image(ctx context.Context, img v1.Image, p pipeline.Platform, bounds limits.Registry) (Facts, error) {
	if err := CheckPlatform(img, p); err != nil {
		return Facts{}, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return Facts{}, registry.Classify("reading the config of the image for "+p.String(), err)
	}
	layers, err := img.Layers()
	if err != nil {
		return Facts{}, registry.Classify("reading the layers of the image for "+p.String(), err)
	}
	s := &scan{platform: p, limits: bounds, view: newView(), wanted: map[string]*inode{}, buffer: make([]byte, window)}
	for i, layer := range slices.Backward(layers) {
		if err := s.layer(ctx, layer); err != nil {
			return s.facts, explain(err, i, p)
		}
	}
	accounts := s.name()
	s.facts.configured(config.Config)
	s.facts.shown(s.view, accounts)
	return s.facts, nil
}

// foreignError is an ELF file that the platform cannot run.
type foreignError struct {
	path    string
	machine elf.Machine
	order   elf.Data
}

func (e *foreignError) Error() string { return e.path + " is for another machine" }

// formatError is content that is no layer.
type formatError struct{ err error }

func (e *formatError) Error() string { return e.err.Error() }
func (e *formatError) Unwrap() error { return e.err }

// layoutError is a layer that shows more than is in it, or where nobody can say what it shows.
type layoutError struct{ path, attribute string }

func (e *layoutError) Error() string { return e.path + " can't be placed" }

func explain(err error, layer int, p pipeline.Platform) error {
	if e, ok := errors.AsType[*foreignError](err); ok {
		return pipeline.Terminalf(pipeline.ReasonWrongArchitecture,
			"layer %d of the image for %s has %.200q, which is for %s (%s) and not for %v: "+
				"likely a base image for another platform, or a Dockerfile with FROM --platform, which the builder ignores; "+
				"use the TARGETARCH argument for what is downloaded", layer, p, e.path, e.machine, e.order, native[p.Architecture])
	}
	if e, ok := errors.AsType[*layoutError](err); ok && e.attribute != "" {
		return pipeline.Terminalf(pipeline.ReasonImageInvalid, "layer %d of the image for %s has %.200q with the attribute %s, with which overlayfs shows what other layers removed: "+
			"build the layer without it", layer, p, e.path, e.attribute)
	} else if ok {
		return pipeline.Terminalf(pipeline.ReasonImageInvalid, "layer %d of the image for %s has %.200q below symbolic links that lead in a circle, or through more than %d of them: "+
			"write it to a real directory", layer, p, e.path, maxHops)
	}
	if e, ok := errors.AsType[*formatError](err); ok {
		return pipeline.Terminalf(pipeline.ReasonImageInvalid, "layer %d of the image for %s is not a tar archive: %w", layer, p, e.err)
	}
	return err
}
