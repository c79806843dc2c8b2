package registry

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func digests(found []v1.Descriptor) []string {
	var out []string
	for _, d := range found {
		out = append(out, d.Digest.String())
	}
	slices.Sort(out)
	return out
}

func TestReferrersAreFoundEitherWay(t *testing.T) {
	for desc, api := range map[string]bool{"by the API": true, "by the tag": false} {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			repo, subject := pushed(t, c, serve(t, withAPI(api)))
			ref := repo.Digest(subject.Digest.String())
			if found, listed, err := c.Referrers(t.Context(), ref, 10); err != nil || len(found) != 0 || listed != 0 {
				t.Errorf("without any: got %v of %d: %v", found, listed, err)
			}
			var want []string
			for _, content := range []string{"1", "2", "3"} {
				want = append(want, must(c.PushArtifact(t.Context(), repo, report(subject, content))).DigestStr())
			}
			slices.Sort(want)
			found, listed, err := c.Referrers(t.Context(), ref, 10)
			if err != nil || listed != 3 || !slices.Equal(digests(found), want) || found[0].Annotations["a"] != "1" {
				t.Errorf("got %v of %d: %v", found, listed, err)
			}
			if found, listed, err := c.Referrers(t.Context(), ref, 2); err != nil || len(found) != 2 || listed != 3 {
				t.Errorf("at most 2: got %d of %d: %v", len(found), listed, err)
			}
		})
	}
}

// entries are descriptors with the digests from 1 to n.
func entries(from, n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`{"digest":"sha256:%064x","size":1,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`, from+i))
	}
	return strings.Join(out, ",")
}

func list(entries string) string { return `{"schemaVersion":2,"manifests":[` + entries + `]}` }

func TestListsOfReferrers(t *testing.T) {
	index := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = io.WriteString(w, body)
	}
	// leading answers with a page, and where the next one is.
	leading := func(w http.ResponseWriter, to, body string) {
		w.Header().Set("Link", `<`+to+`>; rel="next"`)
		index(w, body)
	}
	// then answers second with rest, and otherwise leads there.
	then := func(to string, second http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "last=1" {
				second(w, r)
				return
			}
			leading(w, to, list(entries(1, 2)))
		}
	}
	page := func(w http.ResponseWriter, _ *http.Request) { index(w, list(entries(3, 1))) }
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	tests := map[string]struct {
		answer http.HandlerFunc
		found  int
		want   string
	}{
		"with a parameter in its type": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json; charset=utf-8")
			_, _ = io.WriteString(w, list(entries(1, 2)))
		}, found: 2},
		"with entries that are none": {answer: func(w http.ResponseWriter, _ *http.Request) {
			index(w, list(`{"digest":"sha256:short"},null,7,{},{"digest":"sha256:`+strings.Repeat("z", 64)+`"},`+entries(1, 1)))
		}, found: 1},
		"with an entry that comes twice": {answer: func(w http.ResponseWriter, _ *http.Request) {
			index(w, list(entries(1, 2)+","+entries(1, 2)))
		}, found: 2},
		"in pages": {answer: func(w http.ResponseWriter, r *http.Request) {
			then(r.URL.Path+"?last=1", page)(w, r)
		}, found: 3},
		"in pages whose address is another's": {answer: then("http://internal.example/elsewhere?last=1", page), found: 3},
		"in pages of which one fails":         {answer: then("?last=1", status(500)), want: "Transient " + pipeline.ReasonRegistryUnavailable},
		"in pages of which one is refused":    {answer: then("?last=1", status(403)), want: "Terminal " + pipeline.ReasonRegistryDenied},
		"in pages of which one is no list": {answer: then("?last=1", func(w http.ResponseWriter, _ *http.Request) {
			index(w, "<html>")
		}), want: "Terminal " + pipeline.ReasonImageInvalid},
		"in pages without an end":     {answer: func(w http.ResponseWriter, _ *http.Request) { leading(w, "?x=y", list("")) }, want: "Terminal " + pipeline.ReasonImageTooLarge},
		"in pages that are too large": {answer: func(w http.ResponseWriter, _ *http.Request) { leading(w, "?x=y", list(entries(1, 1000))) }, want: "Terminal " + pipeline.ReasonImageTooLarge},
		"without an end":              {answer: endless, want: "Terminal " + pipeline.ReasonImageTooLarge},
		"with very many entries": {answer: func(w http.ResponseWriter, _ *http.Request) {
			index(w, list(entries(1, 100_000)))
		}, want: "Terminal " + pipeline.ReasonImageTooLarge},
		"that are none":    {answer: func(w http.ResponseWriter, _ *http.Request) { index(w, `{"manifests":7}`) }, want: "Terminal " + pipeline.ReasonImageInvalid},
		"that are away":    {answer: status(500), want: "Transient " + pipeline.ReasonRegistryUnavailable},
		"behind a login":   {answer: status(401), want: "Terminal " + pipeline.ReasonRegistryUnauthorized},
		"that are unknown": {answer: status(404)},
		"that break off":   {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "Transient " + pipeline.ReasonRegistryUnavailable},
		"that are elsewhere": {answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://pages.example/x", http.StatusSeeOther)
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			host := serve(t, afterPing(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/referrers/") {
					tt.answer(w, r)
					return
				}
				w.WriteHeader(http.StatusNotFound)
			}))
			// One request at a time: no page may wait for another that holds the slot.
			c := testClient(t, Config{Limits: limits.Registry{ManifestBytes: 1 << 20, RequestsPerHost: 1}})
			found, _, err := c.Referrers(t.Context(), must(c.Repository(host+"/x")).Digest(someDigest), 1_000_000)
			if got := fault(err); got != tt.want || len(found) != tt.found {
				t.Errorf("got %d, %s: %v", len(found), got, err)
			}
		})
	}
}

