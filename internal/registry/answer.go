package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
)

// TooLargeError says that something is larger than a limit.
type TooLargeError struct {
	// What is too large, for example "the manifest".
	What string
	// Limit is in bytes, unless What says otherwise.
	Limit int64
}

func (e *TooLargeError) Error() string { return fmt.Sprintf("%s is larger than %d", e.What, e.Limit) }

// DigestError says that bytes are not those that were asked for.
type DigestError struct{ Want, Got string }

func (e *DigestError) Error() string {
	return fmt.Sprintf("the digest is %s instead of %s", e.Got, e.Want)
}

// answers checks what registries answer before go-containerregistry sees it, whose own
// limit for a manifest is 100 MiB and which has none for other answers.
type answers struct {
	next        http.RoundTripper
	limits      limits.Registry
	credentials *credentials
	listing     *listing
	pings       *pings
	timing
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := a.credentials.mayGo(req); err != nil {
		closeBody(req)
		return nil, err
	}
	for try := 1; ; try++ {
		resp, err := a.once(req)
		if err == nil {
			return resp, nil
		}
		if req, err = a.again(req, err, try); err != nil {
			return nil, err
		}
	}
}

func (a *answers) once(req *http.Request) (*http.Response, error) {
	if !isPing(req) {
		return a.send(req)
	}
	if known, err := a.pings.answer(req, a.now()); known != nil || err != nil {
		return known, err
	}
	resp, err := a.send(req)
	if err == nil {
		a.pings.note(req, resp, a.now())
	}
	return resp, err
}

func (a *answers) send(req *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := a.check(origin(req), resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (a *answers) check(first *http.Request, resp *http.Response) error {
	if after := a.retryAfter(resp); after > 0 {
		return &ThrottledError{Host: first.URL.Host, Status: resp.StatusCode, After: after}
	}
	kind, id := resource(first.URL.Path)
	if kind == "referrers" {
		a.referrers(first, resp)
	}
	switch {
	case kind == "manifests" && resp.StatusCode == http.StatusOK && first.Method == http.MethodHead:
		return sameDigest(id, resp.Header.Get("Docker-Content-Digest"))
	case kind == "manifests" && resp.StatusCode == http.StatusOK:
		return a.readManifest(id, resp)
	case kind == "blobs":
		a.bound(resp, "the blob", a.limits.ImageBytes)
	default:
		a.bound(resp, "the answer", a.limits.ManifestBytes)
	}
	if kind == "referrers" && first.Method == http.MethodGet {
		a.inPages(resp)
	}
	return nil
}

// resource splits /v2/<name>/<kind>/<id>.
func resource(p string) (kind, id string) {
	dir, id := path.Split(p)
	return path.Base(dir), id
}

func (a *answers) readManifest(id string, resp *http.Response) error {
	a.bound(resp, "the manifest", a.limits.ManifestBytes)
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := matches(id, raw); err != nil {
		return err
	}
	if crowded(raw) {
		return &TooLargeError{What: "the number of values in the manifest", Limit: maxValues}
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(raw))
	resp.ContentLength = int64(len(raw))
	return nil
}

// matches compares raw with id, if id is a digest and not a tag.
func matches(id string, raw []byte) error {
	want, err := v1.NewHash(id)
	if err != nil {
		return nil // a tag
	}
	hasher, err := v1.Hasher(want.Algorithm)
	if err != nil {
		return err
	}
	_, _ = hasher.Write(raw)
	return sameDigest(id, fmt.Sprintf("%s:%x", want.Algorithm, hasher.Sum(nil)))
}

// sameDigest compares only what both sides say.
func sameDigest(want, got string) error {
	if !strings.Contains(want, ":") || got == "" || want == got {
		return nil
	}
	return &DigestError{Want: want, Got: got}
}

// bound makes reading the body fail with a TooLargeError beyond limit, and with a *stall.Error if it comes in drops.
func (a *answers) bound(resp *http.Response, what string, limit limits.Bytes) {
	a.steady(resp, what)
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: int64(limit), err: &TooLargeError{What: what, Limit: int64(limit)}}
}

type boundedBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.err
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, b.err
	}
	return n, err
}
