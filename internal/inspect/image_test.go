package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
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

func TestImage(t *testing.T) {
	bigEndian := []byte(arm)
	bigEndian[elf.EI_DATA], bigEndian[18], bigEndian[19] = byte(elf.ELFDATA2MSB), 0, byte(elf.EM_AARCH64)
	noClass := []byte(arm)
	noClass[elf.EI_CLASS] = 9
	type layer = []entry
	tests := map[string]struct {
		platform pipeline.Platform
		layers   []layer // lowest first
		foreign  string  // the path that is found, or
		files    int     // how many ELF files show
	}{
		"an image without programs":                  {amd64, []layer{{file("etc/passwd", "root:x:0:0"), file("short", "\x7fELF")}}, "", 0},
		"programs of the platform":                   {amd64, []layer{{file("bin/a", x86)}, {file("bin/b", program(elf.EM_386))}}, "", 2},
		"programs of arm64":                          {arm64, []layer{{file("bin/a", arm), file("bin/b", program(elf.EM_ARM))}}, "", 2},
		"BPF is allowed anywhere":                    {arm64, []layer{{file("lib/a.o", program(elf.EM_BPF))}}, "", 1},
		"a program of another machine":               {arm64, []layer{{file("bin/ok", arm), file("./bin/a", x86)}}, "bin/a", 0},
		"a program of a machine that nobody has":     {amd64, []layer{{file("bin/a", program(elf.EM_RISCV))}}, "bin/a", 0},
		"the right machine in the wrong byte order":  {arm64, []layer{{file("bin/a", string(bigEndian))}}, "bin/a", 0},
		"what only begins like a program":            {amd64, []layer{{file("bin/a", string(noClass))}}, "", 0},
		"in the lowest of three layers":              {arm64, []layer{{file("bin/a", x86)}, {file("b", "b")}, {file("c", "c")}}, "bin/a", 0},
		"replaced in an upper layer":                 {arm64, []layer{{file("bin/a", x86)}, {file("/bin/a", arm)}}, "", 1},
		"removed in an upper layer":                  {arm64, []layer{{file("bin/a", x86)}, {gone("bin/.wh.a")}}, "", 0},
		"removed with its directory":                 {arm64, []layer{{file("opt/x/bin/a", x86)}, {gone(".wh.opt")}}, "", 0},
		"removed under a similar name only":          {arm64, []layer{{file("opt/ab", x86)}, {gone("opt/.wh.a")}}, "opt/ab", 0},
		"hidden by an opaque directory":              {arm64, []layer{{file("opt/x/a", x86)}, {dir("opt/"), gone("opt/.wh..wh..opq"), file("opt/b", arm)}}, "", 1},
		"hidden by an opaque root":                   {arm64, []layer{{file("a", x86)}, {gone(".wh..wh..opq")}}, "", 0},
		"beside an opaque directory":                 {arm64, []layer{{file("optional/a", x86)}, {gone("opt/.wh..wh..opq")}}, "optional/a", 0},
		"in the layer of the opaque marker itself":   {arm64, []layer{{file("opt/a", x86), gone("opt/.wh..wh..opq")}}, "opt/a", 0},
		"in the layer of the whiteout itself":        {arm64, []layer{{gone("bin/.wh.a"), file("bin/a", x86)}, {file("c", "c")}}, "bin/a", 0},
		"added again above its removal":              {arm64, []layer{{file("bin/a", arm)}, {gone("bin/.wh.a")}, {file("bin/a", x86)}}, "bin/a", 0},
		"below a directory that became a file":       {arm64, []layer{{file("opt/a", x86)}, {file("opt", "x")}}, "", 0},
		"below a directory that was touched":         {arm64, []layer{{file("opt/a", x86)}, {dir("opt/")}}, "opt/a", 0},
		"shown by a hard link in its layer":          {arm64, []layer{{file("a", x86), link("b", "a")}, {gone(".wh.a")}}, "a", 0},
		"shown by a hard link from above":            {arm64, []layer{{file("a", x86)}, {link("b", "/a"), gone(".wh.a")}}, "a", 0},
		"a program shown by a hard link counts once": {amd64, []layer{{file("a", x86), link("b", "a"), link("c", "a")}, {gone(".wh.a")}}, "", 1},
		"removed with its hard link":                 {arm64, []layer{{file("a", x86), link("b", "a")}, {gone(".wh.a"), gone(".wh.b")}}, "", 0},
		"a whiteout of the root hides nothing":       {arm64, []layer{{file("bin/a", x86)}, {gone(".wh..")}}, "bin/a", 0},
		"nor does one of the directory above":        {arm64, []layer{{file("bin/a", x86)}, {gone("bin/.wh...")}}, "bin/a", 0},
		"nor does one of nothing":                    {arm64, []layer{{file("bin/a", x86)}, {gone("bin/.wh.")}}, "bin/a", 0},
		"a file in place of the root hides nothing":  {arm64, []layer{{file("bin/a", x86)}, {file(".", "x")}}, "bin/a", 0},
		"a link in place of the root hides nothing":  {arm64, []layer{{file("bin/a", x86)}, {symlink("/", "x")}}, "bin/a", 0},
		"a global header hides nothing":              {arm64, []layer{{file("bin/a", x86)}, {{name: "bin/a", flag: tar.TypeXGlobalHeader}}}, "bin/a", 0},
		"a whiteout through a symbolic link of its layer is where that points": {arm64,
			[]layer{{file("z/a", x86), file("y/a", arm)}, {symlink("x", "z"), gone("x/.wh.a")}}, "", 1},
		"written through a symbolic link that was removed later": {arm64,
			[]layer{{symlink("x", "z"), file("x/a", x86)}, {gone(".wh.x")}}, "z/a", 0},
		"a hard link to a file that its own layer replaced": {arm64, []layer{{file("a", x86)}, {file("a", arm), link("b", "a")}}, "", 1},
		"a hard link to a hard link two layers below":       {arm64, []layer{{file("a", x86), link("b", "a")}, {file("c", "c")}, {link("d", "b"), gone(".wh.a"), gone(".wh.b")}}, "a", 0},
		"a hard link to what was removed in between":        {arm64, []layer{{file("a", x86)}, {gone(".wh.a")}, {link("b", "a")}}, "", 0},
		"a path that climbs out of the root":                {arm64, []layer{{file("../../bin/a", x86)}, {gone("bin/.wh.a")}}, "", 0},
	}
	for desc, tt := range tests {
		for how, compress := range map[string]func(testing.TB, []byte) []byte{
			"gzip": gzipped, "zstd": zstandard, "plain": func(_ testing.TB, b []byte) []byte { return b },
		} {
			t.Run(desc+" "+how, func(t *testing.T) {
				var layers [][]byte
				for _, l := range tt.layers {
					layers = append(layers, compress(t, archive(t, l...)))
				}
				facts, err := Image(t.Context(), imageOf(t, tt.platform, layers...), tt.platform, defaults)
				if tt.foreign == "" {
					if err != nil || facts.ELFFiles != tt.files {
						t.Errorf("%d files, %v", facts.ELFFiles, err)
					}
					return
				}
				if fault(err) != "Terminal WrongArchitecture" || !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.foreign)) {
					t.Errorf("got %v, want %s", err, tt.foreign)
				}
			})
		}
	}
}

