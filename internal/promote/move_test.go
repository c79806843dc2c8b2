package promote

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// world is a registry with two images; hook may answer a PUT of a tag instead of it.
type world struct {
	client   *registry.Client
	repo     name.Repository
	old, now string
	moved    []string
	hook     func(w http.ResponseWriter, tag string) bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	store := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		tag := path.Base(r.URL.Path)
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(tag, ":") {
			w.moved = append(w.moved, tag)
			if w.hook != nil && w.hook(rw, tag) {
				return
			}
		}
		store.ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	client, err := registry.New(registry.Config{UnsafeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	w.client = client
	if w.repo, err = client.Repository(strings.TrimPrefix(srv.URL, "http://") + "/x"); err != nil {
		t.Fatal(err)
	}
	w.old, w.now = w.push(t), w.push(t)
	return w
}

func (w *world) push(t *testing.T) string {
	t.Helper()
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := w.client.PushImage(t.Context(), w.repo, img)
	if err != nil {
		t.Fatal(err)
	}
	return ref.DigestStr()
}

func (w *world) at(t *testing.T, tag string) string {
	t.Helper()
	m, err := w.client.Manifest(t.Context(), w.repo.Tag(tag))
	if err != nil {
		return ""
	}
	return m.Digest.String()
}

func fault(err error) string {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return "Terminal " + t.Reason
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return "Transient " + t.Reason
	}
	if err != nil {
		return "plain"
	}
	return ""
}

func TestMove(t *testing.T) {
	w := newWorld(t)
	tags := []string{"3.23", "3", "latest", "3"}
	for _, digest := range []string{w.old, w.now} {
		w.moved = nil
		if err := Move(t.Context(), w.client, w.repo, digest, tags); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"3.23", "3", "latest"}, w.moved); diff != "" {
			t.Error(diff)
		}
		for _, tag := range tags {
			if got := w.at(t, tag); got != digest {
				t.Errorf("%s is at %s", tag, got)
			}
		}
	}
}

func TestMoveLeavesAloneWhatIsThere(t *testing.T) {
	w := newWorld(t)
	if err := Move(t.Context(), w.client, w.repo, w.now, []string{"3"}); err != nil {
		t.Fatal(err)
	}
	w.moved = nil
	if err := Move(t.Context(), w.client, w.repo, w.now, []string{"3", "latest"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"latest"}, w.moved); diff != "" {
		t.Error(diff)
	}
}

func TestMoveRefuses(t *testing.T) {
	absent := "sha256:" + strings.Repeat("a", 64)
	tests := map[string]struct {
		digest string
		tags   []string
		hook   func(w http.ResponseWriter, tag string) bool
		want   string
	}{
		"a digest that is not there":            {digest: absent, tags: []string{"3"}, want: "Terminal ImageNotFound"},
		"a malformed tag, before another moves": {tags: []string{"3", "a b"}, want: "Terminal OutputInvalid"},
		"a tag that is a path":                  {tags: []string{"a/b"}, want: "Terminal OutputInvalid"},
		"a tag that is a digest":                {tags: []string{"3@" + absent}, want: "Terminal OutputInvalid"},
		"a tag of signatures":                   {tags: []string{"3", "sha256-" + absent[7:] + ".sig"}, want: "Terminal OutputInvalid"},
		"a tag of referrers":                    {tags: []string{"sha256-" + absent[7:]}, want: "Terminal OutputInvalid"},
		"an empty tag":                          {tags: []string{""}, want: "Terminal OutputInvalid"},
		"a tag that must not move": {tags: []string{"3"}, want: "Terminal TagImmutable", hook: func(w http.ResponseWriter, _ string) bool {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}`)
			return true
		}},
		"a write that has no effect": {tags: []string{"3"}, want: "Transient DigestMismatch", hook: func(w http.ResponseWriter, _ string) bool {
			w.WriteHeader(http.StatusCreated)
			return true
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newWorld(t)
			if err := Move(t.Context(), w.client, w.repo, w.old, []string{"3"}); err != nil {
				t.Fatal(err)
			}
			w.hook = tt.hook
			digest := tt.digest
			if digest == "" {
				digest = w.now
			}
			err := Move(t.Context(), w.client, w.repo, digest, tt.tags)
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v, want %s", got, err, tt.want)
			}
			if got := w.at(t, "3"); got != w.old {
				t.Errorf("the tag moved to %s", got)
			}
		})
	}
}

func TestMoveCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	tags := []string{"a", "b", "c"}
	w.hook = func(rw http.ResponseWriter, tag string) bool {
		if tag != "b" {
			return false
		}
		rw.Header().Set("Retry-After", "60")
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if err := Move(t.Context(), w.client, w.repo, w.now, tags); fault(err) != "Transient RegistryUnavailable" {
		t.Fatalf("got %v", err)
	}
	if w.at(t, "a") != w.now || w.at(t, "c") != "" {
		t.Error("the order of tags was not kept")
	}
	w.hook, w.moved = nil, nil
	if err := Move(t.Context(), w.client, w.repo, w.now, tags); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "c"}, w.moved); diff != "" {
		t.Error(diff)
	}
}
