package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/limits"
)

const reportType = "application/vnd.example.report+json"

// listing registries have the referrers API.
func withAPI(has bool) http.Handler {
	return inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)), inmemory.WithReferrersSupport(has))
}

// requests notes what is asked of next, without the host.
type requests struct {
	next http.Handler
	mu   sync.Mutex
	seen []string
}

func (r *requests) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, req.Method+" "+req.URL.Path)
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
}

func (r *requests) count(method, part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, one := range r.seen {
		if strings.HasPrefix(one, method+" ") && strings.Contains(one, part) {
			n++
		}
	}
	return n
}

// pushed is an image in a repository, as a subject.
func pushed(t *testing.T, c *Client, host string) (name.Repository, v1.Descriptor) {
	t.Helper()
	repo := must(c.Repository(host + "/x"))
	ref, err := c.PushImage(t.Context(), repo, randomImage(t))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return repo, m.Descriptor
}

func report(subject v1.Descriptor, content string) Artifact {
	return Artifact{Type: reportType, Subject: subject, Annotations: map[string]string{"b": "2", "a": "1"}, Title: "report.json", Content: strings.NewReader(content)}
}

// tagged are the digests in the index under the tag of a subject's referrers, nil without such a tag.
func tagged(t *testing.T, host string, subject v1.Descriptor) []string {
	t.Helper()
	resp, err := http.Get("http://" + host + "/v2/x/manifests/sha256-" + subject.Digest.Hex)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	var index v1.IndexManifest
	if err := json.NewDecoder(resp.Body).Decode(&index); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for _, d := range index.Manifests {
		if d.ArtifactType != reportType || d.Annotations["a"] != "1" {
			t.Errorf("the index describes an artifact as %+v", d)
		}
		digests = append(digests, d.Digest.String())
	}
	slices.Sort(digests)
	return digests
}

