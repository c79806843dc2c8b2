//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stopNodes ends the running nodes and removes what a node leaves behind. It
// is done before every start too: an earlier node may have been killed.
func stopNodes(ctx context.Context, s site, ip string, nodes []process) error {
	for _, node := range nodes {
		if err := node.kill(ctx); err != nil {
			return err
		}
	}
	if err := unplug(ctx, ip); err != nil {
		return err
	}
	// A control group stays busy for a moment after its last process.
	err := poll(ctx, 30*time.Second, "the control groups to be empty", func(context.Context) error { return removeCgroups() })
	if err != nil {
		return err
	}
	if err := checkNoMounts(s.state); err != nil {
		return err
	}
	// Containers and pods start anew, as after a reboot; what etcd, the
	// registry and git hold stays.
	return removeAll(s.in("containerd"), s.in("kubelet"), s.in("running"), s.in("daemons.json"))
}

// runDown is the subcommand down.
func runDown(ctx context.Context, _ []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("removing the sandbox needs root: run it with sudo or as root")
	}
	p := newProgress()
	unlock, err := lock(ctx, p, s.in("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.during("removing the sandbox", func() error { return takeDown(ctx, s) }); err != nil {
		return err
	}
	p.say("the sandbox is down; the cache in %s stays", s.cache)
	return nil
}

func takeDown(ctx context.Context, s site) error {
	nodes, err := findNodes(s)
	if err != nil {
		return err
	}
	defer closeAll(nodes)
	if err := stopNodes(ctx, s, cachedIP(s), nodes); err != nil {
		return err
	}
	changes, err := readHostChanges(s)
	if err != nil {
		return err
	}
	err = errors.Join(
		setHosts("/etc/hosts", ""),
		unregisterEmulator(changes.MountedBinfmt),
		changes.restoreTunables("/proc/sys"))
	if err != nil {
		return err
	}
	// The list of checkouts and the lock are in the state directory.
	return errors.Join(forgetCheckouts(s), removeAll(s.state))
}

// cachedIP finds ip without downloading anything, or returns nothing.
func cachedIP(s site) string {
	r, err := readRelease("/etc/os-release")
	if err != nil {
		return ""
	}
	ip, err := findIP(debian{dir: filepath.Join(s.cache, r.cacheName()+"-"+packagesKey())})
	if err != nil {
		return ""
	}
	return ip
}

// checkNoMounts makes sure that removing dir removes nothing but what is in
// it: the sandbox mounts nothing there in the host's namespace.
func checkNoMounts(dir string) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("listing the mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			return fmt.Errorf("something is mounted on %s: unmount it first", fields[4])
		}
	}
	return lines.Err()
}
