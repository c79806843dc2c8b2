//go:build linux

package main

import (
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	oldestGo = "go1.26"
	gibibyte = 1 << 30
	// A start that has nothing to build unpacks a few images.
	warmDisk = 3 * gibibyte
)

// checkMachine finds out whether programs for the sandbox can be built here.
func checkMachine() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the sandbox runs on amd64 machines only, and this one is %s", runtime.GOARCH)
	}
	if tooOld(runtime.Version()) {
		return fmt.Errorf("the sandbox needs Go %s or newer, and this is %s", oldestGo[2:], runtime.Version())
	}
	return nil
}

// tooOld ignores what a vendor or an experiment added to the version, and
// takes a version that it does not know for one of its own making.
func tooOld(goVersion string) bool {
	name, _, _ := strings.Cut(goVersion, "-")
	name, _, _ = strings.Cut(name, " ")
	return version.IsValid(name) && version.Compare(name, oldestGo) < 0
}

// preflight finds out whether the sandbox can run here.
func preflight(s site) error {
	if err := checkMachine(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("the sandbox needs root, for namespaces, mounts and its network: run it with sudo or as root")
	}
	if !hasCapability(unix.CAP_SYS_ADMIN) || !hasCapability(unix.CAP_NET_ADMIN) {
		return errors.New("the sandbox needs a root that may make namespaces and mounts, which this one, in a container perhaps, may not")
	}
	for _, tool := range []string{"go", "git", "apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("the sandbox needs the program %s, which is not on this machine", tool)
		}
	}
	if err := checkAddresses(); err != nil {
		return err
	}
	return checkDisk(s)
}

func checkDisk(s site) error {
	return errors.Join(wantSpace(s.state, warmDisk), wantSpace(s.cache, max(warmDisk, buildDisk(s))))
}

func wantSpace(dir string, need uint64) error {
	free, err := freeSpace(dir)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("the sandbox needs %d GiB of free disk at %s, and there are %d", need/gibibyte, dir, free/gibibyte)
	}
	return nil
}

// buildDisk is what the groups of the node need that have to be built.
func buildDisk(s site) uint64 {
	var need uint64
	for _, g := range groups {
		if g.aside {
			continue
		}
		key, err := g.key(s.source("tools", g.name), runtime.Version())
		if err != nil || !exists(filepath.Join(s.cache, g.name+"-"+key)) {
			need += g.disk * gibibyte
		}
	}
	return need
}

// freeSpace looks at the closest directory that exists.
func freeSpace(dir string) (uint64, error) {
	for !exists(dir) {
		dir = filepath.Dir(dir)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("asking for the free space at %s: %w", dir, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}

// wrap writes a script that runs an unpacked program with the libraries unpacked beside it.
func wrap(program, script, libraries string) (string, error) {
	content := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s' exec '%s' \"$@\"\n", libraries, program)
	if had, err := os.ReadFile(script); err == nil && string(had) == content {
		return script, nil
	}
	if err := os.WriteFile(script, []byte(content), 0o755); err != nil {
		return "", fmt.Errorf("writing a script that runs %s: %w", program, err)
	}
	return script, nil
}

// findIP returns the host's ip, or the one of the unpacked packages.
func findIP(d debian) (string, error) {
	if path, err := exec.LookPath("ip"); err == nil {
		return path, nil
	}
	for _, dir := range []string{"bin", "usr/bin", "sbin", "usr/sbin"} {
		path := filepath.Join(d.root(), dir, "ip")
		// In sbin it is a link to /bin/ip, which would be the machine's.
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			return wrap(path, filepath.Join(d.dir, "ip"), d.libraries())
		}
	}
	return "", errors.New("there is no program ip, neither on the machine nor in the package iproute2")
}
