//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// toolPackages are the programs that the node runs. They come with the
// libraries that they depend on.
var toolPackages = []string{"containerd", "runc", "containernetworking-plugins", "nftables", "conntrack", "iproute2"}

// contentPackages are unpacked one by one: images are made of them.
var contentPackages = []string{
	"busybox-static:amd64", "busybox-static:arm64",
	"base-files:amd64", "base-files:arm64",
	"ca-certificates:all", "media-types:all", "netbase:all", "tzdata:all",
}

// hostLibraries are packages that stay out of the library path of the node's
// programs: the dynamic linker and its C library have to be of one build, and
// the linker is the host's.
var hostLibraries = []string{"libc6", "libc-bin", "libgcc-s1", "gcc-"}

// debian is what was taken out of the distribution's packages. Nothing of it
// is installed: installing containerd could remove a user's Docker.
type debian struct{ dir string }

// root is where the node's programs are unpacked.
func (d debian) root() string { return filepath.Join(d.dir, "root") }

// content is where one of contentPackages is unpacked, with its control file.
func (d debian) content(name, architecture string) string {
	return filepath.Join(d.dir, "content", name+"_"+architecture)
}

// path is a PATH with the unpacked programs first.
func (d debian) path() string {
	dirs := []string{"usr/sbin", "usr/bin", "sbin", "bin"}
	for i, dir := range dirs {
		dirs[i] = filepath.Join(d.root(), dir)
	}
	return strings.Join(append(dirs, systemPath), ":")
}

