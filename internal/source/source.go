// Package source turns git, inline and ConfigMap sources into a revision with its
// Dockerfile, and writes the build context of a revision to disk.
//
// Repositories, servers and file names are untrusted: everything that is read is
// bounded, and nothing is written outside the directory that was asked for.
package source

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxDockerfile is the largest Dockerfile that is read, in bytes.
	maxDockerfile = 128 << 10
	// maxCached is how many revisions a Resolver remembers, 8 MiB at most.
	maxCached = 64
	// maxFetches is how many repositories a Resolver reads at the same time: reading
	// one can need a few hundred MiB for a repository of the largest size.
	maxFetches = 2
)

// Git says where a build context is.
type Git struct {
	// URL of the repository: https:// or http://, without credentials.
	URL string
	// Ref is a commit (40 hex digits), a full name (refs/heads/main) or the short name of
	// a branch or tag. Empty: the branch that the server calls HEAD.
	Ref string
	// Path is the context directory inside the repository. Empty: its root.
	Path string
}

// Limits bound what a source may cost. Zero fields have the defaults.
type Limits struct {
	// Bytes is the most that is read from the network, and the largest context.
	// Default 256 MiB.
	Bytes int64
	// Object is the largest single file, in bytes. Default 64 MiB.
	Object int64
	// Files is how many files, links and directories a context may have. Default 20,000.
	Files int
	// Depth is how many directories deep a context may be. Default 64.
	Depth int
	// ConnectTimeout is for the TCP connection and for the TLS handshake. Default 1 minute.
	ConnectTimeout time.Duration
	// Timeout is for everything together. Default 5 minutes.
	Timeout time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Bytes:          cmp.Or(l.Bytes, 256<<20),
		Object:         cmp.Or(l.Object, 64<<20),
		Files:          cmp.Or(l.Files, 20_000),
		Depth:          cmp.Or(l.Depth, 64),
		ConnectTimeout: cmp.Or(l.ConnectTimeout, time.Minute),
		Timeout:        cmp.Or(l.Timeout, 5*time.Minute),
	}
}

// Config is how repositories are reached.
type Config struct {
	// Transport sends the requests. Default: a transport that honours proxy settings and
	// does not connect to loopback, link-local, multicast and unspecified addresses.
	Transport http.RoundTripper
	Limits    Limits
	// TempDir holds what a Resolver fetches until it has read it, at most about twice
	// Limits.Bytes per fetch. Default: os.TempDir().
	TempDir string
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.withDefaults()
	c.TempDir = cmp.Or(c.TempDir, os.TempDir())
	if c.Transport == nil {
		c.Transport = newTransport(c.Limits.ConnectTimeout)
	}
	return c
}

// Resolver finds the revision of git sources. It may be used concurrently.
type Resolver struct {
	config Config
	cache  *lru.Cache[revisionKey, pipeline.Revision]
	slots  chan struct{}
}

// revisionKey names a Dockerfile that cannot change.
type revisionKey struct{ url, commit, path, dockerfile string }

// NewResolver makes a Resolver.
func NewResolver(config Config) *Resolver {
	cache, err := lru.New[revisionKey, pipeline.Revision](maxCached)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Resolver{config: config.withDefaults(), cache: cache, slots: make(chan struct{}, maxFetches)}
}

// ResolveGit finds the commit that git.Ref stands for, its time and the Dockerfile, whose
// path is relative to git.Path; empty means "Dockerfile". A commit that was read before
// costs one listing of references, or nothing if git.Ref is the commit.
//
// Errors are Terminal with reason SourceInvalid, SourceNotFound, SourceDenied,
// SourceTooLarge or DockerfileNotFound, Transient with reason SourceUnavailable, or
// errors of the local disk.
func (r *Resolver) ResolveGit(ctx context.Context, git Git, dockerfile string) (pipeline.Revision, error) {
	req, err := newRequest(git, dockerfile)
	if err != nil {
		return pipeline.Revision{}, err
	}
	if rev, ok := r.cached(req, git.Ref); ok {
		rev.Ref = git.Ref
		return rev, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Limits.Timeout)
	defer cancel()
	remote, err := connect(ctx, r.config, req.url)
	if err != nil {
		return pipeline.Revision{}, err
	}
	commit, ref, err := remote.resolve(git.Ref)
	if err != nil {
		return pipeline.Revision{}, err
	}
	rev, ok := r.cached(req, commit.String())
	if !ok {
		if rev, err = r.read(ctx, remote, req, commit.String()); err != nil {
			return pipeline.Revision{}, err
		}
	}
	rev.Ref = ref
	return rev, nil
}

// cached returns a copy of what is known about a commit.
func (r *Resolver) cached(req request, commit string) (pipeline.Revision, bool) {
	rev, ok := r.cache.Get(req.key(commit))
	rev.Dockerfile = bytes.Clone(rev.Dockerfile)
	return rev, ok
}

// read fetches a commit, reads its Dockerfile and remembers it.
func (r *Resolver) read(ctx context.Context, remote *remote, req request, commit string) (pipeline.Revision, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return pipeline.Revision{}, pipeline.Transientf(pipeline.ReasonSourceUnavailable, "waiting to read %s: %w", req.url, ctx.Err())
	}
	dir, err := os.MkdirTemp(r.config.TempDir, "source-")
	if err != nil {
		return pipeline.Revision{}, fmt.Errorf("making a directory to fetch %s: %w", req.url, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover is bounded and the next restart of the pod removes it
	snapshot, err := remote.fetchCommit(ctx, commit, dir)
	if err != nil {
		return pipeline.Revision{}, err
	}
	content, err := snapshot.dockerfile(req.path, req.dockerfile)
	if err != nil {
		return pipeline.Revision{}, err
	}
	rev := pipeline.Revision{ID: commit, Time: snapshot.time, Dockerfile: content}
	r.cache.Add(req.key(commit), rev)
	rev.Dockerfile = bytes.Clone(content)
	return rev, nil
}
