//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running process, held by a handle that can never come to mean
// another one with the same number.
type process struct {
	pid    int
	handle int
}

func (p process) close() { _ = unix.Close(p.handle) }

// findNodes returns the PID 1 of every node of this sandbox. There is no file
// with a process number that a crash or a reboot could make stale: a node is
// known by what it runs, where it runs from and what it is in there.
func findNodes(s site) ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	var found []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || !isNode(s, pid) {
			continue
		}
		handle, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("opening process %d: %w", pid, err)
		}
		// The number may have changed hands before the handle was opened.
		if !isNode(s, pid) {
			_ = unix.Close(handle)
			continue
		}
		found = append(found, process{pid: pid, handle: handle})
	}
	return found, nil
}

// isNode tells whether a process is PID 1 of a namespace, runs our program
// (which may have been replaced meanwhile) and sees our state directory: a
// sandbox inside a container has the same paths but other files.
func isNode(s site, pid int) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	program, err := os.Readlink(filepath.Join(proc, "exe"))
	if err != nil || strings.TrimSuffix(program, " (deleted)") != s.program() {
		return false
	}
	if numbers := namespacePIDs(proc); len(numbers) < 2 || numbers[len(numbers)-1] != 1 {
		return false
	}
	ours, err := os.Stat(s.state)
	if err != nil {
		return true
	}
	theirs, err := os.Stat(filepath.Join(proc, "root", s.state))
	return err == nil && (os.SameFile(ours, theirs) || isRemoved(theirs))
}

// isRemoved tells whether a directory is only still there because it is in
// use: somebody removed the state of a running sandbox by hand.
func isRemoved(dir os.FileInfo) bool {
	stat, ok := dir.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// namespacePIDs returns a process's number in every namespace it is visible
// in, ours first and its own last.
func namespacePIDs(proc string) []int {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		var numbers []int
		for field := range strings.FieldsSeq(rest) {
			number, err := strconv.Atoi(field)
			if err != nil {
				return nil
			}
			numbers = append(numbers, number)
		}
		return numbers
	}
	return nil
}

// kill ends a node and waits until the kernel has ended all that ran in it.
func (p process) kill(ctx context.Context) error {
	err := unix.PidfdSendSignal(p.handle, unix.SIGKILL, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", p.pid, err)
	}
	return poll(ctx, 30*time.Second, fmt.Sprintf("process %d to end", p.pid), func(context.Context) error {
		// The handle becomes readable when the last process of the
		// namespace is gone.
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(p.handle), Events: unix.POLLIN}}, 0)
		if err == nil && ready == 0 {
			return errors.New("it still runs")
		}
		return err
	})
}
