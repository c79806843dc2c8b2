//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeyChangesWithEverythingThatIsBuilt(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := writeFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	key := func(g group, goVersion string) string {
		key, err := g.key(dir, goVersion)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	write("go.mod", "module x\n")
	write("main.go", "package main\n")
	seen := []string{key(group{}, "go1.26.0")}
	if again := key(group{}, "go1.26.0"); again != seen[0] {
		t.Errorf("the key of the same sources is %s and then %s", seen[0], again)
	}
	seen = append(seen, key(group{}, "go1.26.1"), key(group{ldflags: "-X a=b"}, "go1.26.0"))
	write("main.go", "package main // changed\n")
	seen = append(seen, key(group{}, "go1.26.0"))
	write("go.mod", "module y\n")
	seen = append(seen, key(group{}, "go1.26.0"))
	write("go.sum", "z\n")
	seen = append(seen, key(group{}, "go1.26.0"))
	write("program/main.go", "package main\n")
	seen = append(seen, key(group{}, "go1.26.0"))
	slices.Sort(seen)
	if len(slices.Compact(slices.Clone(seen))) != 7 {
		t.Errorf("two of these are the same: %v", seen)
	}
}

func TestKubernetesVersionFlags(t *testing.T) {
	got := kubernetesVersionFlags("1.37.2")
	for _, want := range []string{"k8s.io/component-base/version.gitVersion=v1.37.2", "k8s.io/client-go/pkg/version.gitMinor=37"} {
		if !strings.Contains(got, "-X "+want) {
			t.Errorf("there is no %s in %s", want, got)
		}
	}
}

func TestEveryGroupHasAModule(t *testing.T) {
	for _, g := range groups {
		if !exists(filepath.Join("tools", g.name, "go.mod")) {
			t.Errorf("the group %s has no go.mod", g.name)
		}
		if len(g.links) > 0 && len(g.programs) != 1 {
			t.Errorf("the links of %s could mean any of its programs", g.name)
		}
	}
}

func TestNamedVersionsAreThePinnedOnes(t *testing.T) {
	for module, want := range map[string]string{
		"kube":              "k8s.io/kubernetes v" + kubernetesVersion,
		"dns":               "github.com/coredns/coredns v" + coreDNSVersion,
		"kaniko":            "github.com/osscontainertools/kaniko " + kanikoVersion,
		"conftest":          "github.com/open-policy-agent/conftest v0.71.1",
		"kaniko-chainguard": "github.com/chainguard-dev/kaniko " + chainguardVersion,
		"syft":              "github.com/anchore/syft v" + syftVersion,
		"grype":             "github.com/anchore/grype v" + grypeVersion,
		"grypedb":           "github.com/anchore/grype v" + grypeVersion,
		"trivy":             "github.com/aquasecurity/trivy v" + trivyVersion,
		"cosign":            "github.com/sigstore/cosign/v2 " + cosignVersion,
		"cosign3":           "github.com/sigstore/cosign/v3 " + cosign3Version,
	} {
		content, err := os.ReadFile(filepath.Join("tools", module, "go.mod"))
		// A requirement is a line of a block, or has the word in front.
		if err != nil || !strings.Contains(strings.ReplaceAll(string(content), "require ", "\t"), "\t"+want) {
			t.Errorf("tools/%s/go.mod does not have %s: %v", module, want, err)
		}
	}
}

func TestIsVersionOf(t *testing.T) {
	for entry, want := range map[string]bool{
		"kaniko-0123456789ab":            true,
		"kaniko-0123456789ab-1234":       true,
		"kaniko-chainguard-0123456789ab": false,
		"kaniko-0123":                    false,
		"kube-0123456789ab":              false,
		"locks":                          false,
	} {
		if got := isVersionOf(entry, "kaniko"); got != want {
			t.Errorf("%s: got %v", entry, got)
		}
	}
}

func TestPruneRemovesWhatNobodyUsedForLong(t *testing.T) {
	cache, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{
		"kube-000000000000":           keepBuilds + time.Hour,
		".tmp-kube-111111111111-1234": keepBuilds + time.Hour,
		"kube-222222222222":           time.Hour,
		"kube-333333333333":           keepBuilds + time.Hour,
		"dns-444444444444":            keepBuilds + time.Hour,
	} {
		path := filepath.Join(cache, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chtimes(path, now, now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := (cacheEntry{name: "kube", key: "333333333333", keep: keepBuilds}).prune(cache, now); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(cache)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range left {
		names = append(names, entry.Name())
	}
	if want := []string{"dns-444444444444", "kube-222222222222", "kube-333333333333"}; !slices.Equal(names, want) {
		t.Errorf("left are %v, want %v", names, want)
	}
}

func TestMakeWholeLeavesNothingWhenItFails(t *testing.T) {
	parent := t.TempDir()
	failure := errors.New("no")
	err := makeWhole(filepath.Join(parent, "x"), func(dir string) error {
		return errors.Join(failure, os.WriteFile(filepath.Join(dir, "half"), nil, 0o644))
	})
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestOnlyWhatHasToBeBuiltNeedsDisk(t *testing.T) {
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := site{checkout: checkout, cache: t.TempDir()}
	var want uint64
	for _, name := range nodeGroupNames() {
		g, err := findGroup(name)
		if err != nil {
			t.Fatal(err)
		}
		want += g.disk * gibibyte
	}
	nothing := buildDisk(s)
	if nothing != want {
		t.Errorf("without anything built it is %d, and the node's programs need %d", nothing, want)
	}
	trivy, err := findGroup("trivy")
	if err != nil {
		t.Fatal(err)
	}
	key, err := trivy.key(s.source("tools", "trivy"), runtime.Version())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.cache, "trivy-"+key), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := buildDisk(s); got == 0 || got != nothing-trivy.disk*gibibyte {
		t.Errorf("without anything built it is %d, with Trivy %d", nothing, got)
	}
}
