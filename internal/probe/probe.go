// Package probe is what runs in a test pod, as the image's user and in place of the image's program: it proves from
// inside what the image can do and what it can't. It uses nothing but the standard library, so that its program is
// small, and static for images that hold nothing.
package probe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Names of the checks.
const (
	CheckUser             = "user"
	CheckCapabilities     = "capabilities"
	CheckNoNewPrivileges  = "no-new-privileges"
	CheckSeccomp          = "seccomp"
	CheckReadOnlyRoot     = "read-only-root"
	CheckNoToken          = "no-token"
	CheckCABundle         = "ca-bundle"
	CheckTimeZones        = "time-zones"
	CheckNoShell          = "no-shell"
	CheckNoPackageManager = "no-package-manager"
	CheckCommand          = "command"
)

// CommandTimeout is how long the image's command may take.
const CommandTimeout = 30 * time.Second

// Options say what the image is expected to be like.
type Options struct {
	// UID and GID of every process.
	UID, GID int64
	// AllowShells and AllowPackageManagers leave out their checks.
	AllowShells, AllowPackageManagers bool
	// Command of the image that must succeed; none without.
	Command []string
}

// Names are those of the checks that run, in their order. What the image's own programs could disturb comes first, and
// what runs them last.
func (o Options) Names() []string {
	names := []string{CheckUser, CheckCapabilities, CheckNoNewPrivileges, CheckSeccomp, CheckReadOnlyRoot, CheckNoToken, CheckCABundle, CheckTimeZones}
	if !o.AllowShells {
		names = append(names, CheckNoShell)
	}
	if !o.AllowPackageManagers {
		names = append(names, CheckNoPackageManager)
	}
	if len(o.Command) > 0 {
		names = append(names, CheckCommand)
	}
	return names
}

// Machine is what the probe looks at. Here is the real one.
type Machine struct {
	// Root is where the image's file system is.
	Root string
	// Proc is the directory of the probe's own process in a proc file system.
	Proc string
	// Self is a command of the probe that succeeds: the proof that a program can be started at all.
	Self []string
	// Getenv reads the environment that the image gives.
	Getenv func(string) string
	// Now is the time.
	Now time.Time
	// Create makes a file in a directory and removes it again.
	Create func(dir string) error
	// Sweep ends what the image's programs have left behind.
	Sweep func()
	// Timeout of the image's command.
	Timeout time.Duration
}

// Here is the container that the probe runs in. self is a command of the probe that does nothing and succeeds.
func Here(self ...string) Machine {
	return Machine{Root: "/", Proc: "/proc/self", Self: self, Getenv: os.Getenv, Now: time.Now(), Create: create, Sweep: sweep, Timeout: CommandTimeout}
}

// procMagic is what statfs says of a proc file system (linux/magic.h, PROC_SUPER_MAGIC).
const procMagic = 0x9fa0

// Usable returns an error if the probe can prove nothing here: if its own process is described by files of the image,
// or if no program can be started, so that starting no shell would say nothing.
func (m Machine) Usable() error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(m.Proc, &fs); err != nil {
		return fmt.Errorf("looking at %s: %w", m.Proc, err)
	}
	if fs.Type != procMagic {
		return fmt.Errorf("%s is not of the kernel: its file system has the type %#x", m.Proc, fs.Type)
	}
	return m.startSelf()
}

func (m Machine) startSelf() error {
	p, err := start(m.Self[0], m.Self)
	if err != nil {
		return fmt.Errorf("starting the probe itself, to know that programs can be started: %w", err)
	}
	state, err := p.Wait()
	if err != nil {
		return fmt.Errorf("waiting for the probe itself: %w", err)
	}
	if !state.Success() {
		return fmt.Errorf("starting the probe itself, to know that programs can be started: it ended with %s", state)
	}
	return nil
}

// Run runs every check.
func (m Machine) Run(ctx context.Context, o Options) (Report, error) {
	status, err := m.status()
	if err != nil {
		return Report{}, err
	}
	mounts, err := m.mounts()
	if err != nil {
		return Report{}, err
	}
	checks := map[string]func() Check{
		CheckUser:             func() Check { return status.user(o) },
		CheckCapabilities:     status.capabilities,
		CheckNoNewPrivileges:  status.noNewPrivileges,
		CheckSeccomp:          status.seccomp,
		CheckReadOnlyRoot:     func() Check { return m.readOnlyRoot(mounts) },
		CheckNoToken:          func() Check { return m.noToken(mounts) },
		CheckCABundle:         m.caBundle,
		CheckTimeZones:        m.timeZones,
		CheckNoShell:          m.noShell,
		CheckNoPackageManager: m.noPackageManager,
		CheckCommand:          func() Check { return m.command(ctx, o.Command) },
	}
	var r Report
	for _, name := range o.Names() {
		c := checks[name]()
		c.Name = name
		r.Checks = append(r.Checks, c)
	}
	return r, nil
}

// at is a path of the image.
func (m Machine) at(path string) string { return filepath.Join(m.Root, path) }