func TestPushArtifactMakesAnOCIManifest(t *testing.T) {
	host := serve(t, withAPI(true))
	c := testClient(t, Config{})
	repo, subject := pushed(t, c, host)
	ref, err := c.PushArtifact(t.Context(), repo, report(subject, `{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},`+
		`"layers":[{"mediaType":%q,"size":7,"digest":"sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862","annotations":{"org.opencontainers.image.title":"report.json"}}],`+
		`"annotations":{"a":"1","b":"2"},"subject":{"mediaType":%q,"size":%d,"digest":%q},"artifactType":%q}`,
		reportType, subject.MediaType, subject.Size, subject.Digest, reportType)
	if diff := cmp.Diff(want, string(m.Raw)); diff != "" {
		t.Error(diff)
	}
}

func TestPushArtifactStreamsAFile(t *testing.T) {
	host := serve(t, withAPI(true))
	c := testClient(t, Config{})
	repo, subject := pushed(t, c, host)
	content := strings.Repeat("x", 3<<20)
	path := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	a := report(subject, "")
	a.Content = io.NewSectionReader(f, 0, int64(len(content)))
	ref, err := c.PushArtifact(t.Context(), repo, a)
	if err != nil {
		t.Fatal(err)
	}
	got, raw, err := c.ReadArtifact(t.Context(), ref, ArtifactWant{Type: reportType, Subject: subject.Digest.String(), Limit: int64(len(content))})
	if err != nil || string(raw) != content || got.Content.Size() != int64(len(content)) || got.Title != "report.json" || got.Subject.Digest != subject.Digest {
		t.Errorf("got %+v with %d bytes, %v", got, len(raw), err)
	}
}

func TestReferrersAreListed(t *testing.T) {
	answer := func(status int, header, value string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>")
		}
	}
	tests := map[string]struct {
		api    bool
		answer http.HandlerFunc // to questions about referrers; nil: the registry's own
		tag    bool
	}{
		"by the registry": {api: true},
		"under the tag, if it does not know the question": {tag: true},
		"under the tag, if it leads to a page":            {answer: answer(303, "Location", "https://pages.example/-/v2/packages"), tag: true},
		"under the tag, if it shows a page":               {answer: answer(200, "Content-Type", "text/html"), tag: true},
		"under the tag, if it answers 406":                {answer: answer(406, "Content-Type", "text/html"), tag: true},
		"under the tag, if it answers 403":                {answer: answer(403, "Content-Type", "text/html"), tag: true},
		"under the tag, if it answers 405":                {answer: answer(405, "Content-Type", "text/html"), tag: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			store := withAPI(tt.api)
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.answer != nil && strings.Contains(r.URL.Path, "/referrers/") {
					tt.answer(w, r)
					return
				}
				store.ServeHTTP(w, r)
			}))
			// One request at a time: none may wait for another that holds the slot.
			c := testClient(t, Config{Limits: limits.Registry{RequestsPerHost: 1}})
			repo, subject := pushed(t, c, host)
			var want []string
			for _, content := range []string{"1", "2", "3", "2"} {
				ref, err := c.PushArtifact(t.Context(), repo, report(subject, content))
				if err != nil {
					t.Fatal(err)
				}
				if tt.tag && !slices.Contains(want, ref.DigestStr()) {
					want = append(want, ref.DigestStr())
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, tagged(t, host, subject)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPushArtifactSendsNothingTwice(t *testing.T) {
	for desc, api := range map[string]bool{"with the referrers API": true, "without": false} {
		t.Run(desc, func(t *testing.T) {
			seen := &requests{next: withAPI(api)}
			host := serve(t, seen)
			repo, subject := pushed(t, testClient(t, Config{}), host)
			first, err := testClient(t, Config{}).PushArtifact(t.Context(), repo, report(subject, "1"))
			if err != nil {
				t.Fatal(err)
			}
			sent := func() int { return seen.count("PUT", "/") + seen.count("POST", "/") + seen.count("PATCH", "/") }
			before := sent()
			// Another process, as after a restart.
			second, err := testClient(t, Config{}).PushArtifact(t.Context(), repo, report(subject, "1"))
			if err != nil || first != second || before == 0 {
				t.Errorf("got %s, then %s (%v)", first, second, err)
			}
			if again := sent(); again != before {
				t.Errorf("%d requests sent something, then %d more", before, again-before)
			}
		})
	}
}

// A process may have ended between the artifact and the tag.
func TestAnArtifactThatIsThereIsStillListed(t *testing.T) {
	store, lost := withAPI(false), true
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lost && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		store.ServeHTTP(w, r)
	}))
	c := testClient(t, Config{})
	repo, subject := pushed(t, c, host)
	if _, err := c.PushArtifact(t.Context(), repo, report(subject, "1")); fault(err) != "Terminal PushDenied" {
		t.Fatalf("got %v", err)
	}
	lost = false
	ref, err := c.PushArtifact(t.Context(), repo, report(subject, "1"))
	if diff := cmp.Diff([]string{ref.DigestStr()}, tagged(t, host, subject)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// overwriting replaces what is put under the tag of referrers with another's list, as a slower writer does, so often.
func overwriting(store http.Handler, times int) (handler http.Handler, puts *int) {
	puts = new(int)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/sha256-") {
			if *puts++; *puts <= times {
				raw := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(raw)), int64(len(raw))
			}
		}
		store.ServeHTTP(w, r)
	}), puts
}

func TestATagThatAnotherHasOverwritten(t *testing.T) {
	for times, want := range map[int]string{0: "", 1: "", attachTries - 1: "", attachTries: "Transient RegistryUnavailable"} {
		handler, puts := overwriting(withAPI(false), times)
		host := serve(t, handler)
		c := testClient(t, Config{})
		repo, subject := pushed(t, c, host)
		ref, err := c.PushArtifact(t.Context(), repo, report(subject, "1"))
		listed := slices.Contains(tagged(t, host, subject), ref.DigestStr())
		if fault(err) != want || listed != (want == "") || *puts != min(times+1, attachTries) {
			t.Errorf("overwritten %d times: got %v after %d writes, listed: %t", times, err, *puts, listed)
		}
	}
}

