package verify

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// here is what cosign signs for ref, where it is.
func here(s *store, f *forge) *forge {
	return f.with(func(f *forge) {
		f.statement = strings.Replace(string(f.simplePayload()), "registry.example/x", s.repo.Name(), 1)
	})
}

// short are requests without what differs from test to test.
func short(s *store, asked []string) []string {
	out := make([]string, 0, len(asked))
	for _, a := range asked {
		a = strings.NewReplacer("GET /v2/base/x/", "", s.ref.DigestStr(), "D", strings.Replace(s.ref.DigestStr(), ":", "-", 1), "D", "GET /v2/", "ping").Replace(a)
		if dir, digest, ok := strings.Cut(a, "/sha256:"); ok && digest != "" {
			a = dir + "/…"
		}
		out = append(out, a)
	}
	return out
}

// With the other format hanging, each request waits for the one before it: their number is that of round trips. One more
// goes to the other format, at the same time as the first.
func TestRequestsOneAfterTheOther(t *testing.T) {
	w := newWorld()
	tests := map[string]struct {
		way  string
		here bool
		api  bool
		want []string
	}{
		"a signature in a tag":                           {"a signature in a tag", true, true, []string{"manifests/D.sig"}},
		"a signature in a tag, of another name":          {"a signature in a tag", false, true, []string{"manifests/D.sig", "blobs/…"}},
		"a signature in a bundle":                        {"a signature in a bundle", false, true, []string{"referrers/D", "manifests/…", "blobs/…"}},
		"a signature in a bundle, without referrers API": {"a signature in a bundle", false, false, []string{"referrers/D", "manifests/D", "manifests/…", "blobs/…"}},
		"an attestation in a tag":                        {"an attestation in a tag", false, true, []string{"manifests/D.att", "blobs/…"}},
		"an attestation in a bundle":                     {"an attestation in a bundle", false, true, []string{"referrers/D", "manifests/…", "blobs/…"}},
		"an attestation in a tag, without referrers API": {"an attestation in a tag", false, false, []string{"manifests/D.att", "blobs/…"}},
		"a signature in a tag, without referrers API":    {"a signature in a tag", true, false, []string{"manifests/D.sig"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s, way := newStore(t, tt.api), ways[tt.way]
			f := way.forge(w, s.ref.DigestStr())
			if tt.here {
				f = here(s, f)
			}
			way.put(t, s, f)
			_, _ = s.hanging(way.format)
			verify := func() []string {
				return short(s, s.requests(func() {
					if _, err := way.one(t, newVerifier(t, w, limits.Signatures{}), s); err != nil {
						t.Fatal(err)
					}
				}))
			}
			mine := func(asked []string) []string {
				other := "referrers/D"
				if way.format == v1alpha1.FormatBundle {
					other = map[string]string{"": "manifests/D.sig", provenance: "manifests/D.att"}[way.predicate]
				}
				return slices.DeleteFunc(asked, func(a string) bool { return a == other })
			}
			if got := mine(verify()); !slices.Equal(got, tt.want) {
				t.Errorf("got %q", got)
			}
			// A Client that is new asks how to log in, once.
			s.client = newClient(30 * time.Second)
			if got := mine(verify()); !slices.Equal(got, append([]string{"ping"}, tt.want...)) {
				t.Errorf("cold: got %q", got)
			}
		})
	}
}

// Nothing is asked twice, also if there is nothing.
func TestRequestsOfAll(t *testing.T) {
	w := newWorld()
	for desc, tt := range map[string]struct {
		api  bool
		want []string
	}{
		"with referrers API":    {true, []string{"manifests/D.sig", "ping", "referrers/D"}},
		"without referrers API": {false, []string{"manifests/D", "manifests/D.sig", "ping", "referrers/D"}},
	} {
		s := newStore(t, tt.api)
		s.client = newClient(30 * time.Second)
		got := short(s, s.requests(func() {
			_, err := newVerifier(t, w, limits.Signatures{}).Signature(t.Context(), s.client, s.ref)
			if fault(err) != "Terminal "+pipeline.ReasonSignatureMissing {
				t.Error(err)
			}
		}))
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q", desc, got)
		}
	}
}

