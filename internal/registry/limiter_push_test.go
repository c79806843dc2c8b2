package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// redirecting sends every download of a layer to another path of the same host.
func redirecting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && r.URL.RawQuery == "" {
			w.Header().Set("Location", r.URL.Path+"?from=storage")
			w.WriteHeader(http.StatusTemporaryRedirect)
			_, _ = io.WriteString(w, "look there")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestOneRequestAtATimeIsEnough(t *testing.T) {
	var asked []string
	var port string
	registry := tokenRegistry(func(string) string { return "https://example.com:" + port + "/token" }, &asked)
	port, ca := serveTLS(t, redirecting(registry))
	cfg := perHost(1)
	cfg.CABundle = ca
	c := testClient(t, cfg)
	resolving(c)
	c = c.With(user("example.com:" + port))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	repo, _ := c.Repository("example.com:" + port + "/x")
	ref, err := c.PushImage(ctx, repo, layered(t, 6))
	if err != nil {
		t.Fatal(err)
	}
	img, err := c.Image(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(img); err != nil {
		t.Fatal(err)
	}
	if len(asked) == 0 {
		t.Error("nobody asked for a token: the test proves too little")
	}
	if n := c.limiter().users(); n != 0 {
		t.Errorf("%d slots are left over", n)
	}
}

func TestCopyingWithinAHostDoesNotWaitForItself(t *testing.T) {
	for limit := 1; limit <= 3; limit++ {
		t.Run(fmt.Sprintf("with a limit of %d", limit), func(t *testing.T) {
			stores := map[bool]http.Handler{true: inMemory(), false: inMemory()}
			var uploads atomic.Int32
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPatch {
					uploads.Add(1)
				}
				stores[strings.HasPrefix(r.URL.Path, "/v2/to/")].ServeHTTP(w, r)
			}))
			c := testClient(t, perHost(limit))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			from, to := must(c.Repository(host+"/from")), must(c.Repository(host+"/to"))
			ref := must(c.PushImage(ctx, from, layered(t, 6)))
			uploads.Store(0)
			img := unmounted{must(c.Image(ctx, ref))}
			if _, err := c.PushImage(ctx, to, img); err != nil {
				t.Fatal(err)
			}
			if uploads.Load() < 6 {
				t.Error("the layers were mounted: the test proves nothing")
			}
			if n := c.limiter().users(); n != 0 {
				t.Errorf("%d slots are left over", n)
			}
		})
	}
}

// unmounted hides where an image comes from, so that its layers are read and not mounted.
type unmounted struct{ v1.Image }

func (u unmounted) Layers() ([]v1.Layer, error) {
	layers, err := u.Image.Layers()
	for i := range layers {
		layers[i] = struct{ v1.Layer }{layers[i]}
	}
	return layers, err
}

func layered(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(300<<10, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// readAll reads every layer.
func readAll(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