func TestWritersAtTheSameTime(t *testing.T) {
	for desc, api := range map[string]bool{"with the referrers API": true, "without": false} {
		t.Run(desc, func(t *testing.T) {
			host := serve(t, withAPI(api))
			c := testClient(t, Config{})
			repo, subject := pushed(t, c, host)
			const writers = 12
			var refs [writers]name.Digest
			var errs [writers]error
			var wg sync.WaitGroup
			for i := range writers {
				// With the credentials of several users.
				wg.Go(func() {
					refs[i], errs[i] = c.With(nil).PushArtifact(t.Context(), repo, report(subject, fmt.Sprint(i)))
				})
			}
			wg.Wait()
			var want []string
			for i, err := range errs {
				if err != nil {
					t.Error(err)
				}
				want = append(want, refs[i].DigestStr())
			}
			slices.Sort(want)
			if api {
				want = nil
			}
			if diff := cmp.Diff(want, tagged(t, host, subject)); diff != "" {
				t.Error(diff)
			}
			if n := len(c.attaching.taken); n != 0 {
				t.Errorf("%d locks are left over", n)
			}
		})
	}
}

func TestALockIsWaitedForAsLongAsTheContextLasts(t *testing.T) {
	l := &locks{taken: map[string]chan struct{}{}}
	release, err := l.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := l.take(t.Context(), "b"); err != nil {
		t.Errorf("another name: %v", err)
	} else {
		other()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errSlow)
	if _, err := l.take(ctx, "a"); err != errSlow { //nolint:errorlint // The cause itself is returned.
		t.Errorf("got %v", err)
	}
	release()
	if again, err := l.take(ctx, "a"); err != nil {
		t.Errorf("after it was given back: %v", err)
	} else {
		again()
	}
}

func TestPushArtifactFaults(t *testing.T) {
	at := func(method, part string, status int) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == method && strings.Contains(r.URL.Path, part) {
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	tests := map[string]struct {
		wrap func(http.Handler) http.Handler
		want string
	}{
		"may not upload":                      {at("POST", "/blobs/", 403), "Terminal PushDenied"},
		"may not write the manifest":          {at("PUT", "/manifests/", 401), "Terminal PushDenied"},
		"may not look, but write":             {at("HEAD", "/manifests/", 403), ""},
		"an outage when it is looked for":     {at("HEAD", "/manifests/", 503), "Transient RegistryUnavailable"},
		"an outage when it is uploaded":       {at("POST", "/blobs/", 502), "Transient RegistryUnavailable"},
		"an outage when it is asked for them": {at("GET", "/referrers/", 500), "Transient RegistryUnavailable"},
		"a throttle when it is asked":         {at("GET", "/referrers/", 429), "Transient RegistryThrottled"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			store := withAPI(true)
			c := testClient(t, Config{})
			_, subject := pushed(t, c, serve(t, store))
			repo := must(c.Repository(serve(t, tt.wrap(store)) + "/x"))
			if _, err := c.PushArtifact(t.Context(), repo, report(subject, "1")); fault(err) != tt.want {
				t.Errorf("got %q (%v), want %q", fault(err), err, tt.want)
			}
		})
	}
}

// The memory of a client must not outlive what a registry has.
func TestARegistryThatHasLostItsBlobs(t *testing.T) {
	stores := []http.Handler{withAPI(true), withAPI(true)}
	at := 0
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stores[at].ServeHTTP(w, r) }))
	c := testClient(t, Config{})
	for at = range stores {
		repo, subject := pushed(t, c, host)
		ref, err := c.PushArtifact(t.Context(), repo, report(subject, "1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadArtifact(t.Context(), ref, ArtifactWant{Type: reportType, Subject: subject.Digest.String(), Limit: 1}); err != nil {
			t.Error(err)
		}
	}
}