// What is told without reading is compared with what cosign signs, and is verified as if it had been read.
func TestAPayloadIsTold(t *testing.T) {
	w := newWorld()
	blobs := func(s *store) int {
		return len(slices.DeleteFunc(s.requests(func() {
			_, err := newVerifier(t, w, limits.Signatures{}).Signature(t.Context(), s.client, s.ref)
			if err != nil {
				t.Error(err)
			}
		}), func(a string) bool { return !strings.Contains(a, "/blobs/") }))
	}
	tests := map[string]struct {
		payload func(string) string
		read    int
	}{
		"of cosign":                         {payload: func(p string) string { return p }},
		"of cosign with empty annotations":  {payload: func(p string) string { return strings.Replace(p, "null", "{}", 1) }},
		"of cosign with annotations":        {payload: func(p string) string { return strings.Replace(p, "null", `{"a":"b"}`, 1) }, read: 1},
		"of somebody who puts space around": {payload: func(p string) string { return p + "\n" }, read: 1},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := here(s, newForge(w, s.ref.DigestStr()))
			f.statement = tt.payload(f.statement)
			ways["a signature in a tag"].put(t, s, f)
			if got := blobs(s); got != tt.read {
				t.Errorf("%d blobs were read", got)
			}
		})
	}
}

// A layer that says that it has the payload has it, whatever the registry would answer. One that says so with another size
// is not believed.
func TestALayerThatLies(t *testing.T) {
	w := newWorld()
	s := newStore(t, true)
	f := here(s, newForge(w, s.ref.DigestStr()))
	stolen := f.with(func(f *forge) { f.digest, f.statement = otherDigest, "" }).simple().signatureLayer()
	stolen.Layer = static.NewLayer([]byte(f.statement), "x/y")
	putLayers(s.repo, s.tag(".sig"), stolen)
	_, err := newVerifier(t, w, limits.Signatures{}).Signature(t.Context(), s.client, s.ref)
	if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
		t.Errorf("a signature of something else: %v", err)
	}
	search := &search{ref: s.ref, digest: s.subject.Digest, want: want{simple: true}}
	content := f.simple().signatureLayer().Layer
	layer := v1.Descriptor{Digest: must(content.Digest()), Size: must(content.Size())}
	if _, ok := search.guessed(layer); !ok {
		t.Error("it is not told")
	}
	layer.Size++
	if _, ok := search.guessed(layer); ok {
		t.Error("it is told with another size")
	}
	layer.Size--
	layer.Digest.Hex = strings.Repeat("0", 64)
	if _, ok := search.guessed(layer); ok {
		t.Error("it is told with another digest")
	}
	search.want.simple = false
	layer.Digest = must(content.Digest())
	if _, ok := search.guessed(layer); ok {
		t.Error("it is told of an attestation")
	}
}

// Several Verifiers of one digest share what they ask.
func TestWhatIsAskedOnce(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	other := "https://example.com/other/v1"
	for _, predicate := range []string{pipeline.PredicateSignature, provenance, other} {
		s.push(t, newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = predicate }).attest().bundle(), predicate)
	}
	source := Once(s.client)
	var all sync.WaitGroup
	asked := short(s, s.requests(func() {
		for range 3 {
			v := newVerifier(t, w, limits.Signatures{})
			all.Go(func() {
				if _, err := v.Signature(t.Context(), source, s.ref); err != nil {
					t.Error(err)
				}
			})
			for _, predicate := range []string{provenance, other} {
				all.Go(func() {
					if found, err := v.Attestation(t.Context(), source, s.ref, predicate, nil); err != nil || found.PredicateType != predicate {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
	}))
	counts := map[string]int{}
	for _, a := range asked {
		if !strings.HasPrefix(a, "manifests/D.") { // may be given up by the last who waits, before somebody else asks
			counts[a]++
		}
	}
	if want := map[string]int{"referrers/D": 1, "manifests/…": 3, "blobs/…": 3}; fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("got %v", counts)
	}
}
