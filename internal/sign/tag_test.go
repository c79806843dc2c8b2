package sign

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
)

// What is logged stays there: it is not done for a tag that can't be written.
func TestTagsThatCanNotBeWritten(t *testing.T) {
	index := func(t *testing.T, b *bench, suffix string) {
		b.Handler = overlay(b.Handler, suffix, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	}
	tests := map[string]struct {
		change func(*testing.T, *bench, string)
		want   string
	}{
		"an index": {index, "Terminal ImageInvalid"},
		"nonsense": {func(_ *testing.T, b *bench, suffix string) { b.Handler = overlay(b.Handler, suffix, `hello`) }, "Terminal ImageInvalid"},
		"too large": {func(_ *testing.T, b *bench, suffix string) {
			b.Handler = overlay(b.Handler, suffix, `{"x":"`+strings.Repeat("x", int(b.client.Limits().ManifestBytes))+`"}`)
		}, "Terminal ImageTooLarge"},
		"full": {func(t *testing.T, b *bench, _ string) {
			b.client = clientOf(t, limits.Registry{Tries: 1, Layers: 2})
			for _, who := range []string{"alice", "bob"} {
				s := b.as(t, who)
				if err := errors.Join(s.Sign(t.Context(), b.client, b.ref), b.attest(t, s, someType, who)); err != nil {
					t.Fatal(err)
				}
			}
		}, "Terminal ImageTooLarge"},
	}
	for desc, tt := range tests {
		for suffix, write := range map[string]func(*bench) error{
			".sig": func(b *bench) error { return b.session(t).Sign(t.Context(), b.client, b.ref) },
			".att": func(b *bench) error { return b.attest(t, b.session(t), someType, "1") },
		} {
			t.Run(desc+" "+suffix, func(t *testing.T) {
				b := newBench(t, true)
				tt.change(t, b, suffix)
				before := b.sigstore.Rekor.Requests()
				if err := write(b); fault(err) != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if b.sigstore.Rekor.Requests() != before {
					t.Error("something was logged")
				}
			})
		}
	}
}

func TestAFullTagHasRoomForWhatTakesThePlaceOfSomething(t *testing.T) {
	b := newBench(t, true)
	b.client = clientOf(t, limits.Registry{Tries: 1, Layers: 2})
	if err := b.attest(t, b.session(t), someType, "1", "2"); err != nil {
		t.Fatal(err)
	}
	if err := b.replace(t, b.session(t), someType, []string{"1", "2"}, "2", "3"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both("2", "3"), sorted(b.attested(t, someType))); diff != "" {
		t.Error(diff)
	}
}

// overlay answers with content what is asked of a path that ends so.
func overlay(next http.Handler, suffix, content string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, suffix) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = w.Write([]byte(content))
	})
}

func TestATagThatAnotherHasOverwritten(t *testing.T) {
	for _, suffix := range []string{".sig", ".att"} {
		for times, want := range map[int]string{1: "", rewriteTries - 1: "", rewriteTries: "Transient RegistryUnavailable"} {
			t.Run(fmt.Sprint(suffix, times), func(t *testing.T) {
				b := newBench(t, true)
				puts := 0
				b.on(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, suffix) {
						return false
					}
					puts++
					if puts <= times { // It is as if it was written, and lost.
						w.WriteHeader(http.StatusCreated)
						return true
					}
					return false
				})
				s := b.session(t)
				err := errors.Join(s.Sign(t.Context(), b.client, b.ref), b.attest(t, s, someType, "1"))
				if got := fault(err); got != want || puts != min(times+1, rewriteTries) {
					t.Errorf("got %v after %d writes", err, puts)
				}
			})
		}
	}
}
