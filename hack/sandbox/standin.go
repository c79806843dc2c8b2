//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	descriptionKey = "org.opencontainers.image.description"
	bundlePath     = "etc/ssl/certs/ca-certificates.crt"
	rootUser       = "root:x:0:0:root:/root:/bin/sh\n"
	nobodyUser     = "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
	nonrootUser    = "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
)

// standIn takes the place of an image on a registry that is out of reach. It
// is laid out like the original and made of the distribution's packages.
type standIn struct {
	original string
	packages []string
	config   v1.Config
	fill     func(ctx context.Context, t *tree, d debian, architecture string) error
}

var standIns = []standIn{
	{
		original: "docker.io/library/alpine:3.23",
		packages: []string{"busybox-static", "base-files", "ca-certificates"},
		config:   v1.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}},
		fill:     fillBusybox,
	},
	{
		original: "gcr.io/distroless/static-debian13:nonroot",
		packages: []string{"base-files", "ca-certificates", "tzdata"},
		config: v1.Config{
			Env:  []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			User: "65532", WorkingDir: "/home/nonroot",
		},
		fill: fillStatic,
	},
	{
		original: "cgr.dev/chainguard/wolfi-base:latest",
		packages: []string{"busybox-static", "base-files", "ca-certificates"},
		config: v1.Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
			Cmd: []string{"/bin/sh", "-l"},
		},
		fill: fillBusybox,
	},
}

// index makes the stand-in for both architectures.
func (s standIn) index(ctx context.Context, d debian) (v1.ImageIndex, error) {
	description := "Sandbox stand-in for " + s.original + ", made of Debian packages; it is not that image."
	var parts []mutate.IndexAddendum
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := s.image(ctx, d, architecture, description)
		if err != nil {
			return nil, fmt.Errorf("making the %s stand-in of %s: %w", architecture, s.original, err)
		}
		parts = append(parts, mutate.IndexAddendum{Add: plainImage{image}, Descriptor: v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Platform:  &v1.Platform{OS: "linux", Architecture: architecture},
		}})
	}
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), parts...)
	annotated, ok := mutate.Annotations(index, map[string]string{descriptionKey: description}).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating the stand-in of %s gave something else than an index", s.original)
	}
	return annotated, nil
}

// plainImage keeps the library from calling an ordinary image an artifact in
// the index: the registries that we stand in for do not.
type plainImage struct{ v1.Image }

func (plainImage) ArtifactType() (string, error) { return "", nil }

func (s standIn) image(ctx context.Context, d debian, architecture, description string) (v1.Image, error) {
	t := newTree()
	if err := fillCommon(t, d, architecture); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, t, d, architecture); err != nil {
		return nil, err
	}
	for _, pkg := range s.packages {
		if err := addPackageRecord(t, d, pkg, architecture); err != nil {
			return nil, err
		}
	}
	config := s.config
	config.Labels = map[string]string{descriptionKey: description}
	image, err := newImage(t, architecture, config)
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, map[string]string{descriptionKey: description}).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotating gave something else than an image")
	}
	return annotated, nil
}

// fillCommon adds what all three images have.
func fillCommon(t *tree, d debian, architecture string) error {
	bundle, err := certificateBundle(d)
	if err != nil {
		return err
	}
	t.file(bundlePath, 0o644, bundle)
	if err := t.copyFile(filepath.Join(d.content("base-files", architecture), "usr/lib/os-release"), "usr/lib/os-release", 0o644); err != nil {
		return err
	}
	t.symlink("etc/os-release", "../usr/lib/os-release")
	t.directory("tmp", 0o1777)
	t.directory("root", 0o700)
	return nil
}

// fillBusybox makes a small system around a static busybox.
func fillBusybox(ctx context.Context, t *tree, d debian, architecture string) error {
	if err := t.copyFile(busybox(d, architecture), "bin/busybox", 0o755); err != nil {
		return err
	}
	applets, err := busyboxApplets(ctx, d)
	if err != nil {
		return err
	}
	for _, applet := range applets {
		if applet != "bin/busybox" {
			t.symlink(applet, "/bin/busybox")
		}
	}
	t.text("etc/passwd", rootUser+nobodyUser+nonrootUser)
	t.text("etc/group", "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n")
	t.directory("var/tmp", 0o1777)
	for _, dir := range []string{"home", "proc", "sys", "dev", "run", "usr/local/bin", "var/log"} {
		t.directory(dir, 0o755)
	}
	return nil
}

// busybox is where the package has its program: newer releases moved it.
func busybox(d debian, architecture string) string {
	dir := d.content("busybox-static", architecture)
	if moved := filepath.Join(dir, "usr/bin/busybox"); exists(moved) {
		return moved
	}
	return filepath.Join(dir, "bin/busybox")
}

// busyboxApplets asks the amd64 busybox, which runs here, for the paths of its
// applets; that of another architecture is built with the same ones.
func busyboxApplets(ctx context.Context, d debian) ([]string, error) {
	output, err := exec.CommandContext(ctx, busybox(d, "amd64"), "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("listing busybox's applets: %w", err)
	}
	return strings.Fields(string(output)), nil
}

// fillStatic makes what a static program needs, and nothing to start one with.
func fillStatic(_ context.Context, t *tree, d debian, _ string) error {
	t.text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n"+nobodyUser+nonrootUser)
	t.text("etc/group", "root:x:0:\nnobody:x:65534:\ntty:x:5:\nstaff:x:50:\nnonroot:x:65532:\n")
	t.text("etc/nsswitch.conf", "hosts: files dns\n")
	t.add(entry{path: "home/nonroot", mode: 0o700, uid: 65532, gid: 65532, dir: true})
	return t.copyTree(filepath.Join(d.content("tzdata", "all"), "usr/share/zoneinfo"), "usr/share/zoneinfo")
}

// certificateBundle joins the certificates in the order of
// update-ca-certificates, each ending with a newline.
func certificateBundle(d debian) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(d.content("ca-certificates", "all"), "usr/share/ca-certificates/mozilla/*.crt"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("finding the certificates of ca-certificates: %d files: %w", len(files), err)
	}
	var bundle bytes.Buffer
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		bundle.Write(bytes.TrimRight(content, "\n"))
		bundle.WriteString("\n")
	}
	return bundle.Bytes(), nil
}

// addPackageRecord adds a package's control file where scanners look for it in
// images without a package manager.
func addPackageRecord(t *tree, d debian, pkg, architecture string) error {
	dir := d.content(pkg, architecture)
	if !exists(dir) {
		dir = d.content(pkg, "all")
	}
	return t.copyFile(filepath.Join(dir, "DEBIAN/control"), path.Join("var/lib/dpkg/status.d", pkg), 0o644)
}
