package worker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// dockerImage is for linux/amd64 and has Docker's media types, dates of now and the given number of layers.
func dockerImage(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img := empty.Image
	for range layers {
		layer, err := random.Layer(64, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		add := mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: time.Now()}, CreatedBy: "RUN x"}}
		if img, err = mutate.Append(img, add); err != nil {
			t.Fatal(err)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Created = v1.Time{Time: time.Now()}
	config.Config.Env = []string{"PATH=/bin"}
	config.History = append(config.History, v1.History{Created: v1.Time{Time: time.Now()}, CreatedBy: "ENV x", EmptyLayer: true})
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func writeLayout(t *testing.T, images ...v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		if err := path.AppendImage(img); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// serveRegistry returns host:port of a registry; wrap may stand before it.
func serveRegistry(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	handler := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)))
	if wrap != nil {
		handler = wrap(handler)
	}
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func pushOptions(t *testing.T, host, dir string) PushOptions {
	t.Helper()
	in := mountInput(t, pipeline.WorkerInput{SourceTime: sourceTime.In(time.FixedZone("CET", 3600)), Repository: host + "/base/x"}, nil)
	return PushOptions{Input: in, InputDigest: digestOf(t, in), Layout: dir, Platform: amd64, loopback: true, retrier: impatient}
}

func TestPushNormalises(t *testing.T) {
	for desc, layers := range map[string]int64{"an image with layers": 3, "an image without layers": 0} {
		t.Run(desc, func(t *testing.T) {
			host := serveRegistry(t, nil)
			built := dockerImage(t, layers)
			digest, err := Push(t.Context(), pushOptions(t, host, writeLayout(t, built)))
			if err != nil {
				t.Fatal(err)
			}
			assertNormal(t, pull(t, host, digest), built)
			tags, err := remote.List(repository(t, host))
			if err != nil || len(tags) > 0 {
				t.Errorf("the repository has the tags %v (%v)", tags, err)
			}
		})
	}
}

func repository(t *testing.T, host string) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(host + "/base/x")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func pull(t *testing.T, host, digest string) v1.Image {
	t.Helper()
	img, err := remote.Image(repository(t, host).Digest(digest))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// assertNormal compares an image with what was built: other media types and dates, the same layers.
func assertNormal(t *testing.T, got, built v1.Image) {
	t.Helper()
	manifest, err := got.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	before, err := built.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON || manifest.SchemaVersion != 2 {
		t.Errorf("got a manifest %s, %s, version %d", manifest.MediaType, manifest.Config.MediaType, manifest.SchemaVersion)
	}
	want := []v1.Descriptor{}
	for _, l := range before.Layers {
		want = append(want, v1.Descriptor{MediaType: types.OCILayer, Digest: l.Digest, Size: l.Size})
	}
	if diff := cmp.Diff(want, manifest.Layers); diff != "" {
		t.Errorf("layers: %s", diff)
	}
	assertDated(t, got, built)
}

func assertDated(t *testing.T, got, built v1.Image) {
	t.Helper()
	config, err := got.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want, err := built.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want = want.DeepCopy()
	want.Created = v1.Time{Time: sourceTime}
	for i := range want.History {
		want.History[i].Created = want.Created
	}
	if diff := cmp.Diff(want, config); diff != "" || len(want.History) == 0 {
		t.Errorf("config: %s", diff)
	}
}

func TestPushTwiceGivesTheSameDigest(t *testing.T) {
	host := serveRegistry(t, nil)
	built := dockerImage(t, 2)
	first, err := Push(t.Context(), pushOptions(t, host, writeLayout(t, built)))
	if err != nil {
		t.Fatal(err)
	}
	// The same layers, built at another time.
	config, err := built.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: time.Now().Add(time.Hour)}
	config.History[0].Created = config.Created
	again, err := mutate.ConfigFile(built, config)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Push(t.Context(), pushOptions(t, host, writeLayout(t, again)))
	if err != nil || second != first {
		t.Errorf("got %s, %v, want %s", second, err, first)
	}
	other, err := Push(t.Context(), pushOptions(t, host, writeLayout(t, dockerImage(t, 2))))
	if err != nil || other == first {
		t.Errorf("other layers have the digest %s, %v", other, err)
	}
}

