//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	path    string
	unified bool
	options []string
}

func (h hierarchy) has(controller string) bool { return slices.Contains(h.options, controller) }

// hierarchies lists the control groups of a machine, of either version or both.
func hierarchies(mountinfo string) ([]hierarchy, error) {
	file, err := os.Open(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("listing the mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	var found []hierarchy
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// 36 35 98:0 /root /path options optional... - type source options
		place, rest, ok := strings.Cut(lines.Text(), " - ")
		fields, system := strings.Fields(place), strings.Fields(rest)
		if !ok || len(fields) < 5 || len(system) < 3 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
			continue
		}
		switch system[0] {
		case "cgroup":
			found = append(found, hierarchy{path: fields[4], options: strings.Split(system[2], ",")})
		case "cgroup2":
			found = append(found, hierarchy{path: fields[4], unified: true})
		}
	}
	return found, lines.Err()
}

// makeCgroups makes the control group below which the kubelet puts its pods.
func makeCgroups() error {
	all, err := hierarchies("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := h.make(); err != nil {
			return fmt.Errorf("making the control group %s in %s: %w", cgroupName, h.path, err)
		}
	}
	return nil
}

func (h hierarchy) make() error {
	dir := filepath.Join(h.path, cgroupName)
	if h.unified {
		if err := delegate(h.path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if h.unified {
		return delegate(dir)
	}
	if h.has("cpuset") {
		// A new cpuset is empty, and takes no process before it is filled.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := copyValue(filepath.Join(h.path, name), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// podControllers are what a kubelet wants for its pods, where the kernel has it.
var podControllers = []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}

// delegate switches on, for the children of a group, what pods need. It stays
// on at the root after down: somebody else may rely on it by then.
func delegate(dir string) error {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(available)) {
		if !slices.Contains(podControllers, name) || slices.Contains(strings.Fields(string(enabled)), name) {
			continue
		}
		err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0o644)
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%s holds processes of its own, as it does in a container: move them to a group below it first", dir)
		}
		if err != nil {
			return fmt.Errorf("switching on the controller %s: %w", name, err)
		}
	}
	return nil
}

func copyValue(from, to string) error {
	value, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, value, 0o644)
}

// removeCgroups removes our control groups, the deepest first.
func removeCgroups() error {
	all, err := hierarchies("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range all {
		failed = append(failed, removeGroupTree(filepath.Join(h.path, cgroupName)))
	}
	return errors.Join(failed...)
}

func removeGroupTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing the control group %s: %w", root, err)
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing the control group %s: %w", dir, err)
		}
	}
	return nil
}
