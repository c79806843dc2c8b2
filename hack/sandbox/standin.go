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
	debianVersion  = "etc/debian_version"
	lsbRelease     = "etc/lsb-release"
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
		fill:     fillApk,
	},
	{
		original: "gcr.io/distroless/static-debian13:nonroot",
		packages: []string{"base-files", "ca-certificates", "media-types", "netbase", "tzdata"},
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
		fill: fillApk,
	},
	{
		original: "docker.io/library/debian:12.0-slim",
		config:   v1.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}},
		fill:     fillRecorded("12.0", func(p debianPackage) string { return p.released }),
	},
	{
		original: "docker.io/library/debian:12-slim",
		config:   v1.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}},
		fill:     fillRecorded("12.15", func(p debianPackage) string { return p.updated }),
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
	// Trivy does not tell a Debian or an Ubuntu by os-release, but by these; a Debian has only the first.
	for _, file := range []string{debianVersion, lsbRelease} {
		if from := filepath.Join(d.content("base-files", architecture), file); exists(from) {
			if err := t.copyFile(from, file, 0o644); err != nil {
				return err
			}
		}
	}
	t.directory("tmp", 0o1777)
	t.directory("root", 0o700)
	return nil
}

// fillApk is fillBusybox with the files that tell an apk system: a program, which can install nothing, and the list of
// what is installed, which has that program alone.
func fillApk(ctx context.Context, t *tree, d debian, architecture string) error {
	t.file("sbin/apk", 0o755, []byte("#!/bin/sh\necho 'apk: this image is a stand-in of the sandbox, which has no packages to install' >&2\nexit 1\n"))
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[architecture]
	t.text("lib/apk/db/installed", "P:basewright-sandbox-apk\nV:1-r0\nA:"+machine+"\nT:stand-in for apk\nL:Apache-2.0\nF:sbin\nR:apk\n\n")
	return fillBusybox(ctx, t, d, architecture)
}

// debianPackage is a package of Debian 12 that an image can claim to have.
type debianPackage struct {
	name, source string
	// released and updated are its versions when Debian 12 came out, in June 2023, and in November 2026. A number that
	// only says how often an architecture was built again is left out.
	released, updated string
}

var debianPackages = []debianPackage{
	{"base-files", "base-files", "12.4", "12.4+deb12u15"},
	{"busybox-static", "busybox", "1:1.35.0-4", "1:1.35.0-4+deb12u1"},
	{"libc6", "glibc", "2.36-9", "2.36-9+deb12u14"},
	{"libsqlite3-0", "sqlite3", "3.40.1-2", "3.40.1-2+deb12u2"},
	{"libssl3", "openssl", "3.0.9-1", "3.0.22-1~deb12u2"},
	{"zlib1g", "zlib", "1:1.2.13.dfsg-1", "1:1.2.13.dfsg-1"},
}

const debianRelease = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
`

// fillRecorded makes a system to run commands in, whose records of packages are those of a given day, whatever the machine
// has: busybox is the only package of them that is there, and it is the machine's. Archives don't keep what has known
// vulnerabilities. os-release is a file here, and each package has a file of its own, for COPY to take one by one.
func fillRecorded(release string, version func(debianPackage) string) func(context.Context, *tree, debian, string) error {
	return func(ctx context.Context, t *tree, d debian, architecture string) error {
		for _, p := range debianPackages {
			t.text(path.Join(statusDir, p.name), fmt.Sprintf("Package: %s\nSource: %s\nVersion: %s\nArchitecture: %s\n"+
				"Maintainer: the Basewright sandbox <sandbox@basewright.test>\nDescription: record of a package\n", p.name, p.source, version(p), architecture))
		}
		t.text("etc/os-release", debianRelease)
		t.text("usr/lib/os-release", debianRelease)
		t.text(debianVersion, release+"\n")
		delete(t.entries, lsbRelease)
		if err := fillBusybox(ctx, t, d, architecture); err != nil {
			return err
		}
		return addChecksums(t, d.content("busybox-static", architecture), "busybox-static")
	}
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
	if err := copyFiles(t, d.content("netbase", "all"), "etc/protocols", "etc/services"); err != nil {
		return err
	}
	if err := copyFiles(t, d.content("media-types", "all"), "etc/mime.types"); err != nil {
		return err
	}
	t.add(entry{path: "home/nonroot", mode: 0o700, uid: 65532, gid: 65532, dir: true})
	return t.copyTree(filepath.Join(d.content("tzdata", "all"), "usr/share/zoneinfo"), "usr/share/zoneinfo")
}

// copyFiles takes files of a package to where the package has them.
func copyFiles(t *tree, from string, paths ...string) error {
	for _, path := range paths {
		if err := t.copyFile(filepath.Join(from, path), path, 0o644); err != nil {
			return err
		}
	}
	return nil
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

// statusDir is where scanners look for packages in images without a package
// manager.
const statusDir = "var/lib/dpkg/status.d"

// addPackageRecord adds what is known of a package: its control file, and the
// checksums of its files.
func addPackageRecord(t *tree, d debian, pkg, architecture string) error {
	dir := d.content(pkg, architecture)
	if !exists(dir) {
		dir = d.content(pkg, "all")
	}
	if err := t.copyFile(filepath.Join(dir, "DEBIAN/control"), path.Join(statusDir, pkg), 0o644); err != nil {
		return err
	}
	return addChecksums(t, dir, pkg)
}

// addChecksums adds those of the files that the image has. By them a scanner
// tells a program of the package from one that somebody added.
func addChecksums(t *tree, dir, pkg string) error {
	sums, err := os.ReadFile(filepath.Join(dir, "DEBIAN/md5sums"))
	if err != nil {
		return fmt.Errorf("adding the checksums of %s to an image: %w", pkg, err)
	}
	var there strings.Builder
	for line := range strings.Lines(string(sums)) {
		// A checksum, two spaces and a path.
		if fields := strings.Fields(line); len(fields) == 2 && t.has(fields[1]) {
			there.WriteString(line)
		}
	}
	t.text(path.Join(statusDir, pkg+".md5sums"), there.String())
	return nil
}
