package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}

	oci    = "application/vnd.oci.image.manifest.v1+json"
	docker = "application/vnd.docker.distribution.manifest.v2+json"
	forAMD = Image{Platform: amd64, Digest: "sha256:" + strings.Repeat("a", 64), Size: 1234, MediaType: oci}
	forARM = Image{Platform: arm64, Digest: "sha256:" + strings.Repeat("b", 64), Size: 2345, MediaType: docker}
)

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

func TestAssemble(t *testing.T) {
	tests := map[string]struct {
		golden string
		in     Input
	}{
		"everything is set, in whatever order and time zone": {"full.json", Input{
			Images: []Image{forARM, forAMD},
			Annotations: Annotations{
				Created:    time.Date(2025, 3, 1, 2, 3, 4, 5, time.FixedZone("CET", 3600)),
				Revision:   strings.Repeat("c", 40),
				Source:     "https://git.example/images",
				BaseName:   "docker.io/library/alpine:3.23",
				BaseDigest: "sha256:" + strings.Repeat("d", 64),
			},
		}},
		"nothing but one image": {"bare.json", Input{Images: []Image{forAMD}}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			idx, err := Assemble(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := idx.RawManifest()
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, raw, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			golden := filepath.Join("testdata", tt.golden)
			if *update {
				if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), pretty.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAssembleIsDeterministic(t *testing.T) {
	one, err := Assemble(Input{Images: []Image{forAMD, forARM}, Annotations: Annotations{Revision: "1", Source: "2", BaseName: "3", BaseDigest: "4"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		other, err := Assemble(Input{Images: []Image{forARM, forAMD}, Annotations: Annotations{Revision: "1", Source: "2", BaseName: "3", BaseDigest: "4"}})
		if err != nil {
			t.Fatal(err)
		}
		a, _ := one.Digest()
		if b, _ := other.Digest(); a != b {
			t.Fatalf("%s is not %s", a, b)
		}
	}
}

func TestAssembleRefusesWhatIsIncomplete(t *testing.T) {
	with := func(change func(*Image)) []Image {
		i := forAMD
		change(&i)
		return []Image{i}
	}
	for desc, images := range map[string][]Image{
		"no images":            nil,
		"two for one platform": {forAMD, forAMD},
		"no digest":            with(func(i *Image) { i.Digest = "" }),
		"no size":              with(func(i *Image) { i.Size = 0 }),
		"an index among them":  with(func(i *Image) { i.MediaType = "application/vnd.oci.image.index.v1+json" }),
		"no media type":        with(func(i *Image) { i.MediaType = "" }),
	} {
		t.Run(desc, func(t *testing.T) {
			if _, err := Assemble(Input{Images: images}); err == nil {
				t.Error("no error")
			}
		})
	}
}

// setUp serves a registry and counts what is written.
func setUp(t *testing.T) (*registry.Client, name.Repository, *int) {
	t.Helper()
	puts := 0
	store := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			puts++
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	client, err := registry.New(registry.Config{UnsafeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := client.Repository(strings.TrimPrefix(srv.URL, "http://") + "/x")
	if err != nil {
		t.Fatal(err)
	}
	return client, repo, &puts
}

func build(t *testing.T, client *registry.Client, repo name.Repository, p pipeline.Platform) Image {
	t.Helper()
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := client.PushImage(t.Context(), repo, img)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := img.Size()
	return Image{Platform: p, Digest: ref.DigestStr(), Size: size, MediaType: docker}
}

func TestRead(t *testing.T) {
	client, repo, _ := setUp(t)
	built := build(t, client, repo, arm64)
	tests := map[string]struct {
		change func(*Image)
		want   string
	}{
		"what was pushed":                  {func(*Image) {}, ""},
		"size and type that are not known": {func(i *Image) { i.Size, i.MediaType = 0, "" }, ""},
		"another size":                     {func(i *Image) { i.Size++ }, "Terminal DigestMismatch"},
		"another media type":               {func(i *Image) { i.MediaType = oci }, "Terminal DigestMismatch"},
		"another platform":                 {func(i *Image) { i.Platform = amd64 }, "Terminal PlatformMismatch"},
		"a digest that is not there":       {func(i *Image) { i.Digest = forAMD.Digest }, "Terminal ImageNotFound"},
		"a digest that is none":            {func(i *Image) { i.Digest = "latest" }, "Terminal DigestMismatch"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			claim := built
			tt.change(&claim)
			got, img, err := Read(t.Context(), client, repo, claim)
			if fault(err) != tt.want {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if err == nil && (got != built || img == nil) {
				t.Errorf("got %+v, want %+v", got, built)
			}
		})
	}
}

func TestPush(t *testing.T) {
	client, repo, puts := setUp(t)
	idx, err := Assemble(Input{Images: []Image{build(t, client, repo, amd64), build(t, client, repo, arm64)}})
	if err != nil {
		t.Fatal(err)
	}
	*puts = 0
	var ref name.Digest
	for range 2 {
		if ref, err = Push(t.Context(), client, repo, idx); err != nil {
			t.Fatal(err)
		}
	}
	if *puts != 1 {
		t.Errorf("written %d times", *puts)
	}
	want, _ := idx.RawManifest()
	if got, err := client.Manifest(t.Context(), ref); err != nil || !bytes.Equal(got.Raw, want) {
		t.Errorf("got %s, %v", got.Raw, err)
	}
}

func TestPushWithoutTheImages(t *testing.T) {
	client, repo, _ := setUp(t)
	idx, err := Assemble(Input{Images: []Image{forAMD}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Push(t.Context(), client, repo, idx); fault(err) != "Terminal ImageNotFound" {
		t.Errorf("got %v", err)
	}
}