func TestASmallBlobIsReadWhole(t *testing.T) {
	const content = "0123456789"
	tests := map[string]struct {
		change func(*v1.Descriptor)
		limit  int64
		want   string
	}{
		"as it is":                  {limit: 10},
		"over the limit":            {limit: 9, want: "Terminal " + pipeline.ReasonImageTooLarge},
		"longer than it is said":    {change: func(d *v1.Descriptor) { d.Size-- }, limit: 10, want: "Terminal " + pipeline.ReasonReportInvalid},
		"shorter than it is said":   {change: func(d *v1.Descriptor) { d.Size++ }, limit: 99, want: "Terminal " + pipeline.ReasonReportInvalid},
		"without a digest":          {change: func(d *v1.Descriptor) { d.Digest = v1.Hash{} }, limit: 99, want: "Terminal " + pipeline.ReasonImageInvalid},
		"of less than nothing":      {change: func(d *v1.Descriptor) { d.Size = -1 }, limit: 10, want: "Terminal " + pipeline.ReasonImageInvalid},
		"that the registry has not": {change: func(d *v1.Descriptor) { d.Digest.Hex = strings.Repeat("0", 64) }, limit: 10, want: "Terminal " + pipeline.ReasonImageNotFound},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			repo, subject := pushed(t, c, serve(t, withAPI(true)))
			ref := must(c.PushArtifact(t.Context(), repo, report(subject, content)))
			m := must(v1.ParseManifest(strings.NewReader(string(must(c.Manifest(t.Context(), ref)).Raw))))
			desc := m.Layers[0]
			if tt.change != nil {
				tt.change(&desc)
			}
			got, err := c.Blob(t.Context(), repo, desc, tt.limit)
			if fault(err) != tt.want || err == nil && string(got) != content {
				t.Errorf("got %q: %v", got, err)
			}
		})
	}
}

// Many who refer to an image are no reason for nobody to refer to it any more.
func TestAListThatIsTooLongDoesNotStopAPush(t *testing.T) {
	store := withAPI(true)
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.Header().Set("Link", `<?x=y>; rel="next"`)
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = io.WriteString(w, list(entries(1, 1000)))
			return
		}
		store.ServeHTTP(w, r)
	}))
	c := testClient(t, Config{Limits: limits.Registry{RequestsPerHost: 1}})
	repo, subject := pushed(t, c, host)
	if _, err := c.PushArtifact(t.Context(), repo, report(subject, "1")); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Referrers(t.Context(), repo.Digest(subject.Digest.String()), 10); fault(err) != "Terminal "+pipeline.ReasonImageTooLarge {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoReferrerTakesNoRoom(t *testing.T) {
	host := serve(t, afterPing(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = io.WriteString(w, list("null,7,"+entries(1, 1)+","+entries(1, 1)+","+entries(2, 2)))
	}))
	c := testClient(t, Config{})
	found, listed, err := c.Referrers(t.Context(), must(c.Repository(host+"/x")).Digest(someDigest), 2)
	if err != nil || listed != 6 || len(found) != 2 || found[0].Digest == found[1].Digest {
		t.Errorf("got %v of %d: %v", found, listed, err)
	}
}
