//go:build linux

package main

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConflict(t *testing.T) {
	for name, test := range map[string]struct {
		to    string
		link  int
		fails bool
	}{
		"a default route is none":                {"0.0.0.0/0", 2, false},
		"half of a default route is none":        {"0.0.0.0/1", 2, false},
		"another network":                        {"192.168.0.0/16", 2, false},
		"the network next door":                  {"10.230.0.0/16", 2, false},
		"a part of our range":                    {"10.231.5.0/24", 2, true},
		"a network that holds our range":         {"10.0.0.0/8", 2, true},
		"a part of our range that leads nowhere": {"10.231.9.0/24", 0, true},
		"a part of our range on our own cable":   {"10.231.0.0/30", 7, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := conflict([]route{{to: netip.MustParsePrefix(test.to), link: test.link}}, 7)
			if (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCheckAddressesWithoutASandbox(t *testing.T) {
	if err := conflict([]route{{to: netip.MustParsePrefix("10.231.9.0/24")}}, -1); err == nil {
		t.Error("a route that leads nowhere is taken for the sandbox's own")
	}
}

func TestHostRoutesCanBeRead(t *testing.T) {
	routes, err := hostRoutes()
	if err != nil {
		t.Fatal(err)
	}
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	if !slices.ContainsFunc(routes, func(r route) bool { return r.to.Overlaps(loopback) }) {
		t.Skipf("there is no loopback route among %v", routes)
	}
}

func TestHierarchies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mountinfo")
	const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
99 31 0:38 / /elsewhere rw,relatime - cgroup2 cgroup2 rw
`
	if err := os.WriteFile(path, []byte(mountinfo), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := hierarchies(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || !got[0].has("cpuacct") || !got[1].has("cpuset") || !got[2].unified || got[0].unified {
		t.Errorf("got %+v", got)
	}
}

func TestRemoveGroupTree(t *testing.T) {
	root := filepath.Join(t.TempDir(), "x")
	if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := removeGroupTree(root); err != nil {
			t.Error(err)
		}
	}
	if exists(root) {
		t.Error("it is still there")
	}
}

func TestTunablesAreRestoredUnlessSomebodyElseSetThem(t *testing.T) {
	root := t.TempDir()
	set := func(name, value string) {
		if err := writeFile(filepath.Join(root, name), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) string {
		value, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(value)
	}
	set("vm/overcommit_memory", "0\n")
	set("kernel/panic", "5\n")
	c := hostChanges{Tunables: map[string]string{}}
	c.rememberTunables(root)
	set("vm/overcommit_memory", "1\n") // as a kubelet does
	set("kernel/panic", "77\n")        // as somebody else did
	c.rememberTunables(root)           // a second start must not take these for the old ones
	if err := c.restoreTunables(root); err != nil {
		t.Fatal(err)
	}
	if get("vm/overcommit_memory") != "0" || get("kernel/panic") != "77\n" {
		t.Errorf("got %q and %q", get("vm/overcommit_memory"), get("kernel/panic"))
	}
}

func TestHostChangesOfAnEarlierBootDoNotCount(t *testing.T) {
	s := site{state: t.TempDir()}
	for boot, want := range map[string]bool{bootID(): true, "another": false} {
		if err := (hostChanges{Boot: boot, MountedBinfmt: true}).write(s); err != nil {
			t.Fatal(err)
		}
		got, err := readHostChanges(s)
		if err != nil || got.MountedBinfmt != want || got.Boot != bootID() {
			t.Errorf("%s: got %+v, %v", boot, got, err)
		}
	}
}

func TestNamespacePIDs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tx\nNSpid:\t4711\t1\nNSpgid:\t1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := namespacePIDs(dir); !slices.Equal(got, []int{4711, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestThisTestIsNoNode(t *testing.T) {
	if isNode(site{state: t.TempDir()}, os.Getpid()) {
		t.Error("it is taken for one")
	}
}

func TestTooOld(t *testing.T) {
	for goVersion, want := range map[string]bool{
		"go1.25.9": true, "go1.26": false, "go1.26.8": false, "go1.26.1-X:jsonv2": false, "go1.27rc1": false, "devel +abc": false, "go1.24.1 X:foo": true,
	} {
		if got := tooOld(goVersion); got != want {
			t.Errorf("%s: got %v", goVersion, got)
		}
	}
}

func TestAnUnpackedProgramRunsWithTheLibrariesBesideIt(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"$LD_LIBRARY_PATH $*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The second time it is there already.
		script, err := wrap(program, filepath.Join(dir, "script"), "/a:/b")
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(script, "link", "add x").CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != "/a:/b link add x" {
			t.Errorf("got %q (%v)", got, err)
		}
	}
}
