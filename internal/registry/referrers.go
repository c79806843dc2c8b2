package registry

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"path"
	"slices"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Registries list what refers to a manifest in one of two ways
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject): by themselves
// (the referrers API), or in an index that those who push keep under the tag sha256-<digest>. go-containerregistry asks
// for the API with each manifest that it puts, and adds to the tag if there is none. It does not notice when somebody else
// has written the tag in between, and adds nothing to it for a manifest that was there before.

// attachTries are how often the tag is written until it has what it should. Somebody else has to write it at the same
// time for each of them to fail.
const attachTries = 5

var errOverwritten = errors.New("others keep overwriting the list of its referrers")

// attach puts m, which refers to subject, unless it is there, until it is listed.
func (c *Client) attach(ctx context.Context, ref name.Digest, m Manifest, subject name.Digest, there bool) error {
	release, err := c.attaching.take(ctx, Name(subject))
	if err != nil {
		return reading("waiting to write "+Name(ref)).outcome(ctx, err)
	}
	defer release()
	for range attachTries {
		if there {
			if listed, err := c.lists(ctx, subject, m.Digest); listed || err != nil {
				return err
			}
		}
		if err := c.PutManifest(ctx, ref, m); err != nil {
			return err
		}
		there = true
	}
	listed, err := c.lists(ctx, subject, m.Digest)
	if err == nil && !listed {
		err = writing("writing manifest "+Name(ref), ref.Context()).transient(pipeline.ReasonRegistryUnavailable, errOverwritten)
	}
	return err
}

// lists reports whether the registry lists the manifest with digest as a referrer of subject. One that lists by itself is
// taken at its word.
func (c *Client) lists(ctx context.Context, subject name.Digest, digest v1.Hash) (bool, error) {
	if c.listing.by(subject.Context()) {
		return true, nil
	}
	list, err := c.readReferrers(ctx, subject)
	if err != nil || c.listing.by(subject.Context()) {
		return err == nil, err
	}
	return slices.ContainsFunc(list, func(raw json.RawMessage) bool {
		var d struct{ Digest string }
		return json.Unmarshal(raw, &d) == nil && d.Digest == digest.String()
	}), nil
}

// Referrers lists what refers to subject, in no order, by the referrers API or by the tag that stands for it; a subject
// that the registry does not have has none. The first of them are returned, at most most, each digest once, and how many entries
// the list has, which is bounded by Limits.ManifestBytes. What a descriptor says of a manifest is a hint: some registries
// leave out its artifact type, or give that of its config. Those that are no descriptors are left out. Errors are
// classified, see Classify; what is no list is Terminal with reason ImageInvalid.
func (c *Client) Referrers(ctx context.Context, subject name.Digest, most int) (found []v1.Descriptor, listed int, err error) {
	list, err := c.readReferrers(ctx, subject)
	seen := map[v1.Hash]struct{}{}
	for _, raw := range list {
		var d v1.Descriptor
		if json.Unmarshal(raw, &d) != nil || d.Digest.Hex == "" {
			continue
		}
		if _, again := seen[d.Digest]; !again && len(found) < most {
			seen[d.Digest] = struct{}{}
			found = append(found, d)
		}
	}
	return found, len(list), err
}

// readReferrers reads a list whose entries are judged apart: one that is malformed is not the end of the others.
func (c *Client) readReferrers(ctx context.Context, subject name.Digest) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.RequestTimeout.Std())
	defer cancel()
	doing := "reading the referrers of " + Name(subject)
	index, err := pulling(ctx, c, subject.Context(), func(p *remote.Puller) (v1.ImageIndex, error) {
		return remote.Referrers(subject, remote.Reuse(p), remote.WithContext(ctx))
	})
	if err != nil {
		return nil, reading(doing).outcome(ctx, err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		return nil, reading(doing).outcome(ctx, err)
	}
	var list struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: it is not an index: %w", doing, err)
	}
	return list.Manifests, nil
}

// listing remembers which repositories list referrers by themselves.
type listing struct {
	mu           sync.Mutex
	repositories map[string]struct{}
}

func (l *listing) note(repository string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.repositories[repository] = struct{}{}
}

func (l *listing) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.repositories)
}

func (l *listing) by(repo name.Repository) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.repositories[repo.RegistryStr()+"/v2/"+repo.RepositoryStr()]
	return ok
}

// referrers makes of an answer about referrers what the specification has for it: an index, or 404. ghcr.io redirects to
// a page for people, on a host that soon answers 429, and Artifactory answers 406.
func (a *answers) referrers(first *http.Request, resp *http.Response) {
	switch {
	case first.Method != http.MethodGet:
	case resp.StatusCode == http.StatusOK && isOCIIndex(resp.Header.Get("Content-Type")):
		a.listing.note(first.URL.Host + path.Dir(path.Dir(first.URL.Path)))
		// go-containerregistry would take a type with a parameter for another one, and look for the tag.
		resp.Header.Set("Content-Type", string(types.OCIImageIndex))
	case resp.StatusCode == http.StatusOK, leadsAway(resp), meansUnknown(resp.StatusCode):
		_ = resp.Body.Close()
		resp.StatusCode, resp.Status = http.StatusNotFound, "404 Not Found"
		resp.Body, resp.ContentLength = http.NoBody, 0
		resp.Header.Del("Location")
	}
}

func isOCIIndex(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == string(types.OCIImageIndex)
}

func leadsAway(resp *http.Response) bool {
	to, err := resp.Location()
	return err == nil && resp.StatusCode/100 == 3 && to.Host != resp.Request.URL.Host
}

// meansUnknown are refusals of the request, but for those that ask to log in or to come back.
func meansUnknown(status int) bool {
	return status/100 == 4 && status != http.StatusUnauthorized && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}

// locks are one for each name.
type locks struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed when given back
}

// take waits for the lock of name as long as ctx lasts.
func (l *locks) take(ctx context.Context, name string) (release func(), err error) {
	for {
		other, mine := l.try(name)
		if other == nil {
			return func() { l.release(name, mine) }, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (l *locks) try(name string) (other, mine chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other, taken := l.taken[name]; taken {
		return other, nil
	}
	mine = make(chan struct{})
	l.taken[name] = mine
	return nil, mine
}

func (l *locks) release(name string, mine chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.taken, name)
	close(mine)
}