func TestReadArtifactTakesOnlyWhatIsWanted(t *testing.T) {
	c := testClient(t, Config{})
	host := serve(t, withAPI(true))
	repo, subject := pushed(t, c, host)
	good, err := c.PushArtifact(t.Context(), repo, report(subject, "12345"))
	if err != nil {
		t.Fatal(err)
	}
	raw := string(must(c.Manifest(t.Context(), good)).Raw)
	layer := raw[strings.Index(raw, `{"mediaType":"`+reportType) : strings.Index(raw, "}}]")+2]
	want := ArtifactWant{Type: reportType, Subject: subject.Digest.String(), Limit: 5}
	tests := map[string]struct {
		change func(manifest string) string
		want   func(*ArtifactWant)
		fault  string
	}{
		"what is wanted":        {},
		"another type":          {want: func(w *ArtifactWant) { w.Type = "text/html" }, fault: "Terminal ReportInvalid"},
		"about something else":  {want: func(w *ArtifactWant) { w.Subject = someDigest }, fault: "Terminal ReportInvalid"},
		"about nothing":         {change: func(m string) string { return strings.Replace(m, `"subject"`, `"sobject"`, 1) }, fault: "Terminal ReportInvalid"},
		"a byte too much":       {want: func(w *ArtifactWant) { w.Limit = 4 }, fault: "Terminal ReportTooLarge"},
		"two layers":            {change: func(m string) string { return strings.Replace(m, layer, layer+","+layer, 1) }, fault: "Terminal ReportInvalid"},
		"no layer":              {change: func(m string) string { return strings.Replace(m, layer, "", 1) }, fault: "Terminal ReportInvalid"},
		"a layer of other type": {change: func(m string) string { return strings.Replace(m, reportType, "text/html", 1) }, fault: "Terminal ReportInvalid"},
		"less than it says":     {change: func(m string) string { return strings.Replace(m, `"size":5`, `"size":6`, 1) }, want: func(w *ArtifactWant) { w.Limit = 6 }, fault: "Terminal ReportInvalid"},
		"more than it says":     {change: func(m string) string { return strings.Replace(m, `"size":5`, `"size":4`, 1) }, fault: "Terminal ReportInvalid"},
		"a layer without a digest": {change: func(m string) string {
			return strings.Replace(m, `"digest":"`+layer[strings.Index(layer, "sha256:"):][:71]+`",`, "", 1)
		}, fault: "Terminal ReportInvalid"},
		"less than nothing": {change: func(m string) string { return strings.Replace(m, `"size":5`, `"size":-5`, 1) }, fault: "Terminal ReportInvalid"},
		"a layer that is gone": {change: func(m string) string {
			return strings.Replace(m, layer[strings.Index(layer, "sha256:"):][:71], someDigest, 1)
		},
			fault: "Terminal ImageNotFound"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			ref, w := good, want
			if tt.change != nil {
				changed := tt.change(raw)
				if changed == raw {
					t.Fatal("nothing was changed")
				}
				ref = putRaw(t, c, repo, changed)
			}
			if tt.want != nil {
				tt.want(&w)
			}
			a, content, err := c.ReadArtifact(t.Context(), ref, w)
			if fault(err) != tt.fault {
				t.Errorf("got %q (%v), want %q", fault(err), err, tt.fault)
			}
			if ok := tt.fault == ""; ok != (string(content) == "12345") || ok != (a.Annotations["b"] == "2") {
				t.Errorf("got %+v with %q", a, content)
			}
		})
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	if _, _, err := c.ReadArtifact(t.Context(), putRaw(t, c, repo, index), want); fault(err) != "Terminal ReportInvalid" {
		t.Errorf("an index: got %v", err)
	}
	if _, _, err := c.ReadArtifact(t.Context(), repo.Digest(someDigest), want); fault(err) != "Terminal ImageNotFound" {
		t.Errorf("nothing: got %v", err)
	}
}

func putRaw(t *testing.T, c *Client, repo name.Repository, raw string) name.Digest {
	t.Helper()
	digest, size, err := v1.SHA256(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	mediaType := types.OCIManifestSchema1
	if strings.Contains(raw, `"manifests"`) {
		mediaType = types.OCIImageIndex
	}
	ref := repo.Digest(digest.String())
	if err := c.PutManifest(t.Context(), ref, Manifest{Descriptor: v1.Descriptor{Digest: digest, Size: size, MediaType: mediaType}, Raw: []byte(raw)}); err != nil {
		t.Fatal(err)
	}
	return ref
}

// forging serves other bytes of the same length as the content of artifacts.
func forging(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(bytes.Repeat([]byte("9"), 5))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestReadArtifactComparesTheDigest(t *testing.T) {
	store := withAPI(true)
	c := testClient(t, Config{})
	repo, subject := pushed(t, c, serve(t, store))
	ref, err := c.PushArtifact(t.Context(), repo, report(subject, "12345"))
	if err != nil {
		t.Fatal(err)
	}
	forged := must(c.Repository(serve(t, forging(store)) + "/x")).Digest(ref.DigestStr())
	_, content, err := c.ReadArtifact(t.Context(), forged, ArtifactWant{Type: reportType, Subject: subject.Digest.String(), Limit: 5})
	if fault(err) != "Transient DigestMismatch" || content != nil {
		t.Errorf("got %q, %v", content, err)
	}
}
