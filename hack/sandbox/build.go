//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const kubernetesVersion = "1.37.2"

// The stock verifiers.
const (
	cosignVersion  = "v2.6.5"
	cosign3Version = "v3.1.3"
)

// group is a set of programs that one Go module under tools/ pins and builds.
type group struct {
	name  string
	about string
	// disk is how many GiB the first build of it adds to Go's caches, after the groups before it in the list.
	disk uint64
	// programs maps the name of a binary to the package it is built from.
	programs map[string]string
	// links are further names of the group's only binary.
	links   []string
	ldflags string
	// aside says that only tests and the demo use it: the sandbox comes up without.
	aside bool
}

var groups = []group{
	{
		name: "kube", about: "Kubernetes " + kubernetesVersion + " and etcd, about 6 minutes on 2 cores", disk: 5,
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
	{name: "dns", about: "CoreDNS, about 90 seconds", disk: 3, programs: map[string]string{"coredns": "github.com/coredns/coredns"}},
	{name: "kaniko", about: "Kaniko of osscontainertools, about a minute", disk: 2, programs: map[string]string{"executor": "github.com/osscontainertools/kaniko/cmd/executor"}},
	{name: "kaniko-chainguard", about: "Kaniko of Chainguard, about 2 minutes", disk: 2, programs: map[string]string{"executor": "github.com/chainguard-dev/kaniko/cmd/executor"}},
	{name: "conftest", about: "conftest, about a minute", disk: 2, programs: map[string]string{"conftest": "github.com/open-policy-agent/conftest"}, aside: true},
	{name: "pause", about: "a program that does nothing", programs: map[string]string{"pause": "."}},
	{
		name: "syft", about: "Syft, about 2 minutes", disk: 3, programs: map[string]string{"syft": "github.com/anchore/syft/cmd/syft"},
		ldflags: "-X main.version=" + syftVersion,
	},
	{
		name: "grype", about: "Grype, about a minute", disk: 1, programs: map[string]string{"grype": "github.com/anchore/grype/cmd/grype"},
		ldflags: "-X main.version=" + grypeVersion,
	},
	{
		name: "trivy", about: "Trivy, about 4 minutes", disk: 6, programs: map[string]string{"trivy": "github.com/aquasecurity/trivy/cmd/trivy"},
		ldflags: "-X github.com/aquasecurity/trivy/pkg/version/app.ver=" + trivyVersion,
	},
	{
		name: "sigstore", about: "Fulcio, Rekor, a CT log and a timestamp authority, about 3 minutes", disk: 3,
		programs: map[string]string{"fulcio": "github.com/sigstore/fulcio", "rekor": "./rekor", "ctlog": "./ctlog", "timestamp": "./timestamp"},
	},
	{
		name: "cosign", about: "cosign 2, about 2 minutes", disk: 2, programs: map[string]string{"cosign": "github.com/sigstore/cosign/v2/cmd/cosign"},
		ldflags: "-X sigs.k8s.io/release-utils/version.gitVersion=" + cosignVersion, aside: true,
	},
	{
		name: "cosign3", about: "cosign 3, about 2 minutes", disk: 1, programs: map[string]string{"cosign": "github.com/sigstore/cosign/v3/cmd/cosign"},
		ldflags: "-X sigs.k8s.io/release-utils/version.gitVersion=" + cosign3Version, aside: true,
	},
	{name: "grypedb", about: "what writes Grype's database, seconds", programs: map[string]string{"grypedb": "."}},
	{name: "trivydb", about: "what writes Trivy's database, seconds", programs: map[string]string{"trivydb": "."}},
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

// nodeGroupNames are the groups that the sandbox is made of.
func nodeGroupNames() []string {
	var names []string
	for _, g := range groups {
		if !g.aside {
			names = append(names, g.name)
		}
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

// buildDir is where the programs of a group are, or will be.
func buildDir(s site, name string) (string, error) {
	g, err := findGroup(name)
	if err != nil {
		return "", err
	}
	key, err := g.key(s.source("tools", g.name), runtime.Version())
	return filepath.Join(s.cache, g.name+"-"+key, "bin"), err
}

func buildGroup(ctx context.Context, s site, p *progress, g group) (string, error) {
	source := s.source("tools", g.name)
	key, err := g.key(source, runtime.Version())
	if err != nil {
		return "", err
	}
	dir, err := cacheEntry{
		name: g.name, key: key, keep: keepBuilds,
		what: fmt.Sprintf("building %s (%s)", g.name, g.about),
		fill: func(temporary string) error { return g.compile(ctx, source, filepath.Join(temporary, "bin")) },
	}.get(ctx, s, p)
	return filepath.Join(dir, "bin"), err
}

// key changes whenever the same binaries would no longer come out.
func (g group) key(dir, goVersion string) (string, error) {
	var files []string
	for _, pattern := range []string{"*.go", "*/*.go"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", fmt.Errorf("listing the sources of %s: %w", g.name, err)
		}
		files = append(files, found...)
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
func runPath(ctx context.Context, args []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if err := checkMachine(); err != nil {
		return err
	}
	name := "kube"
	if len(args) > 0 {
		name = args[0]
	}
	found, err := build(ctx, s, newProgress(), []string{name})
	if err != nil {
		return err
	}
	fmt.Println(found[name])
	return nil
}
