package verdict

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func (w *world) tag(t *testing.T, ref name.Digest) name.Tag {
	t.Helper()
	m, err := newClient(t).Manifest(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	tag := ref.Context().Tag("v1")
	if err := newClient(t).Tag(t.Context(), tag, m); err != nil {
		t.Fatal(err)
	}
	return tag
}

func TestATagIsResolvedForAMoment(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	first, second := w.pushed(t, "", nil), w.pushed(t, "", nil)
	tag := w.tag(t, first)
	resolve := func(scope string) (string, int) {
		var got name.Digest
		var err error
		n := len(w.requests(func() { got, err = w.cache.Resolve(t.Context(), Access{Client: w.client, Scope: scope}, tag) }))
		if err != nil {
			t.Fatal(err)
		}
		return got.String(), n
	}
	if got, n := resolve(""); got != first.String() || n != 1 {
		t.Fatal(got, n)
	}
	w.tag(t, second)
	if got, n := resolve(""); got != first.String() || n != 0 {
		t.Fatal("it was not remembered:", got, n)
	}
	if got, n := resolve("other"); got != second.String() || n != 1 {
		t.Fatal("it was remembered for somebody else:", got, n)
	}
	w.later(11 * time.Second)
	if got, n := resolve(""); got != second.String() || n != 1 {
		t.Fatal("it was remembered for too long:", got, n)
	}
}

// What a tag is was read already when its image is verified.
func TestAManifestIsReadOnce(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	ref := w.pushed(t, "65532", nil)
	w.sign(t, ours, ref)
	tag := w.tag(t, ref)
	asked := w.requests(func() {
		got, err := w.cache.Resolve(t.Context(), Access{Client: w.client}, tag)
		if err != nil {
			t.Fatal(err)
		}
		q := w.question(t, got)
		q.Policy.Runtime = &imagepolicy.Runtime{}
		if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
			t.Fatal(v.Findings, err)
		}
	})
	again := "GET /v2/base/x/manifests/" + ref.DigestStr()
	if len(asked) > 4 || slices.Contains(asked, again) {
		t.Errorf("%d requests: %q", len(asked), asked)
	}
	q := w.question(t, ref)
	q.Access.Scope, q.Policy.Hash = "other", "other"
	if asked := w.requests(func() { _, _ = w.cache.Judge(t.Context(), q) }); !slices.Contains(asked, again) {
		t.Errorf("with other credentials, %d requests: %q", len(asked), asked)
	}
}

// A registry that says another digest than what it sends is not believed.
func TestADigestIsComputed(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	ref := w.pushed(t, "", nil)
	tag := w.tag(t, ref)
	lie := "sha256:" + strings.Repeat("a", 64)
	w.on(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/v1") {
			w.Handler.ServeHTTP(lying{rw, lie}, r)
			return true
		}
		return false
	})
	got, err := w.cache.Resolve(t.Context(), Access{Client: w.client}, tag)
	if err == nil && got.DigestStr() != ref.DigestStr() {
		t.Fatalf("it is %s", got)
	}
}

type lying struct {
	http.ResponseWriter
	digest string
}

func (l lying) WriteHeader(status int) {
	l.Header().Set("Docker-Content-Digest", l.digest)
	l.ResponseWriter.WriteHeader(status)
}

func TestTagsThatCantBeResolved(t *testing.T) {
	for status, terminal := range map[int]bool{404: true, 403: true, 401: true, 500: false, 429: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newWorld(t, limits.Admission{})
			tag := w.tag(t, w.pushed(t, "", nil))
			w.refuse("/manifests/v1", status)
			if _, err := w.cache.Resolve(t.Context(), Access{Client: w.client}, tag); err == nil || pipeline.IsTerminal(err) != terminal {
				t.Fatal(err)
			}
			w.on(nil)
			w.later(2 * time.Second)
			if _, err := w.cache.Resolve(t.Context(), Access{Client: w.client}, tag); err != nil {
				t.Fatal("that is remembered:", err)
			}
		})
	}
}