func TestWrongArchitectureSaysWhatToDo(t *testing.T) {
	_, err := Image(t.Context(), imageOf(t, arm64, gzipped(t, archive(t, file("bin/a", x86)))), arm64, defaults)
	for _, part := range []string{"linux/arm64", "bin/a", "EM_X86_64", "EM_AARCH64", "FROM --platform", "TARGETARCH"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestCheckPlatform(t *testing.T) {
	if err := CheckPlatform(imageOf(t, amd64), amd64); err != nil {
		t.Error(err)
	}
	if err := CheckPlatform(imageOf(t, amd64), arm64); fault(err) != "Terminal PlatformMismatch" {
		t.Errorf("got %v", err)
	}
	if _, err := Image(t.Context(), imageOf(t, amd64), arm64, defaults); fault(err) != "Terminal PlatformMismatch" {
		t.Errorf("got %v", err)
	}
}

func TestHostileLayers(t *testing.T) {
	zeros := make([]byte, ratioFrom+1<<20)
	bomb := archive(t, file("a", string(zeros)))
	gzipBomb := gzipped(t, bomb)
	many := make([]entry, 40)
	for i := range many {
		many[i] = file(fmt.Sprint(i), "x")
	}
	tests := map[string]struct {
		layer  []byte
		limits limits.Registry
		want   string
	}{
		"a gzip bomb is cut off by its size":              {gzipBomb, limits.Registry{ImageBytes: 1 << 20, Entries: 9, Ratio: 1 << 40}, "Terminal ImageTooLarge"},
		"a gzip bomb is cut off by its ratio":             {gzipBomb, limits.Registry{ImageBytes: 1 << 40, Entries: 9, Ratio: 300}, "Terminal ImageTooLarge"},
		"a zstd bomb is cut off by its ratio":             {zstandard(t, bomb), limits.Registry{ImageBytes: 1 << 40, Entries: 9, Ratio: 300}, "Terminal ImageTooLarge"},
		"a bomb behind the archive is no way out":         {gzipped(t, append(archive(t), zeros[:2<<20]...)), limits.Registry{ImageBytes: 1 << 20, Entries: 9, Ratio: 1 << 40}, ""},
		"too many entries are refused":                    {gzipped(t, archive(t, many...)), limits.Registry{ImageBytes: 1 << 30, Entries: 39, Ratio: 300}, "Terminal ImageTooLarge"},
		"symbolic links in a circle are no way to a file": {gzipped(t, archive(t, symlink("a", "b"), symlink("b", "a"), file("a/x", ""))), defaults, "Terminal ImageInvalid"},
		"nor is a chain of too many":                      {gzipped(t, archive(t, chain(maxHops+1)...)), defaults, "Terminal ImageInvalid"},
		"a chain as long as Linux follows passes":         {gzipped(t, archive(t, chain(maxHops)...)), defaults, ""},
		"an overlay redirection is refused":               {gzipped(t, archive(t, attributed("a", "trusted.overlay.redirect", "/b"))), defaults, "Terminal ImageInvalid"},
		"a metadata copy of overlay is refused":           {gzipped(t, archive(t, attributed("a", "trusted.overlay.metacopy", "x"))), defaults, "Terminal ImageInvalid"},
		"many hard links to other layers are refused":     {gzipped(t, archive(t, dangling(maxDangling+1)...)), limits.Registry{ImageBytes: 1 << 30, Entries: 1 << 20, Ratio: 300}, "Terminal ImageTooLarge"},
		"some hard links to other layers pass":            {gzipped(t, archive(t, dangling(maxDangling)...)), limits.Registry{ImageBytes: 1 << 30, Entries: 1 << 20, Ratio: 300}, ""},
		"a program full of holes is refused":              {gzipped(t, sparse(t, 1<<31)), defaults, "Terminal ImageTooLarge"},
		"a program with a hole passes":                    {gzipped(t, sparse(t, 1<<26)), defaults, ""},
		"a symbolic link to too long a path is refused":   {gzipped(t, archive(t, symlink("a", strings.Repeat("a", maxPath+1)))), defaults, "Terminal ImageTooLarge"},
		"a path that links make too long is refused":      {gzipped(t, archive(t, symlink("a", strings.Repeat("a", maxPath-1)), file("a/bcd", ""))), defaults, "Terminal ImageTooLarge"},
		"as many entries as allowed pass":                 {gzipped(t, archive(t, many...)), limits.Registry{ImageBytes: 1 << 30, Entries: 40, Ratio: 300}, ""},
		"a path beyond PATH_MAX is refused":               {gzipped(t, archive(t, file(strings.Repeat("a/", 3000)+"a", ""))), defaults, "Terminal ImageTooLarge"},
		"a path of many levels is refused":                {gzipped(t, archive(t, file(strings.Repeat("a/", maxDepth+1)+"a", ""))), defaults, "Terminal ImageTooLarge"},
		"a link target beyond PATH_MAX is refused":        {gzipped(t, archive(t, entry{name: "a", link: strings.Repeat("a", maxPath+1)})), defaults, "Terminal ImageTooLarge"},
		"what is no archive is refused":                   {[]byte(strings.Repeat("no archive", 200)), defaults, "Terminal ImageInvalid"},
		"a broken gzip stream is refused":                 {gzipped(t, archive(t, many...))[:60], defaults, "Terminal ImageInvalid"},
		"an archive that ends early is refused":           {gzipped(t, archive(t, many...)[:1300]), defaults, "Terminal ImageInvalid"},
		"an empty layer passes":                           {gzipped(t, archive(t)), defaults, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := Image(t.Context(), imageOf(t, amd64, tt.layer), amd64, tt.limits)
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v, want %s", got, err, tt.want)
			}
		})
	}
}

