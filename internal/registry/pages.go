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

// wholeList makes the whole list of its first page.
func (a *answers) wholeList(resp *http.Response) error {
	if _, more := nextPage(resp); !more || resp.StatusCode != http.StatusOK {
		return nil
	}
	list := pages{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for page := resp; ; {
		if err := list.add(page, a); err != nil {
			return err
		}
		query, more := nextPage(page)
		if !more {
			break
		}
		next, err := a.page(page.Request, query)
		if err != nil {
			return err
		}
		page = next
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	resp.Header.Del("Link")
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	return nil
}

func (l *pages) add(page *http.Response, a *answers) error {
	raw, err := io.ReadAll(page.Body)
	_ = page.Body.Close() // gives the slot at the host back, which the next page needs
	if err != nil {
		return err
	}
	if l.bytes += len(raw); int64(l.bytes) > int64(a.limits.ManifestBytes) {
		return &TooLargeError{What: "the list of referrers", Limit: int64(a.limits.ManifestBytes)}
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
