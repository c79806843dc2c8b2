package registry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Registries may list referrers in pages
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers). go-containerregistry takes the
// first for all of them.

// maxPages of one list are read. Together they may have as many bytes as one manifest.
const maxPages = 64

// pages is a list of referrers of which some were read.
type pages struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Manifests     []json.RawMessage `json:"manifests"`
	bytes, read   int
}

// inPages makes the body of a first page that of the whole list. The others are asked for when it is read: who pushes asks
// for the list too, and does not read it.
func (a *answers) inPages(resp *http.Response) {
	if _, more := nextPage(resp); more && resp.StatusCode == http.StatusOK {
		first := *resp
		resp.Body, resp.ContentLength = &pagedBody{answers: a, first: &first}, -1
	}
}

// pagedBody is a list whose first page was answered.
type pagedBody struct {
	*answers
	first *http.Response
	whole *bytes.Reader
}

func (b *pagedBody) Read(p []byte) (int, error) {
	if b.whole == nil {
		raw, err := b.readAll()
		if err != nil {
			return 0, err
		}
		b.whole = bytes.NewReader(raw)
	}
	return b.whole.Read(p)
}

func (b *pagedBody) Close() error { return b.first.Body.Close() }

func (b *pagedBody) readAll() ([]byte, error) {
	list := pages{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for page := b.first; ; {
		if err := list.add(page, b.limits.ManifestBytes); err != nil {
			return nil, err
		}
		query, more := nextPage(page)
		if !more {
			return json.Marshal(list)
		}
		next, err := b.page(page.Request, query)
		if err != nil {
			return nil, err
		}
		page = next
	}
}

func (l *pages) add(page *http.Response, most limits.Bytes) error {
	raw, err := io.ReadAll(page.Body)
	_ = page.Body.Close() // gives the slot at the host back, which the next page needs
	if err != nil {
		return err
	}
	if l.bytes += len(raw); int64(l.bytes) > int64(most) {
		return &TooLargeError{What: "the list of referrers", Limit: int64(most)}
	}
	if l.read++; l.read > maxPages {
		return &TooLargeError{What: "the number of pages of the list of referrers", Limit: maxPages}
	}
	var more struct{ Manifests []json.RawMessage }
	if err := json.Unmarshal(raw, &more); err != nil {
		return pipeline.Terminalf(pipeline.ReasonImageInvalid, "a page of the list of referrers is not an index: %w", err)
	}
	l.Manifests = append(l.Manifests, more.Manifests...)
	return nil
}

// page asks for the same with another query.
func (a *answers) page(before *http.Request, query string) (*http.Response, error) {
	req := before.Clone(before.Context())
	req.URL.RawQuery = query
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	a.bound(resp, "the answer", a.limits.ManifestBytes)
	if after := a.retryAfter(resp); after > 0 {
		_ = resp.Body.Close()
		return nil, &ThrottledError{Host: req.URL.Host, Status: resp.StatusCode, After: after}
	}
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// nextPage is the query for the page after resp. Of where that page is, only the query counts: the rest is where resp came
// from, whatever a proxy makes of it.
func nextPage(resp *http.Response) (query string, more bool) {
	for _, link := range resp.Header.Values("Link") {
		target, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !ok || !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
			continue
		}
		if u, err := url.Parse(target); err == nil {
			return u.RawQuery, true
		}
	}
	return "", false
}