// libraries is the LD_LIBRARY_PATH of the unpacked programs.
func (d debian) libraries() string {
	return filepath.Join(d.root(), "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(d.root(), "lib/x86_64-linux-gnu")
}

// emulatorPackages are tried in this order: newer releases moved the static
// emulators into qemu-user and dropped the suffix of their names.
var emulatorPackages = []string{"qemu-user-static", "qemu-user"}

// emulator is the static qemu for arm64.
func (d debian) emulator() (string, error) {
	for _, pkg := range emulatorPackages {
		for _, name := range []string{"qemu-aarch64-static", "qemu-aarch64"} {
			path := filepath.Join(d.content(pkg, "amd64"), "usr/bin", name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("there is no qemu-aarch64 in %s", strings.Join(emulatorPackages, " or "))
}

// getDebian makes sure that the packages are downloaded and unpacked.
func getDebian(ctx context.Context, s site, p *progress) (debian, error) {
	r, err := readRelease("/etc/os-release")
	if err != nil {
		return debian{}, err
	}
	dir, err := cacheEntry{
		name: r.cacheName(), key: packagesKey(), keep: keepBuilds,
		what: "downloading packages of " + r.id + " " + r.version,
		fill: func(temporary string) error { return fillDebian(ctx, temporary, r) },
	}.get(ctx, s, p)
	return debian{dir: dir}, err
}

func packagesKey() string {
	const layout = "1" // to be raised when the directory's layout changes
	all := append(append([]string{layout}, toolPackages...), contentPackages...)
	sum := sha256.Sum256([]byte(strings.Join(all, "\n")))
	return hex.EncodeToString(sum[:])[:12]
}

func fillDebian(ctx context.Context, dir string, r release) error {
	a, err := newApt(dir, r)
	if err != nil {
		return err
	}
	steps := []func(context.Context) error{a.update, a.downloadTools, a.unpackTools, a.unpackContents, a.unpackEmulator}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return os.RemoveAll(a.dir)
}

// apt runs apt with a root of its own that knows of no installed package: it
// neither reads nor changes what the host has, and needs none of its locks.
type apt struct {
	dir    string
	target debian
}

func newApt(target string, r release) (apt, error) {
	a := apt{dir: filepath.Join(target, "apt"), target: debian{dir: target}}
	all, err := readSources("/etc/apt")
	if err != nil {
		return apt{}, err
	}
	sources, err := ownSources(all, r)
	if err != nil {
		return apt{}, err
	}
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "sources"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return apt{}, fmt.Errorf("preparing apt: %w", err)
		}
	}
	return a, errors.Join(
		writeFile(filepath.Join(a.dir, "status"), nil, 0o644),
		writeFile(filepath.Join(a.dir, "sources", "own.sources"), []byte(sources), 0o644))
}

func (a apt) run(ctx context.Context, dir string, args ...string) error {
	options := []string{
		"Dir::State=" + filepath.Join(a.dir, "state"),
		"Dir::State::status=" + filepath.Join(a.dir, "status"),
		"Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"Dir::Etc::sourcelist=/dev/null",
		"Dir::Etc::sourceparts=" + filepath.Join(a.dir, "sources"),
		"APT::Architecture=amd64", "APT::Architectures=amd64,arm64",
		"APT::Sandbox::User=root", "Acquire::Languages=none", "Acquire::Retries=3",
		"Debug::NoLocking=true",
	}
	var all []string
	for _, option := range options {
		all = append(all, "-o", option)
	}
	cmd := exec.CommandContext(ctx, "apt-get", append(all, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	return runQuietly(cmd)
}

func (a apt) update(ctx context.Context) error { return a.run(ctx, a.dir, "update") }

func (a apt) downloadTools(ctx context.Context) error {
	args := []string{"install", "--download-only", "--yes", "--no-install-recommends"}
	return a.run(ctx, a.dir, append(args, toolPackages...)...)
}

func (a apt) unpackTools(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(a.dir, "cache/archives/*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if isHostLibrary(filepath.Base(file)) {
			continue
		}
		if err := unpack(ctx, file, a.target.root()); err != nil {
			return err
		}
	}
	return nil
}

func isHostLibrary(file string) bool {
	for _, name := range hostLibraries {
		if strings.HasPrefix(file, name+"_") || strings.HasSuffix(name, "-") && strings.HasPrefix(file, name) {
			return true
		}
	}
	return false
}

func (a apt) unpackContents(ctx context.Context) error {
	for _, pkg := range contentPackages {
		if err := a.unpackContent(ctx, pkg); err != nil {
			return err
		}
	}
	return nil
}

func (a apt) unpackContent(ctx context.Context, pkg string) error {
	name, architecture, _ := strings.Cut(pkg, ":")
	into := a.target.content(name, architecture)
	download := filepath.Join(a.dir, "download", name+"_"+architecture)
	if err := os.MkdirAll(download, 0o755); err != nil {
		return err
	}
	if architecture == "all" {
		pkg = name
	}
	if err := a.run(ctx, download, "download", pkg); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(download, "*.deb"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("downloading %s gave %d files: %w", pkg, len(files), err)
	}
	if err := unpack(ctx, files[0], into); err != nil {
		return err
	}
	return runQuietly(exec.CommandContext(ctx, "dpkg-deb", "--control", files[0], filepath.Join(into, "DEBIAN")))
}

func unpack(ctx context.Context, file, into string) error {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	return runQuietly(exec.CommandContext(ctx, "dpkg-deb", "--extract", file, into))
}

// unpackEmulator keeps one emulator of forty.
func (a apt) unpackEmulator(ctx context.Context) error {
	for _, pkg := range emulatorPackages {
		if err := a.unpackContent(ctx, pkg+":amd64"); err != nil {
			return err
		}
		emulator, err := a.target.emulator()
		if err == nil {
			return removeOthers(emulator)
		}
	}
	_, err := a.target.emulator()
	return err
}

// removeOthers removes all other files of keep's directory.
func removeOthers(keep string) error {
	all, err := filepath.Glob(filepath.Join(filepath.Dir(keep), "*"))
	if err != nil {
		return err
	}
	return removeAll(slices.DeleteFunc(all, func(path string) bool { return path == keep })...)
}
