//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const kubernetesVersion = "1.37.2"

// group is a set of programs that one Go module under tools/ pins and builds.
type group struct {
	name  string
	about string
	// programs maps the name of a binary to the package it is built from.
	programs map[string]string
	// links are further names of the group's only binary.
	links   []string
	ldflags string
}

var groups = []group{
	{
		name: "kube", about: "Kubernetes " + kubernetesVersion + " and etcd, about 6 minutes on 2 cores",
		programs: map[string]string{"kube": "."},
		links:    []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"},
		ldflags:  kubernetesVersionFlags(kubernetesVersion),
	},
	{
		name: "registry", about: "olareg and crane, a few seconds",
		programs: map[string]string{
			"olareg": "github.com/olareg/olareg/cmd/olareg",
			"crane":  "github.com/google/go-containerregistry/cmd/crane",
		},
	},
	{name: "dns", about: "CoreDNS, about 90 seconds", programs: map[string]string{"coredns": "github.com/coredns/coredns"}},
	{name: "kaniko", about: "Kaniko of osscontainertools, about a minute", programs: map[string]string{"executor": "github.com/osscontainertools/kaniko/cmd/executor"}},
	{name: "kaniko-chainguard", about: "Kaniko of Chainguard, about 2 minutes", programs: map[string]string{"executor": "github.com/chainguard-dev/kaniko/cmd/executor"}},
	{name: "pause", about: "a program that does nothing", programs: map[string]string{"pause": "."}},
}

// kubernetesVersionFlags are the linker flags that tell the programs which
// version they are: a plain "go build" leaves v0.0.0-master, which the
// components refuse to work with.
func kubernetesVersionFlags(version string) string {
	part := strings.Split(version, ".")
	var flags []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags = append(flags,
			"-X "+pkg+".gitVersion=v"+version,
			"-X "+pkg+".gitMajor="+part[0],
			"-X "+pkg+".gitMinor="+part[1],
			"-X "+pkg+".gitTreeState=clean")
	}
	return strings.Join(flags, " ")
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

func findGroup(name string) (group, error) {
	at := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
	if at < 0 {
		return group{}, fmt.Errorf("there is no group %q, only %s", name, strings.Join(groupNames(), ", "))
	}
	return groups[at], nil
}

// builds says in which directory the binaries of each group are.
type builds map[string]string

func (b builds) bin(group, program string) string { return filepath.Join(b[group], program) }

// build makes sure that the programs of the named groups are in the cache.
func build(ctx context.Context, s site, p *progress, names []string) (builds, error) {
	found := builds{}
	for _, name := range names {
		g, err := findGroup(name)
		if err != nil {
			return nil, err
		}
		if found[name], err = buildGroup(ctx, s, p, g); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func buildGroup(ctx context.Context, s site, p *progress, g group) (string, error) {
	source := s.source("tools", g.name)
	key, err := g.key(source, runtime.Version())
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("building %s (%s)", g.name, g.about)
	dir, err := cached(ctx, s, p, g.name, key, what, func(temporary string) error {
		return g.compile(ctx, source, filepath.Join(temporary, "bin"))
	})
	return filepath.Join(dir, "bin"), err
}

// cached returns the directory name-key of the cache. If it is not there, fill
// makes it, once, however many sandboxes ask for it at the same time.
func cached(ctx context.Context, s site, p *progress, name, key, what string, fill func(temporary string) error) (string, error) {
	dir := filepath.Join(s.cache, name+"-"+key)
	if exists(dir) {
		return dir, prune(s.cache, name, filepath.Base(dir), time.Now())
	}
	unlock, err := lock(ctx, filepath.Join(s.cache, "locks", name))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	if err := p.during(what, func() error { return makeWhole(dir, fill) }); err != nil {
		return "", err
	}
	return dir, prune(s.cache, name, filepath.Base(dir), time.Now())
}

// key changes whenever the same binaries would no longer come out.
func (g group) key(dir, goVersion string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", fmt.Errorf("listing the sources of %s: %w", g.name, err)
	}
	files = append(files, filepath.Join(dir, "go.mod"))
	if sum := filepath.Join(dir, "go.sum"); exists(sum) {
		files = append(files, sum)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n", goVersion, g.ldflags)
	for _, file := range files {
		if err := hashFile(sum, file); err != nil {
			return "", fmt.Errorf("hashing the sources of %s: %w", g.name, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// hashFile adds a file's name and content to sum.
func hashFile(sum io.Writer, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(sum, "%s %d\n%s\n", filepath.Base(path), len(content), content)
	return err
}

func (g group) compile(ctx context.Context, dir, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	for program, pkg := range g.programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
			"-ldflags", strings.TrimSpace("-s -w "+g.ldflags), "-o", filepath.Join(bin, program), pkg)
		cmd.Dir = dir
		// GOFLAGS and GOWORK of the caller are about the caller's module.
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		if err := runQuietly(cmd); err != nil {
			return err
		}
		for _, link := range g.links {
			if err := os.Symlink(program, filepath.Join(bin, link)); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeWhole makes a directory by filling it elsewhere first, so that it is
// either complete or not there.
func makeWhole(dir string, fill func(temporary string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-"+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	if err := fill(temporary); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	// Programs that do not run as root have to be able to read the result.
	if err := os.Chmod(temporary, 0o755); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	return os.Rename(temporary, dir)
}

// unusedAfter is how long a version that nothing asks for stays in the cache:
// two branches with different versions take turns without building again.
const unusedAfter = 14 * 24 * time.Hour

// prune marks an entry of the cache as used and removes other versions of it
// that nobody used for long, with what an interrupted fill left.
func prune(cache, name, used string, now time.Time) error {
	if err := os.Chtimes(filepath.Join(cache, used), now, now); err != nil {
		return fmt.Errorf("marking %s as used: %w", used, err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return fmt.Errorf("reading the cache: %w", err)
	}
	var old []string
	for _, entry := range entries {
		if !isVersionOf(strings.TrimPrefix(entry.Name(), ".tmp-"), name) {
			continue
		}
		info, err := entry.Info()
		if err == nil && now.Sub(info.ModTime()) > unusedAfter {
			old = append(old, filepath.Join(cache, entry.Name()))
		}
	}
	return removeAll(old...)
}

// isVersionOf tells whether entry is name, a dash and a hash, with or without
// the random end of a temporary name.
func isVersionOf(entry, name string) bool {
	rest, ok := strings.CutPrefix(entry, name+"-")
	if !ok {
		return false
	}
	hash, _, _ := strings.Cut(rest, "-")
	_, err := hex.DecodeString(hash)
	return err == nil && len(hash) == 12
}

// runQuietly runs a command and shows its output only when it fails.
func runQuietly(cmd *exec.Cmd) error {
	output, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// runBuild is the subcommand build.
func runBuild(ctx context.Context, args []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if err := checkMachine(); err != nil {
		return err
	}
	if len(args) == 0 {
		args = groupNames()
	}
	p := newProgress()
	found, err := build(ctx, s, p, args)
	for name, dir := range found {
		p.say("%s is in %s", name, dir)
	}
	return err
}

// runPath is the subcommand path.
func runPath(ctx context.Context, _ []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	found, err := build(ctx, s, newProgress(), []string{"kube"})
	if err != nil {
		return err
	}
	fmt.Println(found["kube"])
	return nil
}
