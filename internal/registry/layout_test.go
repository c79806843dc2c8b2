package registry

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ibshafique/base-images/internal/limits"
)

func TestPullLayout(t *testing.T) {
	c := testClient(t, Config{})
	repo := must(c.Repository(serve(t, inMemory()) + "/x"))
	first, second := must(c.PushImage(t.Context(), repo, randomImage(t))), must(c.PushImage(t.Context(), repo, randomImage(t)))
	dir := filepath.Join(t.TempDir(), "new", "amd64")
	// Another image, then the same one again, as after a failure.
	for _, want := range []string{first.DigestStr(), second.DigestStr(), second.DigestStr()} {
		if err := c.PullLayout(t.Context(), repo.Digest(want), dir); err != nil {
			t.Fatal(err)
		}
		index := must(layout.ImageIndexFromPath(dir))
		m := must(index.IndexManifest())
		if len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != want {
			t.Fatalf("got %+v, want %s alone", m.Manifests, want)
		}
		if err := validate.Image(must(index.Image(m.Manifests[0].Digest))); err != nil && !strings.Contains(err.Error(), "gzip") {
			t.Error(err)
		}
	}
}

func TestPullLayoutFaults(t *testing.T) {
	store := inMemory()
	c := testClient(t, Config{})
	ref := must(c.PushImage(t.Context(), must(c.Repository(serve(t, store)+"/x")), randomImage(t)))
	tests := map[string]struct {
		handler http.Handler
		limits  limits.Registry
		digest  string
		want    string
	}{
		"no such image":                  {handler: store, digest: someDigest, want: "Terminal ImageNotFound"},
		"other bytes":                    {handler: forging(store), want: "Transient DigestMismatch"},
		"an image too large":             {handler: store, limits: limits.Registry{ImageBytes: 10}, want: "Terminal ImageTooLarge"},
		"too many layers":                {handler: store, limits: limits.Registry{Layers: 1}, want: "Terminal ImageTooLarge"},
		"blobs that end in their middle": {handler: truncating(store), want: "Transient RegistryUnavailable"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{Limits: tt.limits})
			repo := must(c.Repository(serve(t, tt.handler) + "/x"))
			digest := ref.DigestStr()
			if tt.digest != "" {
				digest = tt.digest
			}
			dir := filepath.Join(t.TempDir(), "amd64")
			if err := c.PullLayout(t.Context(), repo.Digest(digest), dir); fault(err) != tt.want {
				t.Errorf("got %q (%v), want %q", fault(err), err, tt.want)
			}
			if index, err := layout.ImageIndexFromPath(dir); err == nil && len(must(index.IndexManifest()).Manifests) > 0 {
				t.Error("there is an image in the layout")
			}
		})
	}
}

// truncating ends blobs in their middle.
func truncating(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			whole := httptest.NewRecorder()
			next.ServeHTTP(whole, r)
			w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
			_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func TestPullLayoutSaysOfTheDisk(t *testing.T) {
	c := testClient(t, Config{})
	ref := must(c.PushImage(t.Context(), must(c.Repository(serve(t, inMemory())+"/x")), randomImage(t)))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.PullLayout(t.Context(), ref, filepath.Join(file, "amd64"))
	if _, ok := errors.AsType[*fs.PathError](err); !ok || fault(err) != "plain" {
		t.Errorf("got %v", err)
	}
}
