package probe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	maxMountInfo   = 1 << 20
	maxDirectories = 512
	maxVolumes     = 64
)

// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	point    string
	readOnly bool
}

func (m Machine) mounts() ([]mount, error) {
	path := filepath.Join(m.Proc, "mountinfo")
	raw, err := readRegular(path, maxMountInfo)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, why(err))
	}
	var all []mount
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 5 {
			all = append(all, mount{unescape.Replace(f[4]), slices.Contains(strings.Split(f[5], ","), "ro")})
		}
	}
	return all, nil
}

// unescape undoes what the kernel does to mount points.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountOf is the mount that a path without symbolic links is on: the last one over the longest part of it.
func mountOf(mounts []mount, path string) (found mount) {
	for _, mnt := range mounts {
		if within(path, mnt.point) && len(mnt.point) >= len(found.point) {
			found = mnt
		}
	}
	return found
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// create makes a file and removes it.
func create(dir string) error {
	path := filepath.Join(dir, ".basewright-probe-"+strconv.Itoa(os.Getpid()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(path))
}

// unreachable is what a directory answers that the user can't even look into, or that went away.
var unreachable = []error{syscall.EACCES, syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// readOnlyRoot asks twice: the mount must say that it is read-only, because a directory of root refuses files of
// another user anyway; and creating a file must fail for that reason.
func (m Machine) readOnlyRoot(mounts []mount) Check {
	const fix = "the container must run with readOnlyRootFilesystem: true; " + podChanged
	if root := mountOf(mounts, "/"); root.point != "/" || !root.readOnly {
		return failed("/ is not mounted read-only: %s", fix)
	}
	if err := m.Create(m.at("/")); !errors.Is(err, syscall.EROFS) {
		return failed("creating a file in / is not refused as on a read-only file system: %s", fix)
	}
	dirs := m.rootDirectories(mounts)
	var writable []string
	for _, dir := range dirs {
		if err := m.Create(m.at(dir)); !errors.Is(err, syscall.EROFS) && !isAny(err, unreachable) {
			writable = append(writable, dir)
		}
	}
	if len(writable) > 0 {
		return failed("creating a file is not refused as on a read-only file system in %s: %s", some(writable), fix)
	}
	tried := fmt.Sprintf("mounted read-only, and no file can be created in %d directories", len(dirs)+1)
	if volumes := m.writableVolumes(mounts); len(volumes) > 0 {
		return passed("%s; writable because VOLUME of the Dockerfile, or the cluster, mounts something there: %s", tried, some(volumes))
	}
	return passed("%s", tried)
}

// rootDirectories are directories of the image on its root file system: those where programs write by habit, and the
// first two levels.
func (m Machine) rootDirectories(mounts []mount) []string {
	candidates := []string{m.Getenv("HOME"), m.Getenv("TMPDIR"), "/tmp", "/var/tmp", "/var/cache", "/var/lib", "/var/log", "/var/run", "/run/lock"}
	candidates = append(candidates, filepath.SplitList(m.Getenv("PATH"))...)
	top := subdirectories(m.at("/"))
	for _, dir := range top {
		candidates = append(candidates, "/"+dir)
	}
	for _, dir := range top {
		for _, sub := range subdirectories(m.at(dir)) {
			candidates = append(candidates, "/"+dir+"/"+sub)
		}
	}
	var dirs []string
	for _, dir := range candidates {
		found, ok := m.resolve(dir)
		if ok && found != "/" && mountOf(mounts, found).point == "/" && !slices.Contains(dirs, found) && len(dirs) < maxDirectories {
			dirs = append(dirs, found)
		}
	}
	return dirs
}

// resolve follows symbolic links to a directory of the image.
func (m Machine) resolve(dir string) (string, bool) {
	if !filepath.IsAbs(dir) {
		return "", false
	}
	found, err := filepath.EvalSymlinks(m.at(dir))
	if err != nil {
		return "", false
	}
	info, err := os.Stat(found)
	if err != nil || !info.IsDir() {
		return "", false
	}
	rel, err := filepath.Rel(m.Root, found)
	return filepath.Join("/", rel), err == nil
}

// ofTheRuntime are mounts that every container has.
var ofTheRuntime = []string{"/proc", "/sys", "/dev"}

// writableVolumes are other mounts that the user can write to.
func (m Machine) writableVolumes(mounts []mount) []string {
	var found []string
	for _, mnt := range mounts[:min(len(mounts), maxVolumes)] {
		runtime := slices.ContainsFunc(ofTheRuntime, func(dir string) bool { return within(mnt.point, dir) })
		if mnt.point == "/" || mnt.readOnly || runtime || slices.Contains(found, mnt.point) {
			continue
		}
		if info, err := os.Stat(m.at(mnt.point)); err == nil && info.IsDir() && m.Create(m.at(mnt.point)) == nil {
			found = append(found, mnt.point)
		}
	}
	return found
}

// noToken: the pod asks for no token of a ServiceAccount. Addresses of the API in the environment are no secret, and
// every pod has them.
func (m Machine) noToken(mounts []mount) Check {
	for _, dir := range []string{"/var/run/secrets/kubernetes.io/serviceaccount", "/run/secrets/kubernetes.io/serviceaccount"} {
		if slices.ContainsFunc(mounts, func(mnt mount) bool { return within(mnt.point, dir) }) {
			return failed("%s is mounted, although the pod asks for no ServiceAccount token: %s", dir, podChanged)
		}
		if _, err := os.Lstat(m.at(dir + "/token")); !isAny(err, unreachable) {
			return failed("the image has %s/token: remove it, and revoke it if it was a ServiceAccount's", dir)
		}
	}
	return passed("no ServiceAccount token")
}