// chain is a file behind n symbolic links.
func chain(n int) []entry {
	var entries []entry
	for i := range n {
		entries = append(entries, symlink(fmt.Sprint(i), fmt.Sprint(i+1)))
	}
	return append(entries, file("0/x", ""))
}

func dangling(n int) []entry {
	var entries []entry
	for i := range n {
		entries = append(entries, link(fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)))
	}
	return entries
}

// sparse is an archive with one program, nearly all of which is a hole (version 1.0 of GNU's sparse files in pax).
func sparse(t *testing.T, size int) []byte {
	t.Helper()
	const block = 512
	stored := make([]byte, 2*block)
	copy(stored, fmt.Sprintf("2\n0\n%d\n%d\n0\n", block, size))
	copy(stored[block:], x86)
	// The writer refuses these records by their names.
	written := archive(t, entry{name: "a", content: string(stored), pax: map[string]string{
		"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": "a", "GNU_sparse.realsize": fmt.Sprint(size)}})
	return bytes.ReplaceAll(written, []byte("GNU_sparse"), []byte("GNU.sparse"))
}

func TestPathsAreBoundedTogether(t *testing.T) {
	for desc, path := range map[string]string{"as much as allowed": "1234567890", "more": "12345678901"} {
		t.Run(desc, func(t *testing.T) {
			l := newLayer(maxPathBytes - 10)
			if err := l.count(path); (err != nil) != (desc == "more") {
				t.Errorf("link target: got %v", err)
			}
			l = newLayer(maxPathBytes - 10)
			if _, err := l.place(path); (err != nil) != (desc == "more") {
				t.Errorf("got %v", err)
			}
		})
	}
	l := newLayer(maxPathBytes - 10)
	if _, err := l.place("123456789"); err != nil {
		t.Error(err)
	}
	if _, err := l.place("12"); err == nil {
		t.Error("no error")
	}
}

