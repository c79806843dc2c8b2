package verify

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestWhatIsNotThereIsMissing(t *testing.T) {
	w := newWorld()
	tests := map[string]struct {
		put func(t *testing.T, s *store, f *forge)
	}{
		"nothing": {func(*testing.T, *store, *forge) {}},
		"an attestation of another type": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(""), other.attestationLayer("https://example.com/other/v1"))
			s.push(t, other.bundle(), "")
			s.push(t, other.bundle(), "https://example.com/other/v1")
		}},
		"an attestation of a type that begins the same": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate += ".1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(""))
			s.push(t, other.bundle(), "")
		}},
		"an attestation of another type that says it is of this": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(f.predicate))
			s.push(t, other.bundle(), f.predicate)
		}},
		"an attestation in place of a signature": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			s.push(t, other.bundle(), "")
		}},
		"something that refers to it": {func(t *testing.T, s *store, _ *forge) {
			a := artifact(s.subject, []byte("{}"), "")
			a.Type = "application/vnd.example.report+json"
			must(s.client.PushArtifact(t.Context(), s.repo, a))
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for _, api := range []bool{true, false} {
				for kind, way := range ways {
					s := newStore(t, api)
					tt.put(t, s, way.forge(w, s.ref.DigestStr()))
					v := newVerifier(t, w, limits.Signatures{})
					found, err := way.verify(t.Context(), v, s)
					if got := fault(err); got != way.missing() || len(found) != 0 {
						t.Errorf("%s, API %v: got %d, %s: %v", kind, api, len(found), got, err)
					}
					way.agrees(t, v, s, found, err)
				}
			}
		})
	}
}

// bad are forges of which each is bad in a way of its own.
func bad(w *world, f *forge, n int) []*forge {
	var out []*forge
	for i := range n {
		out = append(out, f.with([]func(*forge){
			func(f *forge) { f.subject = fmt.Sprintf("https://evil.example/%d", i) },
			func(f *forge) { f.statement = strings.Repeat("[", i+1) },
			func(f *forge) { f.ca = newWorld() },
			func(f *forge) { f.digest = fmt.Sprintf("sha256:%064x", i) },
			func(f *forge) { f.sct = false },
		}[i%5]))
	}
	return out
}

func TestTheBadDontHideTheGood(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			for _, api := range []bool{true, false} {
				s := newStore(t, api)
				good := way.forge(w, s.ref.DigestStr())
				forges := append(append(bad(w, good, 10), good, good), bad(w, good, 10)...)
				way.put(t, s, forges...)
				v := newVerifier(t, w, limits.Signatures{})
				found, err := way.verify(t.Context(), v, s)
				if err != nil || len(found) != 2 {
					t.Errorf("API %v: got %d: %v", api, len(found), err)
				}
				way.agrees(t, v, s, found, err)
			}
		})
	}
}

func TestNotMoreThanAFewAreTried(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := way.forge(w, s.ref.DigestStr())
			way.put(t, s, bad(w, f, 9)...)
			var err error
			asked := s.requests(func() {
				_, err = way.verify(t.Context(), newVerifier(t, w, limits.Signatures{Tried: 4}), s)
			})
			if !pipeline.IsTerminal(err) || !strings.Contains(err.Error(), "limits.signatures.tried") || !strings.Contains(err.Error(), "of 9 ") {
				t.Errorf("got %v", err)
			}
			blobs := len(slices.DeleteFunc(asked, func(a string) bool { return !strings.Contains(a, "/blobs/") }))
			if blobs != 4 {
				t.Errorf("%d were read", blobs)
			}
		})
	}
}

