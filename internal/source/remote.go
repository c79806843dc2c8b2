package source

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxAdvertised bounds a listing of references: 32 MiB are about 400,000 of them.
const maxAdvertised = 32 << 20

// remote is a repository whose references are known. The session is made directly on
// its own HTTP client: go-git's usual entry points take clients from a global.
type remote struct {
	session transport.UploadPackSession
	refs    *packp.AdvRefs
	meter   *meter
	limits  Limits
	url     string
}

// connect lists the references of a repository.
func connect(ctx context.Context, config Config, u *url.URL) (*remote, error) {
	m := &meter{next: config.Transport, left: min(maxAdvertised, config.Limits.Bytes)}
	endpoint, err := transport.NewEndpoint(u.String())
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s is not the address of a repository", u)
	}
	// The endpoint prints its path as it is, so it must hold the escaped form.
	endpoint.Path = u.EscapedPath()
	client := githttp.NewClient(&http.Client{Transport: m, CheckRedirect: checkRedirect})
	session, err := client.NewUploadPackSession(endpoint, nil)
	if err != nil {
		return nil, m.fault(u.String(), err)
	}
	refs, err := session.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, m.fault(u.String(), err)
	}
	m.allow(config.Limits.Bytes)
	return &remote{session: session, refs: refs, meter: m, limits: config.Limits, url: u.String()}, nil
}

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
		return plumbing.ZeroHash, "", pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.ref is empty and %s has no default branch: name a branch, a tag or a commit", r.url)
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
	return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.ref: %s has no branch, tag or reference %q: push it, or name one that exists", r.url, ref)
}

func (r *remote) noCommit(commit string) error {
	return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.ref: %s has no commit %s on a branch or tag: push it, or name one that exists", r.url, commit)
}

// fetchCommit gets one commit with its files. A server that serves only the tips of
// references is asked for all branches and tags instead, within the same limits.
func (r *remote) fetchCommit(ctx context.Context, commit, dir string) (*snapshot, error) {
	hash := plumbing.NewHash(commit)
	if !r.servesAny() && !r.isTip(hash) {
		return r.fetchAll(ctx, hash, dir)
	}
	objects, err := r.fetch(ctx, []plumbing.Hash{hash}, 1, dir)
	if err != nil && !r.isTip(hash) && strings.Contains(err.Error(), "not our ref") {
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

// isTip says whether a reference points at a commit, directly or through a tag.
func (r *remote) isTip(hash plumbing.Hash) bool {
	for _, refs := range []map[string]plumbing.Hash{r.refs.References, r.refs.Peeled} {
		for _, tip := range refs {
			if tip == hash {
				return true
			}
		}
	}
	return r.refs.Head != nil && *r.refs.Head == hash
}
