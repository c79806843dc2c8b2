package probe

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

var (
	shells = []string{"sh", "ash", "bash", "bash-static", "busybox", "csh", "dash", "elvish", "fish", "hush", "ksh", "ksh93", "lksh", "mksh", "mksh-static", "nu",
		"oksh", "osh", "posh", "pwsh", "rbash", "rc", "sash", "static-sh", "tcsh", "toybox", "xonsh", "yash", "zsh", "zsh-static"}
	packageManagers = []string{"apk", "apk.static", "apt", "apt-get", "aptitude", "brew", "dnf", "dnf5", "dpkg", "emerge", "equo", "flatpak", "guix", "ipkg", "microdnf",
		"nix", "nix-env", "opkg", "pacman", "rpm", "slackpkg", "snap", "swupd", "tdnf", "urpmi", "xbps-install", "yum", "zypper"}
	// usualDirectories are searched besides PATH.
	usualDirectories = []string{"/", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/busybox", "/opt/bin", "/usr/lib/apt",
		"/usr/libexec", "/usr/games", "/lib/apk", "/usr/lib/busybox", "/usr/local/lib", "/home/linuxbrew/.linuxbrew/bin", "/nix/var/nix/profiles/default/bin"}
)

const (
	maxPath  = 64
	maxFound = 16
)

func (m Machine) noShell() Check {
	return m.none(shells, "no shell can be executed",
		"shells can be executed: %s; remove them, or copy what is needed into a last stage FROM scratch, or set spec.tests.shells: Allow")
}

func (m Machine) noPackageManager() Check {
	return m.none(packageManagers, "no package manager can be executed",
		"package managers can be executed: %s; remove them, or copy what is needed into a last stage FROM scratch, or set spec.tests.packageManagers: Allow")
}

func (m Machine) none(names []string, good, bad string) Check {
	var found []string
	dirs := m.programDirectories()
	for _, dir := range dirs {
		for _, name := range names {
			path := filepath.Join(dir, name)
			can, err := m.executes(path, name)
			if err != nil {
				return failed("could not find out whether %s can be executed: %v; request another build", path, why(err))
			}
			if can && len(found) < maxFound {
				found = append(found, path)
			}
		}
	}
	if len(found) > 0 {
		return failed(bad, some(found))
	}
	return passed("%s from %d directories", good, len(dirs))
}

// programDirectories are those of PATH and the usual ones, each once however it is reached.
func (m Machine) programDirectories() []string {
	path := filepath.SplitList(m.Getenv("PATH"))
	var dirs []string
	for _, dir := range slices.Concat(path[:min(len(path), maxPath)], usualDirectories) {
		if found, ok := m.resolve(dir); ok && !slices.Contains(dirs, found) {
			dirs = append(dirs, found)
		}
	}
	return dirs
}

// executes tries it: what counts is the kernel's answer to execve, not the mode of a file. That it has started is all
// there is to know, so it is killed at once.
func (m Machine) executes(path, name string) (bool, error) {
	path = m.at(path)
	if _, err := os.Lstat(path); isAny(err, unreachable) {
		return false, nil
	}
	argv := []string{path}
	if name == "busybox" || name == "toybox" {
		argv = []string{path, "sh"}
	}
	p, err := start(path, argv)
	if isAny(err, refusals) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	killGroup(p.Pid)
	_, _ = p.Wait() // It did start, whatever comes of it.
	m.Sweep()
	return true, nil
}

// refusals are what execve answers of a file that can't be executed (execve(2)). Anything else, such as no memory for
// a process, says nothing of the file.
var refusals = []error{syscall.EACCES, syscall.EPERM, syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG,
	syscall.ENOEXEC, syscall.EINVAL, syscall.EISDIR, syscall.ELIBBAD}

// start starts a program in a group of its own, without any open file.
func start(path string, argv []string) (*os.Process, error) {
	return os.StartProcess(path, argv, &os.ProcAttr{Dir: "/", Env: []string{}, Files: []*os.File{nil, nil, nil}, Sys: &syscall.SysProcAttr{Setpgid: true}})
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// sweep kills every other process of the container, also those that left their group. Only the first process of a
// container has nobody but the container's own processes around it.
func sweep() {
	if os.Getpid() == 1 {
		_ = syscall.Kill(-1, syscall.SIGKILL)
	}
}
