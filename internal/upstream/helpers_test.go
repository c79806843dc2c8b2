package upstream

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}
)

// server is a registry on loopback that counts what it is asked, and may fail.
type server struct {
	host   string
	client *registry.Client

	mu       sync.Mutex
	manifest map[string]int // GET of a manifest by its path
	asked    []string       // every request after the login, by method and path
	fail     int            // a status for every manifest, or 0
}

func newServer(t testing.TB) *server {
	t.Helper()
	store := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)))
	s := &server{manifest: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		fail := s.fail
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			s.manifest[r.URL.Path]++
		}
		if r.URL.Path != "/v2/" {
			s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		}
		s.mu.Unlock()
		if fail != 0 && r.URL.Path != "/v2/" {
			w.Header().Set("Retry-After", "17")
			w.WriteHeader(fail)
			return
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.host = strings.TrimPrefix(srv.URL, "http://")
	s.client = client(t)
	return s
}

func client(t testing.TB, mirrors ...registry.Mirror) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{UnsafeLoopback: true, Mirrors: mirrors, Limits: limits.Registry{RequestTimeout: limits.Duration(10 * time.Second)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testImage(t testing.TB, p pipeline.Platform) v1.Image {
	t.Helper()
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pushIndex pushes an index of platforms and returns its digest.
func (s *server) pushIndex(t testing.TB, repo, tag string, platforms ...pipeline.Platform) string {
	t.Helper()
	r, err := s.client.Repository(s.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	var idx v1.ImageIndex = empty.Index
	for _, p := range platforms {
		img := testImage(t, p)
		if _, err := s.client.PushImage(t.Context(), r, img); err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: p.OS, Architecture: p.Architecture},
		}})
	}
	d, err := s.client.PushIndex(t.Context(), r, idx)
	if err != nil {
		t.Fatal(err)
	}
	s.tag(t, repo, tag, d.DigestStr())
	return d.DigestStr()
}

func (s *server) pushImage(t testing.TB, repo, tag string, p pipeline.Platform) {
	t.Helper()
	r, err := s.client.Repository(s.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.client.PushImage(t.Context(), r, testImage(t, p))
	if err != nil {
		t.Fatal(err)
	}
	s.tag(t, repo, tag, d.DigestStr())
}

func (s *server) tag(t testing.TB, repo, tag, digest string) {
	t.Helper()
	r, err := s.client.Repository(s.host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.client.Manifest(t.Context(), r.Digest(digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.Tag(t.Context(), r.Tag(tag), m); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	clear(s.manifest)
	s.mu.Unlock()
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

// heard returns what was asked since the last call, sorted.
func (s *server) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	slices.Sort(out)
	return out
}
