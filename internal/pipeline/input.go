package pipeline

import "time"

// Revision is a source at one point in time, with what the operator needs to judge it.
type Revision struct {
	// ID names the content: a git commit (40 hex digits), or "sha256:<hex>" over
	// the files of an inline or ConfigMap source.
	ID string
	// Ref is what ID was resolved from, for example "refs/heads/main". Empty for a
	// source without refs.
	Ref string
	// Time is when the source was last changed: the commit's committer time, or the
	// creation of the object that holds the files. It stands for SOURCE_DATE_EPOCH
	// (https://reproducible-builds.org/docs/source-date-epoch/).
	Time time.Time
	// Dockerfile is the content of the Dockerfile, unchanged.
	Dockerfile []byte
}

// Upstream is one external image of a Dockerfile, resolved.
type Upstream struct {
	// Ref is the reference as the Dockerfile has it after ARG expansion,
	// for example "alpine:3.23@sha256:…".
	Ref string
	// Name is the fully qualified name with its tag, if it has one, for example
	// "docker.io/library/alpine:3.23".
	Name string
	// Digest is what Ref stands for now, for example "sha256:…".
	Digest string
	// Pull is where the build gets it from, by digest: the mirror, if one is
	// configured and has it, else the image's own registry.
	Pull string
}
