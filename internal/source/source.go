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
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall"
)

const (
	// maxDockerfile is the largest Dockerfile that is read, in bytes.
	maxDockerfile = 128 << 10
	// maxCached is how many revisions a Resolver remembers, 8 MiB at most.
	maxCached = 64
)

// Git says where a build context is.
type Git struct {
	// URL of the repository: https:// or http:// without user, or ssh:// with one. It has no password.
	URL string
	// Ref is a commit (40 hex digits), a full name (refs/heads/main) or the short name of
	// a branch or tag. Empty: the branch that the server calls HEAD.
	Ref string
	// Path is the context directory inside the repository. Empty: its root.
	Path string
	// Credentials are for the server of URL. Nil: read without any, which ssh:// can't.
	Credentials *Credentials
	// Tenant is whose read it is, for a Resolver: at most limits.source.parallel-1, and at least one, of a tenant's reads go
	// on at a time, so that one tenant can't hold them all. Those without a name are one tenant.
	Tenant string
}

// Config is how repositories are reached.
type Config struct {
	// Transport sends HTTP requests. Default: a transport that connects by Dial and honours proxy settings.
	Transport http.RoundTripper
	// Dial connects to SSH servers. Default: a dialer that does not connect to loopback, link-local, multicast and
	// unspecified addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Limits bound what a source may cost. Zero fields have the defaults.
	Limits limits.Source
	// TempDir holds what a Resolver fetches until it has read it, at most about twice
	// Limits.Bytes per fetch. Default: os.TempDir().
	TempDir string

	// clock is that of the machine, but in tests.
	clock stall.Clock
}

func (c Config) withDefaults() Config {
	c.Limits = c.Limits.WithDefaults()
	c.TempDir = cmp.Or(c.TempDir, os.TempDir())
	if c.clock.Now == nil {
		c.clock = stall.RealTime
	}
	if c.Dial == nil {
		c.Dial = newDial(c.Limits.ConnectTimeout.Std())
	}
	if c.Transport == nil {
		c.Transport = newTransport(c.Dial, c.Limits.ConnectTimeout.Std())
	}
	return c
}

// Resolver finds the revision of git sources. It may be used concurrently.
type Resolver struct {
	config Config
	cache  *lru.Cache[revisionKey, pipeline.Revision]
	slots  *slots
}

// revisionKey names a Dockerfile that cannot change, for those who may read it: credentials are part of it.
type revisionKey struct {
	url, commit, path, dockerfile string
	credentials                   [sha256.Size]byte
}

// NewResolver makes a Resolver.
func NewResolver(config Config) *Resolver {
	cache, err := lru.New[revisionKey, pipeline.Revision](maxCached)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	config = config.withDefaults()
	return &Resolver{config: config, cache: cache, slots: newSlots(config.Limits.Parallel)}
}

// ResolveGit finds the commit that git.Ref stands for, its time and the Dockerfile, whose
// path is relative to git.Path; empty means "Dockerfile". A commit that was read before
// costs one listing of references, or nothing if git.Ref is the commit.
//
// What was read with one set of credentials is never given to those who have another.
//
// Errors are Terminal with reason SourceInvalid, SourceSecretInvalid, SourceNotFound, GitRefNotFound, SourceDenied,
// GitHostKeyUnknown, SourceTooLarge, SourcePathEscapes or DockerfileNotFound, Transient with reason
// SourceUnavailable, or errors of the local disk.
func (r *Resolver) ResolveGit(ctx context.Context, git Git, dockerfile string) (_ pipeline.Revision, err error) {
	defer func() { err = git.Credentials.hide(err) }()
	req, err := newRequest(git, dockerfile)
	if err != nil {
		return pipeline.Revision{}, err
	}
	if rev, ok := r.cached(req, git.Ref); ok {
		rev.Ref = git.Ref
		return rev, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Limits.Timeout.Std())
	defer cancel()
	remote, err := connect(ctx, r.config, req)
	if err != nil {
		return pipeline.Revision{}, err
	}
	defer remote.close()
	commit, ref, err := remote.resolve(git.Ref)
	if err != nil {
		return pipeline.Revision{}, err
	}
	rev, ok := r.cached(req, commit.String())
	if !ok {
		if rev, err = r.read(ctx, git.Tenant, remote, req, commit.String()); err != nil {
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
func (r *Resolver) read(ctx context.Context, tenant string, remote *remote, req request, commit string) (pipeline.Revision, error) {
	release, err := r.slots.take(ctx, tenant)
	if err != nil {
		return pipeline.Revision{}, unavailable("waiting to read "+req.url.String(), err)
	}
	defer release()
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