// lyingLayer serves other bytes than its digest says, as a registry may.
type lyingLayer struct {
	v1.Layer
	err     error
	content []byte
}

func (l lyingLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(l.content), failing{l.err})), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type lyingImage struct {
	v1.Image
	layer lyingLayer
}

func (i lyingImage) Layers() ([]v1.Layer, error) { return []v1.Layer{i.layer}, nil }

func TestNoVerdictOnBytesThatAreNotTheLayer(t *testing.T) {
	tests := map[string]struct {
		content []byte
		err     error
		want    string
	}{
		"a foreign program in bytes with another digest": {gzipped(t, archive(t, file("a", arm))), errors.New("digest differs"), "Transient DigestMismatch"},
		"no archive, in bytes with another digest":       {[]byte(strings.Repeat("x", 2000)), errors.New("digest differs"), "Transient DigestMismatch"},
		"a good archive in bytes with another digest":    {gzipped(t, archive(t, file("a", x86))), errors.New("digest differs"), "Transient DigestMismatch"},
		"a connection that breaks":                       {gzipped(t, archive(t, file("a", x86)))[:40], io.ErrUnexpectedEOF, "Transient RegistryUnavailable"},
		"a caller that gives up":                         {nil, context.Canceled, "plain"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			img := imageOf(t, amd64, gzipped(t, archive(t, file("a", x86))))
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			lying := lyingImage{Image: img, layer: lyingLayer{Layer: layers[0], err: tt.err, content: tt.content}}
			_, err = Image(t.Context(), lying, amd64, defaults)
			if got := fault(err); got != tt.want || !errors.Is(err, tt.err) && tt.want == "plain" {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}

func TestFactsOfAnImageInARegistry(t *testing.T) {
	lower, upper := archive(t, file("bin/a", x86), file("bin/b", x86)), archive(t, file("bin/a", x86))
	small, large := gzipped(t, upper), zstandard(t, lower)
	img, _ := pushed(t, imageOf(t, amd64, large, small))
	got, err := Image(t.Context(), img, amd64, defaults)
	want := Facts{CompressedBytes: int64(len(small) + len(large)), Bytes: int64(len(lower) + len(upper)), Entries: 3, ELFFiles: 2,
		Labels: map[string]string{}, Env: map[string]string{}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestACancelledContextEndsTheScan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Image(ctx, imageOf(t, amd64, gzipped(t, archive(t, file("a", x86)))), amd64, defaults)
	if fault(err) != "plain" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkImage(b *testing.B) {
	// 100 MB of programs, which compress to about half.
	noise := make([]byte, 80<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	body := x86 + hex.EncodeToString(noise)
	entries := make([]entry, 610)
	for i := range entries {
		entries[i] = file(fmt.Sprintf("usr/bin/%d", i), body)
	}
	plain := archive(b, entries...)
	for how, layer := range map[string][]byte{"gzip": gzipped(b, plain), "zstd": zstandard(b, plain)} {
		b.Run(how, func(b *testing.B) {
			img := imageOf(b, amd64, layer)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Image(b.Context(), img, amd64, limits.Registry{ImageBytes: 1 << 40, Entries: 1000, Ratio: 1 << 40}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
