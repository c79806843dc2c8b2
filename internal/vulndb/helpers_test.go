package vulndb

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const trivyLayer = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"

const metadata = `{"Version":2,"NextUpdate":"2026-11-24T00:00:00Z","UpdatedAt":"2026-11-23T06:07:08.123456789Z","DownloadedAt":"0001-01-01T00:00:00Z"}`

// bolt begins as a file of bbolt does.
var bolt = string(binary.LittleEndian.AppendUint32(make([]byte, 16), 0xED0CDAED)) + "and pages"

const sqlite = "SQLite format 3\x00and pages"

// entry of an archive.
type entry struct {
	name, content string
	kind          byte // default: a regular file
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(e.content))}
		if e.kind != 0 {
			header.Typeflag, header.Size, header.Linkname = e.kind, 0, e.content
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			_, _ = io.WriteString(w, e.content)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func trivyArchive(t *testing.T) []byte {
	t.Helper()
	return gzipped(t, archive(t, entry{name: "trivy.db", content: bolt}, entry{name: "metadata.json", content: metadata}))
}

func grypeArchive(t *testing.T) []byte {
	t.Helper()
	return zstandard(t, archive(t, entry{name: "vulnerability.db", content: sqlite}))
}

// serve returns host:port of a plain HTTP server on loopback.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// files are what an HTTP server has by path.
type files map[string][]byte

func (f files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := f[r.URL.Path]
	if !ok || r.Header.Get("Authorization") != "" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(content)
}

// serveArtifact returns the location of an artifact with layers of a type in a registry.
func serveArtifact(t *testing.T, mediaType string, layers ...[]byte) string {
	t.Helper()
	host := serve(t, inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0))))
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.aquasec.trivy.config.v1+json")
	for _, content := range layers {
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer(content, types.MediaType(mediaType))); err != nil {
			t.Fatal(err)
		}
	}
	put(t, host, img)
	return "oci://" + host + "/databases/db:2"
}

func put(t *testing.T, host string, img v1.Image) {
	t.Helper()
	client := loopback(t, limits.Registry{})
	repo, err := client.Repository(host + "/databases/db")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := client.PushImage(t.Context(), repo, img)
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Manifest(t.Context(), ref)
	if err == nil {
		err = client.Tag(t.Context(), repo.Tag("2"), m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func loopback(t *testing.T, bounds limits.Registry) *registry.Client {
	t.Helper()
	bounds.Tries = 1
	client, err := registry.New(registry.Config{UnsafeLoopback: true, Limits: bounds})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func fetcher(t *testing.T, bounds limits.Limits) *Fetcher {
	t.Helper()
	return New(loopback(t, bounds.Registry), bounds)
}

func fault(err error) string {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		if t.Retryable {
			return "Retryable " + t.Reason
		}
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
