package worker

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func gzipped(t *testing.T, content string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestInstallProbe(t *testing.T) {
	probes, to := t.TempDir(), filepath.Join(t.TempDir(), "probe")
	writeFile(t, filepath.Join(probes, "probe-linux-amd64.gz"), gzipped(t, "amd64"))
	writeFile(t, filepath.Join(probes, "probe-linux-arm64.gz"), gzipped(t, "arm64"))
	if err := InstallProbe(probes, arm64, to); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(to)
	if err != nil || string(content) != "arm64" {
		t.Errorf("got %q, %v", content, err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode() != 0o555 {
		t.Errorf("got the mode %v, %v: every user must be able to execute it", info.Mode(), err)
	}
	if err := InstallProbe(probes, amd64, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another file in its place: got %v", err)
	}
}

func TestInstallProbeThatCannotBeRead(t *testing.T) {
	whole := gzipped(t, "a program")
	for desc, tt := range map[string]struct {
		content string
		want    error
	}{
		"not compressed": {"\x7fELF…………", gzip.ErrHeader},
		"damaged":        {whole[:len(whole)-5] + "\xff\xff\xff\xff\xff", gzip.ErrChecksum},
	} {
		t.Run(desc, func(t *testing.T) {
			probes := t.TempDir()
			writeFile(t, filepath.Join(probes, "probe-linux-amd64.gz"), tt.content)
			if err := InstallProbe(probes, amd64, filepath.Join(t.TempDir(), "probe")); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	if err := InstallProbe(t.TempDir(), amd64, filepath.Join(t.TempDir(), "probe")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image without probes: got %v", err)
	}
	probes := t.TempDir()
	writeFile(t, filepath.Join(probes, "probe-linux-amd64.gz"), gzipped(t, string(make([]byte, maxProbe+1))))
	if err := InstallProbe(probes, amd64, filepath.Join(t.TempDir(), "probe")); err == nil {
		t.Error("a probe without end: got no error")
	}
}