func TestPushUsesTheCredentials(t *testing.T) {
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	o := pushOptions(t, host, writeLayout(t, dockerImage(t, 1)))
	if _, err := Push(t.Context(), o); fault(err) != "Terminal PushDenied" {
		t.Errorf("without credentials: got %v", err)
	}
	o.DockerConfig = filepath.Join(t.TempDir(), "config.json")
	writeFile(t, o.DockerConfig, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:secret"))))
	if _, err := Push(t.Context(), o); err != nil {
		t.Errorf("with credentials: %v", err)
	}
}

func TestPushHidesBadCredentials(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("me:hunter2"))
	for desc, content := range map[string]string{
		"no JSON":                    secret,
		"no auths":                   `["` + secret + `"]`,
		"an entry of another form":   `{"auths":{"registry.example":"` + secret + `"}}`,
		"an entry that is no base64": `{"auths":{"registry.example":{"auth":"` + secret + `!"}}}`,
	} {
		t.Run(desc, func(t *testing.T) {
			o := pushOptions(t, "registry.example", writeLayout(t, dockerImage(t, 1)))
			o.DockerConfig = filepath.Join(t.TempDir(), "config.json")
			writeFile(t, o.DockerConfig, content)
			_, err := Push(t.Context(), o)
			if got := fault(err); got != "Terminal RegistryCredentialsInvalid" {
				t.Fatalf("got %s: %v", got, err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
	t.Run("a file that is missing", func(t *testing.T) {
		o := pushOptions(t, "registry.example", writeLayout(t, dockerImage(t, 1)))
		o.DockerConfig = filepath.Join(t.TempDir(), "config.json")
		if _, err := Push(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPushRefuses(t *testing.T) {
	one := func(t *testing.T) string { return writeLayout(t, dockerImage(t, 1)) }
	tests := map[string]struct {
		layout   func(t *testing.T) string
		platform pipeline.Platform
		want     string
		is       error
	}{
		"an image for another platform": {one, arm64, "Terminal PlatformMismatch", nil},
		"no layout":                     {func(t *testing.T) string { return filepath.Join(t.TempDir(), "layout") }, amd64, "Terminal ImageInvalid", fs.ErrNotExist},
		"an empty directory":            {func(t *testing.T) string { return t.TempDir() }, amd64, "Terminal ImageInvalid", fs.ErrNotExist},
		"a layout without images":       {func(t *testing.T) string { return writeLayout(t) }, amd64, "Terminal ImageInvalid", nil},
		"a layout with two images": {func(t *testing.T) string { return writeLayout(t, dockerImage(t, 1), dockerImage(t, 1)) },
			amd64, "Terminal ImageInvalid", nil},
		"an index that is no JSON": {func(t *testing.T) string {
			dir := one(t)
			writeFile(t, filepath.Join(dir, "index.json"), "{")
			return dir
		}, amd64, "Terminal ImageInvalid", nil},
		"an index that leads out of the layout": {func(t *testing.T) string {
			dir := one(t)
			writeFile(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:../../../etc/passwd"}]}`)
			return dir
		}, amd64, "Terminal ImageInvalid", nil},
		"a blob that is a link": {func(t *testing.T) string {
			dir := one(t)
			link(t, "/etc/passwd", filepath.Join(dir, "blobs/sha256/"+strings.Repeat("a", 64)))
			return dir
		}, amd64, "Terminal ImageInvalid", errNotRegular},
		"a blob that is a link within the layout": {func(t *testing.T) string {
			dir := one(t)
			link(t, "../../index.json", filepath.Join(dir, "blobs/sha256/"+strings.Repeat("a", 64)))
			return dir
		}, amd64, "Terminal ImageInvalid", errNotRegular},
		"a directory that is a link": {func(t *testing.T) string {
			dir := one(t)
			link(t, "/etc", filepath.Join(dir, "blobs/sha512"))
			return dir
		}, amd64, "Terminal ImageInvalid", errNotRegular},
		"an index that is a link": {func(t *testing.T) string {
			dir := one(t)
			index := filepath.Join(dir, "index.json")
			if err := os.Rename(index, filepath.Join(dir, "other")); err != nil {
				t.Fatal(err)
			}
			link(t, "other", index)
			return dir
		}, amd64, "Terminal ImageInvalid", errNotRegular},
		"a pipe, which would never end": {func(t *testing.T) string {
			dir := one(t)
			if err := syscall.Mkfifo(filepath.Join(dir, "blobs/sha256/"+strings.Repeat("a", 64)), 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}, amd64, "Terminal ImageInvalid", errNotRegular},
		"a layout that is a link to elsewhere": {func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), "layout")
			link(t, one(t), dir)
			return dir
		}, amd64, "Terminal ImageInvalid", nil},
		"a layer of an unknown type": {func(t *testing.T) string {
			img, err := mutate.AppendLayers(dockerImage(t, 1), static.NewLayer([]byte("x"), types.DockerForeignLayer))
			if err != nil {
				t.Fatal(err)
			}
			return writeLayout(t, img)
		}, amd64, "Terminal ImageInvalid", nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			host := serveRegistry(t, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the registry was asked for %s", r.URL) })
			})
			o := pushOptions(t, host, tt.layout(t))
			o.Platform = tt.platform
			digest, err := Push(t.Context(), o)
			if got := fault(err); got != tt.want || digest != "" {
				t.Errorf("got %q, %s: %v, want %s", digest, got, err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, which is not %v", err, tt.is)
			}
		})
	}
}

func TestPushOfABrokenRepository(t *testing.T) {
	o := pushOptions(t, "registry.example/UPPER", writeLayout(t, dockerImage(t, 1)))
	if _, err := Push(t.Context(), o); fault(err) != "Terminal OutputInvalid" {
		t.Errorf("got %v", err)
	}
}

func TestPushToThisMachine(t *testing.T) {
	o := pushOptions(t, serveRegistry(t, nil), writeLayout(t, dockerImage(t, 1)))
	o.loopback = false
	if _, err := Push(t.Context(), o); fault(err) != "Terminal RegistryAddressNotAllowed" {
		t.Errorf("got %v", err)
	}
}

func TestLayerTypes(t *testing.T) {
	for from, want := range map[types.MediaType]types.MediaType{
		types.DockerLayer:             types.OCILayer,
		types.OCILayer:                types.OCILayer,
		types.DockerUncompressedLayer: types.OCIUncompressedLayer,
		types.OCIUncompressedLayer:    types.OCIUncompressedLayer,
		types.OCILayerZStd:            types.OCILayerZStd,
	} {
		if got, err := ociLayerType(from); err != nil || got != want {
			t.Errorf("%s became %s (%v), want %s", from, got, err, want)
		}
	}
	for _, from := range []types.MediaType{"", types.DockerForeignLayer, types.OCIRestrictedLayer, types.OCIConfigJSON} {
		if got, err := ociLayerType(from); err == nil {
			t.Errorf("%q became %s", from, got)
		}
	}
}
