package dockerfile

import (
	"iter"
	"strconv"
)

// resolve expands the references of the stages that the target needs. A stage needs
// only stages before it, so one pass from the target upwards sees every one.
func (f *File) resolve(env *environment) error {
	f.stages[f.target].needed, f.stages[f.target].final = true, true
	for i := f.target; i >= 0; i-- {
		s := f.stages[i]
		if !s.needed {
			continue
		}
		if err := f.resolveStage(s, env); err != nil {
			return err
		}
	}
	return nil
}

// resolveStage resolves one stage and marks the stages that it needs.
func (f *File) resolveStage(s *stage, env *environment) error {
	if err := f.checkPlatform(s, env); err != nil {
		return err
	}
	for _, r := range s.refs {
		needed, err := f.resolveReference(r, env)
		if err != nil {
			return err
		}
		if needed != nil {
			needed.needed = true
			needed.final = needed.final || r.final()
		}
	}
	return nil
}

// resolveReference sets r.ref and r.external, and returns the stage that r names, if it
// names one.
func (f *File) resolveReference(r *reference, env *environment) (*stage, error) {
	switch r.kind {
	case fromBase:
		return f.resolveBase(r, env)
	case copyFrom:
		return f.resolveCopy(r)
	default:
		return f.resolveMount(r)
	}
}

// resolveBase resolves FROM: a stage before it, scratch or an image.
func (f *File) resolveBase(r *reference, env *environment) (*stage, error) {
	ref, err := env.expand(r.written)
	if err != nil {
		return nil, invalid(r.node.StartLine, "FROM %w", err)
	}
	r.ref = ref
	if s, ok := f.stageBefore(ref, r.stage.index); ok {
		r.ref = s.name
		return s, nil
	}
	r.external = ref != scratch
	return nil, nil
}

// resolveCopy resolves COPY --from: the name or the index of a stage before it, or an
// image. A stage that comes later is refused: BuildKit fails there and Kaniko would
// copy from a stage that it has not built.
func (f *File) resolveCopy(r *reference) (*stage, error) {
	line := r.node.StartLine
	if !plain(r.written) {
		return nil, invalid(line, "COPY --from=%s: variables and quotes are not expanded there: name a stage (FROM image AS x) and copy from it", r.written)
	}
	r.ref = r.written
	if index, err := strconv.Atoi(r.written); err == nil {
		if index < 0 || index >= r.stage.index {
			return nil, invalid(line, "COPY --from=%s: there is no such stage before this one: use an index below %d or a name", r.written, r.stage.index)
		}
		return f.stages[index], nil
	}
	if s, ok := f.stageBefore(r.written, len(f.stages)); ok {
		if s.index >= r.stage.index {
			return nil, invalid(line, "COPY --from=%s: the stage is defined at line %d, which is not before this stage: move it up", r.written, s.line)
		}
		return s, nil
	}
	if r.written == scratch {
		return nil, invalid(line, "COPY --from=%s: the empty image has no files: name a stage or an image", scratch)
	}
	r.external = true
	return nil, nil
}

// resolveMount resolves RUN --mount=...,from=: only stages, since Kaniko cannot mount images.
func (f *File) resolveMount(r *reference) (*stage, error) {
	r.ref = r.written
	s, ok := f.stageBefore(r.written, r.stage.index)
	if !ok {
		return nil, invalid(r.node.StartLine, "RUN --mount with from=%s: no stage before this one has that name %q: name a stage (FROM image AS x) and mount from it", r.written, f.names(r.stage.index))
	}
	return s, nil
}

// checkPlatform refuses a platform that is not the one that is built. Kaniko parses the
// flag and ignores it, so the stage would silently get the target's image. The usual
// --platform=$BUILDPLATFORM passes: the build runs on a node of the target platform, so
// the two are the same.
func (f *File) checkPlatform(s *stage, env *environment) error {
	if s.platform == "" {
		return nil
	}
	platform, err := env.expand(s.platform)
	if err != nil {
		return invalid(s.line, "--platform: %w", err)
	}
	if platform != f.opts.Platform.String() {
		return invalid(s.line, "--platform=%s is %s, but this build is for %s and the builder ignores the flag: remove it and list platforms in spec.platforms", s.platform, platform, f.opts.Platform)
	}
	return nil
}

// external yields the references to images in the stages that the target needs, in
// order of appearance.
func (f *File) external() iter.Seq[*reference] {
	return func(yield func(*reference) bool) {
		for _, s := range f.stages {
			for _, r := range s.refs {
				if r.external && !yield(r) {
					return
				}
			}
		}
	}
}
