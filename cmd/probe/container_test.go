package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asRuntime makes the test binary play the container runtime: it gets a container in JSON.
const asRuntime = "BASEWRIGHT_TEST_AS_RUNTIME"

// container is what the runtime is asked for. It begins as the first process of new user, mount, PID and network
// namespaces, as the image's user with every capability of them.
type container struct {
	// Root of the image, Report the directory that is mounted at /report.
	Root, Report string
	Args, Env    []string
	// What goes wrong.
	WritableRoot, KeepCapabilities, NewPrivileges, NoSeccomp, NoProc bool
	// Volumes are mounted writable.
	Volumes []string
}

// exitUnable is how the runtime says that this machine does not let it make a container.
const exitUnable = 77

func runtimeMain(raw string) {
	// Capabilities and filters are of a thread, and the program takes over those of the one that starts it.
	runtime.LockOSThread()
	var c container
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		panic(err)
	}
	for _, step := range []func() error{c.mount, c.restrict} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, "making a container:", err)
			os.Exit(exitUnable)
		}
	}
	fmt.Fprintln(os.Stderr, syscall.Exec(c.Args[0], c.Args, c.Env))
	os.Exit(exitUnable)
}

func (c container) mount() error {
	bind := func(from, to string) error { return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "") }
	steps := []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		bind(c.Root, c.Root),
		bind(c.Report, filepath.Join(c.Root, "report")),
		bind("/dev/null", filepath.Join(c.Root, "dev/null")), // Every container has it, and programs rely on it.
	}
	if !c.NoProc {
		steps = append(steps, unix.Mount("proc", filepath.Join(c.Root, "proc"), "proc", 0, ""))
	}
	for _, v := range c.Volumes {
		steps = append(steps, unix.Mount("tmpfs", filepath.Join(c.Root, v), "tmpfs", 0, ""))
	}
	if !c.WritableRoot {
		steps = append(steps, unix.Mount("", c.Root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	}
	steps = append(steps, unix.Chroot(c.Root), unix.Chdir("/"))
	return errors.Join(steps...)
}

func (c container) restrict() error {
	_ = unix.Setgroups(nil) // Not everybody may.
	if !c.KeepCapabilities {
		for capability := uintptr(0); unix.Prctl(unix.PR_CAPBSET_READ, capability, 0, 0, 0) == nil; capability++ {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
				return fmt.Errorf("dropping capability %d: %w", capability, err)
			}
		}
	}
	if !c.NoSeccomp {
		// A filter that allows everything, while there are privileges to install it without the next step.
		allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000}}
		program := unix.SockFprog{Len: 1, Filter: &allow[0]}
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			return fmt.Errorf("installing a seccomp filter: %w", err)
		}
	}
	if !c.NewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("setting no_new_privs: %w", err)
		}
	}
	return errors.Join(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &make([]unix.CapUserData, 2)[0]))
}
