package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ibshafique/base-images/internal/limits"
)

func TestOneCancelledLoginDoesNotSpeakForOthers(t *testing.T) {
	err := reading("reading").outcome(t.Context(), fmt.Errorf("login: %w", context.Canceled))
	if fault(err) != "Transient RegistryTimeout" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := reading("reading").outcome(ctx, context.Canceled); fault(err) != "plain" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestImageLimits(t *testing.T) {
	tests := map[string]struct {
		limits limits.Registry
		want   string
	}{
		"an image within the limits opens":               {},
		"a manifest over the limit is not read":          {limits: limits.Registry{ManifestBytes: 10}, want: "Terminal ImageTooLarge"},
		"too many layers are refused":                    {limits: limits.Registry{Layers: 1}, want: "Terminal ImageTooLarge"},
		"layers that are too large together are refused": {limits: limits.Registry{ImageBytes: 70}, want: "Terminal ImageTooLarge"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			repo, _ := c.Repository(serve(t, inMemory()) + "/x")
			ref, err := c.PushImage(t.Context(), repo, randomImage(t))
			if err != nil {
				t.Fatal(err)
			}
			limited := testClient(t, Config{Limits: tt.limits})
			_, err = limited.Image(t.Context(), ref)
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}

func TestALargeConfigIsNotRead(t *testing.T) {
	img, err := mutate.Config(randomImage(t), v1.Config{Labels: map[string]string{"large": strings.Repeat("x", 10_000)}})
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Config{})
	repo, _ := c.Repository(serve(t, inMemory()) + "/x")
	ref, err := c.PushImage(t.Context(), repo, img)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testClient(t, Config{Limits: limits.Registry{ManifestBytes: 5000}}).Image(t.Context(), ref); fault(err) != "Terminal ImageTooLarge" {
		t.Errorf("got %v", err)
	}
}

func TestHead(t *testing.T) {
	store := inMemory()
	strip := ""
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || strip == "" {
			store.ServeHTTP(w, r)
			return
		}
		if strip == "lie" && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Docker-Content-Digest", someDigest)
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}
	}))
	c := testClient(t, Config{})
	repo, _ := c.Repository(host + "/x")
	ref, err := c.PushImage(t.Context(), repo, randomImage(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, strip = range []string{"", "headers"} {
		desc, err := c.Head(t.Context(), ref)
		if err != nil || desc.Digest.String() != ref.DigestStr() {
			t.Errorf("strip %q: %v, %v", strip, desc.Digest, err)
		}
	}
	strip = "lie"
	if _, err := c.Head(t.Context(), ref); fault(err) != "Transient DigestMismatch" {
		t.Errorf("got %v", err)
	}
	strip = ""
	if _, err := c.Head(t.Context(), repo.Tag("none")); fault(err) != "Terminal ImageNotFound" {
		t.Errorf("got %v", err)
	}
}

func TestIndexAndImageAreNotConfused(t *testing.T) {
	c := testClient(t, Config{})
	repo, _ := c.Repository(serve(t, inMemory()) + "/x")
	ref, err := c.PushImage(t.Context(), repo, randomImage(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Index(t.Context(), ref); fault(err) != "Terminal ImageInvalid" {
		t.Errorf("got %v", err)
	}
	if err := c.Tag(t.Context(), repo.Tag("1"), must(c.Manifest(t.Context(), ref))); err != nil {
		t.Fatal(err)
	}
	m, err := c.Manifest(t.Context(), name.Reference(repo.Tag("1")))
	if err != nil || m.Digest.String() != ref.DigestStr() {
		t.Errorf("got %v, %v", m.Digest, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
