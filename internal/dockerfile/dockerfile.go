// Package dockerfile reads a Dockerfile the way a build does: it lists the external
// images that the stages of a target need, and pins them to digests without touching
// another byte.
//
// It follows BuildKit where BuildKit and Kaniko agree, and refuses what they read
// differently: what was judged must be what is built.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// MaxSize is the largest Dockerfile that is read, in bytes.
	MaxSize = 128 << 10
	// MaxStages is the largest number of FROM instructions in one Dockerfile.
	MaxStages = 64
	// MaxImages is the largest number of external images of one build.
	MaxImages = 64
	// MaxReference is the longest reference of an external image, in bytes.
	MaxReference = 512
)

// Options are the inputs of a build that decide which images it needs.
type Options struct {
	// BuildArgs override the defaults of ARG instructions before the first FROM.
	// Names that no such ARG declares have no effect on FROM, as in BuildKit.
	BuildArgs map[string]string
	// Target is the name of the stage to build, in any case. Empty: the last stage.
	Target string
	// Platform is what the build is for; required. It is also the build platform,
	// since Kaniko runs on a node of the platform that it builds for.
	Platform pipeline.Platform
}

// Image is an external image that a build needs.
type Image struct {
	// Ref is the reference after ARG expansion, for example "alpine:3.23".
	Ref string
	// Line is where it is first used, from 1.
	Line int
	// Stage is the stage that uses it first: its name, or its index from 0.
	Stage string
	// Final says that the final stage is based on it, directly or through other stages.
	Final bool
}

// File is a parsed Dockerfile, resolved for one target and platform.
type File struct {
	content []byte
	opts    Options
	escape  byte
	stages  []*stage
	target  int
}

// Parse reads a Dockerfile. Every error is a *pipeline.Terminal with reason
// DockerfileInvalid, or DockerfileArgUndefined, that names the line, the value and the fix.
func Parse(content []byte, opts Options) (file *File, err error) {
	// The parser is fed by whoever may create a BaseImage, and it lives in the
	// operator: a panic in it must stay that user's problem.
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, unparsable(p)
		}
	}()
	result, err := parse(content)
	if err != nil {
		return nil, err
	}
	f := &File{content: bytes.Clone(content), opts: opts, escape: byte(result.EscapeToken)}
	if err := f.read(result.AST.Children); err != nil {
		return nil, err
	}
	return f, nil
}

// read turns instructions into stages, then resolves those that the target needs.
func (f *File) read(nodes []*parser.Node) error {
	args, err := f.readStages(nodes)
	if err != nil {
		return err
	}
	if err := f.findTarget(); err != nil {
		return err
	}
	env, err := f.globals(args)
	if err != nil {
		return err
	}
	if err := f.resolve(env); err != nil {
		return err
	}
	return f.bounded()
}

// bounded keeps what has to be resolved, and recorded in a build, within limits.
func (f *File) bounded() error {
	images := f.Images()
	for _, i := range images {
		if len(i.Ref) > MaxReference {
			return invalid(i.Line, "the reference %.60q… has %d bytes, at most %d are allowed", i.Ref, len(i.Ref), MaxReference)
		}
	}
	if len(images) > MaxImages {
		return invalid(images[MaxImages].Line, "the build needs %d external images, at most %d are allowed: split the Dockerfile", len(images), MaxImages)
	}
	return nil
}

// Images lists the external images of the stages that the target needs, each
// reference once, in order of appearance.
func (f *File) Images() []Image {
	var images []Image
	for r := range f.external() {
		at := slices.IndexFunc(images, func(i Image) bool { return i.Ref == r.ref })
		if at < 0 {
			images = append(images, Image{Ref: r.ref, Line: r.node.StartLine, Stage: r.stage.label(), Final: r.final()})
			continue
		}
		images[at].Final = images[at].Final || r.final()
	}
	return images
}

// Base returns the external image that the final stage is based on, directly or
// through other stages, and false if that is scratch.
func (f *File) Base() (string, bool) {
	for r := range f.external() {
		if r.final() {
			return r.ref, true
		}
	}
	return "", false
}

// invalid makes the error that Parse returns for a line: with a reason of its own for an ARG that has no value.
func invalid(line int, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	reason := pipeline.ReasonDockerfileInvalid
	if _, ok := errors.AsType[*undefinedError](err); ok {
		reason = pipeline.ReasonDockerfileArgUndefined
	}
	return pipeline.Terminalf(reason, "Dockerfile line %d: %w", line, err)
}

// syntaxError adds the line that the parser knows but does not print.
func syntaxError(err error) error {
	if located, ok := errors.AsType[*parser.LocationError](err); ok {
		for _, ranges := range located.Locations {
			if len(ranges) > 0 {
				return invalid(max(ranges[0].Start.Line, 1), "%w", err)
			}
		}
	}
	return pipeline.Terminalf(pipeline.ReasonDockerfileInvalid, "the Dockerfile cannot be parsed: %w", err)
}
