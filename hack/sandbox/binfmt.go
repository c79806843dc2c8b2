//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	binfmtDir = "/proc/sys/fs/binfmt_misc"
	// binfmtName is not the name that distributions use: an entry that is
	// called so is ours, and nothing needs to remember that.
	binfmtName = "basewright-aarch64"
	// The first bytes of an ELF executable for 64-bit ARM. The mask leaves
	// out the OS ABI and lets shared objects (static PIE) pass.
	arm64Magic = `\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`
	arm64Mask  = `\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`
)

// binfmtLine registers an emulator. O and P keep the program's own file and
// name (busybox looks at its name), F opens the emulator now, so that it works
// in containers that do not hold it.
func binfmtLine(emulator string) string {
	return strings.Join([]string{"", binfmtName, "M", "", arm64Magic, arm64Mask, emulator, "OPF"}, ":")
}

// emulates tells whether an entry of binfmt_misc runs arm64 programs in
// containers.
func emulates(entry string) bool {
	magic := strings.NewReplacer(`\x7fELF`, "7f454c46", `\x`, "").Replace(arm64Magic)
	fixed := false
	for line := range strings.Lines(entry) {
		if flags, ok := strings.CutPrefix(strings.TrimSpace(line), "flags:"); ok {
			fixed = strings.Contains(flags, "F")
		}
	}
	return strings.HasPrefix(entry, "enabled") && strings.Contains(entry, "magic "+magic) && fixed
}

// arm64Emulation returns the name of the entry that runs arm64 programs.
func arm64Emulation() (string, bool) {
	entries, err := os.ReadDir(binfmtDir)
	if err != nil {
		return "", false
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(binfmtDir, entry.Name()))
		if err == nil && emulates(string(content)) {
			return entry.Name(), true
		}
	}
	return "", false
}

// registerEmulator makes the kernel run arm64 programs, unless it does so
// already. It reports whether it had to mount binfmt_misc: an entry lives only
// as long as that is mounted.
func registerEmulator(emulator string) (mounted bool, err error) {
	if !exists(filepath.Join(binfmtDir, "register")) {
		if err := unix.Mount("binfmt_misc", binfmtDir, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return false, fmt.Errorf("mounting binfmt_misc: %w", err)
		}
		mounted = true
	}
	if _, ok := arm64Emulation(); ok {
		return mounted, nil
	}
	if err := os.WriteFile(filepath.Join(binfmtDir, "register"), []byte(binfmtLine(emulator)), 0o200); err != nil {
		return mounted, fmt.Errorf("registering %s: %w", emulator, err)
	}
	return mounted, nil
}

// unregisterEmulator removes what registerEmulator made.
func unregisterEmulator(mounted bool) error {
	entry := filepath.Join(binfmtDir, binfmtName)
	if exists(entry) {
		if err := os.WriteFile(entry, []byte("-1"), 0o200); err != nil {
			return fmt.Errorf("removing the binfmt entry %s: %w", binfmtName, err)
		}
	}
	if mounted && exists(filepath.Join(binfmtDir, "register")) {
		if err := unix.Unmount(binfmtDir, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmounting binfmt_misc: %w", err)
		}
	}
	return nil
}
