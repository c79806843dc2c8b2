package inspect

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}
)

// entry is one entry of a layer: a file unless link, symlink, dir or flag say otherwise.
type entry struct {
	name, content, link, symlink string
	dir                          bool
	// mode, 0755 without one.
	mode int64
	flag byte
	pax  map[string]string
}

func file(name, content string) entry   { return entry{name: name, content: content} }
func gone(name string) entry            { return entry{name: name} }
func dir(name string) entry             { return entry{name: name, dir: true} }
func link(name, target string) entry    { return entry{name: name, link: target} }
func symlink(name, target string) entry { return entry{name: name, symlink: target} }
func with(mode int64, e entry) entry    { e.mode = mode; return e }
func attributed(name, key, value string) entry {
	return entry{name: name, pax: map[string]string{xattr + key: value}}
}

func (e entry) header() *tar.Header {
	h := &tar.Header{Name: e.name, Mode: cmp.Or(e.mode, 0o755), Size: int64(len(e.content)), Typeflag: cmp.Or(e.flag, tar.TypeReg), PAXRecords: e.pax}
	switch {
	case e.dir:
		h.Typeflag = tar.TypeDir
	case e.link != "":
		h.Typeflag, h.Linkname = tar.TypeLink, e.link
	case e.symlink != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.symlink
	case e.flag == tar.TypeXGlobalHeader:
		h = &tar.Header{Name: e.name, Typeflag: e.flag, PAXRecords: map[string]string{"comment": "x"}}
	}
	return h
}

// program is an ELF header of 64 bytes.
func program(m elf.Machine) string {
	b := make([]byte, 64)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	binary.LittleEndian.PutUint16(b[16:], uint16(elf.ET_EXEC))
	binary.LittleEndian.PutUint16(b[18:], uint16(m))
	return string(b)
}

var (
	x86 = program(elf.EM_X86_64)
	arm = program(elf.EM_AARCH64)
)

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(e.header()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstandard(t testing.TB, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// imageOf makes an image from compressed layers, lowest first.
func imageOf(t testing.TB, p pipeline.Platform, layers ...[]byte) v1.Image {
	t.Helper()
	return configured(t, p, v1.Config{}, layers...)
}

func configured(t testing.TB, p pipeline.Platform, config v1.Config, layers ...[]byte) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if img, err = mutate.AppendLayers(img, static.NewLayer(l, types.OCILayer)); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

var defaults = limits.Registry{ImageBytes: 1 << 30, Entries: 1000, Ratio: 300}

// pushed puts img into a registry and opens it there.
func pushed(t testing.TB, img v1.Image) (opened v1.Image, host string) {
	t.Helper()
	srv := httptest.NewServer(inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	c, err := registry.New(registry.Config{UnsafeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.Repository(strings.TrimPrefix(srv.URL, "http://") + "/x")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := c.PushImage(t.Context(), repo, img)
	if err != nil {
		t.Fatal(err)
	}
	opened, err = c.Image(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return opened, srv.URL
}
