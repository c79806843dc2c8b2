package source

import (
	"context"
	"errors"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// session is a conversation with one server about one repository.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	Close() error
	// allow sets what is asked for next.
	allow(bound)
	// begun tells that the first byte of it is here, after a preface.
	begun()
	// fault turns what went wrong into a Terminal or a Transient.
	fault(url string, err error) error
}

// remote is a repository whose references are known. It has to be closed.
type remote struct {
	session session
	refs    *packp.AdvRefs
	limits  limits.Source
	url     string
}

// connect lists the references of a repository.
func connect(ctx context.Context, config Config, req request) (*remote, error) {
	s, err := openSession(ctx, config, req)
	if err != nil {
		return nil, err
	}
	r := &remote{session: s, limits: config.Limits, url: req.url.String()}
	if r.refs, err = s.AdvertisedReferencesContext(ctx); err != nil {
		err = s.fault(r.url, err)
		r.close()
		return nil, err
	}
	return r, nil
}

// openSession starts a session with the transport of the URL, to list the references.
func openSession(ctx context.Context, config Config, req request) (session, error) {
	if req.url.Scheme == "ssh" {
		return openSSH(ctx, config, req)
	}
	return openHTTP(config, req)
}

// close ends the session. Whatever there was to know is known by then.
func (r *remote) close() { _ = r.session.Close() }

// resolve returns the commit that a ref stands for, and the ref's full name.
func (r *remote) resolve(ref string) (plumbing.Hash, string, error) {
	if commitID.MatchString(ref) {
		return plumbing.NewHash(ref), ref, nil
	}
	if ref == "" || ref == "HEAD" {
		return r.head()
	}
	if strings.HasPrefix(ref, "refs/") {
		if hash, ok := r.commit(ref); ok {
			return hash, ref, nil
		}
		return plumbing.ZeroHash, "", r.noRef(ref)
	}
	return r.short(ref)
}

// head resolves the remote's HEAD.
func (r *remote) head() (plumbing.Hash, string, error) {
	if r.refs.Head == nil {
		return plumbing.ZeroHash, "", pipeline.Terminalf(pipeline.ReasonGitRefNotFound, "spec.source.git.ref is empty and %s has no default branch: name a branch, a tag or a commit", r.url)
	}
	for _, symref := range r.refs.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(symref, "HEAD:"); ok {
			return *r.refs.Head, target, nil
		}
	}
	return *r.refs.Head, "HEAD", nil
}

// short resolves the short name of a branch or tag.
func (r *remote) short(name string) (plumbing.Hash, string, error) {
	branch, tag := "refs/heads/"+name, "refs/tags/"+name
	onBranch, isBranch := r.commit(branch)
	onTag, isTag := r.commit(tag)
	switch {
	case isBranch && isTag && onBranch != onTag:
		return plumbing.ZeroHash, "", pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.ref: %q is a branch (%s) and a tag (%s) of %s: write %s or %s", name, onBranch, onTag, r.url, branch, tag)
	case isTag:
		return onTag, tag, nil
	case isBranch:
		return onBranch, branch, nil
	}
	return plumbing.ZeroHash, "", r.noRef(name)
}

// commit returns what a full name stands for; an annotated tag stands for what it tags.
func (r *remote) commit(name string) (plumbing.Hash, bool) {
	if hash, ok := r.refs.Peeled[name]; ok {
		return hash, true
	}
	hash, ok := r.refs.References[name]
	return hash, ok
}

func (r *remote) noRef(ref string) error {
	return pipeline.Terminalf(pipeline.ReasonGitRefNotFound, "spec.source.git.ref: %s has no branch, tag or reference %q: push it, or name one that exists", r.url, ref)
}

func (r *remote) noCommit(commit string) error {
	return pipeline.Terminalf(pipeline.ReasonGitRefNotFound, "spec.source.git.ref: %s has no commit %s on a branch or tag: push it, or name one that exists", r.url, commit)
}

// fetchCommit gets one commit with its files. A server that serves only the tips of
// references is asked for all branches and tags instead, within the same limits.
func (r *remote) fetchCommit(ctx context.Context, commit, dir string) (*snapshot, error) {
	hash := plumbing.NewHash(commit)
	want, isTip := r.tip(hash)
	switch {
	case r.servesAny():
		want = hash
	case !isTip:
		return r.fetchAll(ctx, hash, dir)
	}
	objects, err := r.fetch(ctx, []plumbing.Hash{want}, 1, dir)
	if err != nil && !isTip && strings.Contains(err.Error(), "not our ref") {
		// The message is git's own for a commit that it does not have; go-git keeps
		// only its text.
		return nil, r.noCommit(commit)
	}
	if err != nil {
		return nil, err
	}
	return r.open(objects, hash)
}

// fetchAll gets the history of all branches and tags.
func (r *remote) fetchAll(ctx context.Context, hash plumbing.Hash, dir string) (*snapshot, error) {
	seen := map[plumbing.Hash]bool{}
	var wants []plumbing.Hash
	for name, tip := range r.refs.References {
		if !seen[tip] && (strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")) {
			seen[tip] = true
			wants = append(wants, tip)
		}
	}
	if len(wants) == 0 {
		return nil, r.noCommit(hash.String())
	}
	objects, err := r.fetch(ctx, wants, 0, dir)
	if err != nil {
		return nil, err
	}
	switch err := objects.HasEncodedObject(hash); {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return nil, r.noCommit(hash.String())
	case err != nil:
		return nil, r.broken(err)
	}
	return r.open(objects, hash)
}

// servesAny says whether the server gives out commits that are not tips.
func (r *remote) servesAny() bool {
	return r.refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) || r.refs.Capabilities.Supports("allow-any-sha1-in-want")
}

// tip returns what to ask for to get a commit that a reference points at: the commit, or else a tag of it. Over SSH,
// git gives out only what it has listed as a reference, and not the commit that a tag stands for.
func (r *remote) tip(hash plumbing.Hash) (plumbing.Hash, bool) {
	if r.refs.Head != nil && *r.refs.Head == hash {
		return hash, true
	}
	for _, tip := range r.refs.References {
		if tip == hash {
			return hash, true
		}
	}
	for name, commit := range r.refs.Peeled {
		if tag, ok := r.refs.References[name]; ok && commit == hash {
			return tag, true
		}
	}
	return plumbing.ZeroHash, false
}