func TestTheNewestAreTriedFirst(t *testing.T) {
	w := newWorld()
	one := limits.Signatures{Tried: 1}
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := way.forge(w, s.ref.DigestStr())
			if way.format == v1alpha1.FormatLegacy {
				way.put(t, s, bad(w, f, 1)[0], f)
			} else {
				for at, f := range map[string]*forge{"2026-01-01T00:00:00Z": bad(w, f, 1)[0], "2026-01-01T00:00:01Z": f, "when?": bad(w, f, 1)[0]} {
					a := artifact(s.subject, f.attest().bundle(), f.predicate)
					a.Annotations[createdAnnotation] = at
					must(s.client.PushArtifact(t.Context(), s.repo, a))
				}
			}
			if found, err := way.verify(t.Context(), newVerifier(t, w, one), s); err != nil || len(found) != 1 {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}

func TestNotMoreThanAFewReferrersAreLookedAt(t *testing.T) {
	w, s := newWorld(), newStore(t, false)
	for _, f := range bad(w, newForge(w, s.ref.DigestStr()), 5) {
		s.push(t, f.attest().bundle(), "")
	}
	var err error
	asked := s.requests(func() {
		_, err = newVerifier(t, w, limits.Signatures{Referrers: 3}).Signatures(t.Context(), s.client, s.ref)
	})
	if blobs := len(slices.DeleteFunc(asked, func(a string) bool { return !strings.Contains(a, "/blobs/") })); blobs != 3 {
		t.Errorf("%d were read", blobs)
	}
	if err == nil || !strings.Contains(err.Error(), "limits.signatures.referrers") || !strings.Contains(err.Error(), "of 5 ") {
		t.Errorf("got %v", err)
	}
}

func TestWhatSaysItIsSomethingElseIsNotRead(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	f := newForge(w, s.ref.DigestStr())
	s.push(t, f.attest().bundle(), pipeline.PredicateSignature)
	putLayers(s.repo, s.tag(".sig"), f.simple().signatureLayer())
	for i := range 5 {
		predicate := fmt.Sprintf("https://example.com/%d", i)
		s.push(t, f.with(func(f *forge) { f.predicate = predicate }).attest().bundle(), predicate)
	}
	v := newVerifier(t, w, limits.Signatures{})
	asked := s.requests(func() {
		if found, err := v.Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 2 {
			t.Errorf("got %d: %v", len(found), err)
		}
	})
	// The tag and its layer; the list, the bundle's manifest and the bundle.
	if len(asked) != 5 {
		t.Errorf("asked %d times: %q", len(asked), asked)
	}
}

// unlimited answers with a stream without end.
func unlimited(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func descriptors(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1,"artifactType":%q}`, i, bundleV03))
	}
	return `{"schemaVersion":2,"manifests":[` + strings.Join(out, ",") + `]}`
}

// What one format has is no matter of the other's.
func TestTheGoodIsFoundBesideTheHostile(t *testing.T) {
	w := newWorld()
	tests := map[string]struct {
		way     string
		hostile func(t *testing.T, s *store)
	}{
		"a tag without an end": {"a signature in a bundle", func(_ *testing.T, s *store) { s.answer(".sig", unlimited) }},
		"a tag that is no JSON": {"a signature in a bundle", func(_ *testing.T, s *store) {
			s.answer(".sig", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
		}},
		"a tag that is an index": {"a signature in a bundle", func(_ *testing.T, s *store) {
			s.answer(".sig", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			})
		}},
		"layers without annotations": {"a signature in a bundle", func(_ *testing.T, s *store) {
			putLayers(s.repo, s.tag(".sig"), mutate.Addendum{Layer: static.NewLayer([]byte("{}"), "x/y")})
		}},
		"referrers without an end": {"a signature in a tag", func(_ *testing.T, s *store) { s.answer("/referrers/", unlimited) }},
		"very many referrers": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, descriptors(100_000))
			})
		}},
		"many referrers that are not there": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, descriptors(5000))
			})
		}},
		"referrers of pages without an end": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				w.Header().Set("Link", `<?last=x>; rel="next"`)
				_, _ = io.WriteString(w, descriptors(1))
			})
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			ways[tt.way].put(t, s, newForge(w, s.ref.DigestStr()))
			tt.hostile(t, s)
			v := newVerifier(t, w, limits.Signatures{})
			if found, err := v.Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 1 {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}
