//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long a command waits for another one: a cold up takes its
// time, and two of them in a row are better than one and a failure.
const lockWait = 30 * time.Minute

// lock takes an exclusive lock on path and returns how to give it back.
func lock(ctx context.Context, p *progress, path string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("making the directory of %s: %w", path, err)
	}
	held, err := tryLock(path)
	if err == nil {
		return func() { _ = held.Close() }, nil
	}
	p.say("waiting for another sandbox command to end")
	err = poll(ctx, lockWait, "the lock "+path, func(context.Context) error {
		held, err = tryLock(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = held.Close() }, nil
}

func tryLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		// The holder of the lock, a down, removed the directory just now.
		_ = os.MkdirAll(filepath.Dir(path), 0o711)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), file.Close())
	}
	// Down removes the file that it has locked: a lock on a removed file
	// keeps nobody out.
	if !samePath(file, path) {
		return nil, errors.Join(fmt.Errorf("%s was replaced while it was being locked", path), file.Close())
	}
	return file, nil
}

func samePath(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}
