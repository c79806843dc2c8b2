package worker

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}

	sourceTime = time.Date(2025, 3, 1, 2, 3, 4, 0, time.UTC)
)

// mountInput writes a build's input as the kubelet mounts it: every key is a link.
func mountInput(t *testing.T, in pipeline.WorkerInput, keys map[string]string) string {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "..data", pipeline.InputFile), string(raw))
	link(t, "..data/"+pipeline.InputFile, filepath.Join(dir, pipeline.InputFile))
	for key, content := range keys {
		writeFile(t, filepath.Join(dir, "..data", key), content)
		link(t, "..data/"+key, filepath.Join(dir, key))
	}
	return dir
}

// digestOf is what the operator says that an input must be; whatever can't be read has none.
func digestOf(t *testing.T, dir string) string {
	t.Helper()
	keys, err := readKeys(dir)
	if err != nil {
		return ""
	}
	return pipeline.InputDigest(keys)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
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

// authority is a certificate in PEM, of a server that exists no more.
func authority(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}
