//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cacheEntry is one directory of the cache, name-key.
type cacheEntry struct {
	name, key string
	// what is said while it is being made.
	what string
	// keep is how long other versions stay after they were used last.
	keep time.Duration
	fill func(temporary string) error
}

// get returns the directory. If it is not there, fill makes it, once, however
// many sandboxes ask for it at the same time.
func (e cacheEntry) get(ctx context.Context, s site, p *progress) (string, error) {
	dir := filepath.Join(s.cache, e.name+"-"+e.key)
	if exists(dir) {
		return dir, e.prune(s.cache, time.Now())
	}
	unlock, err := lock(ctx, p, filepath.Join(s.cache, "locks", e.name))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(dir) {
		return dir, nil
	}
	if err := p.during(e.what, func() error { return makeWhole(dir, e.fill) }); err != nil {
		return "", err
	}
	return dir, e.prune(s.cache, time.Now())
}

// makeWhole makes a directory by filling it elsewhere first, so that it is
// either complete or not there.
func makeWhole(dir string, fill func(temporary string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-"+filepath.Base(dir)+"-")
	if err != nil {
		return err
	}
	if err := fill(temporary); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	// Programs that do not run as root have to be able to read the result.
	if err := os.Chmod(temporary, 0o755); err != nil {
		return errors.Join(err, os.RemoveAll(temporary))
	}
	return os.Rename(temporary, dir)
}

// keepBuilds is how long a build that nothing asks for stays: two branches
// with different versions take turns without building again.
const keepBuilds = 14 * 24 * time.Hour

// prune marks the entry as used and removes other versions of it, with what an
// interrupted fill left.
func (e cacheEntry) prune(cache string, now time.Time) error {
	used := e.name + "-" + e.key
	if err := os.Chtimes(filepath.Join(cache, used), now, now); err != nil {
		return fmt.Errorf("marking %s as used: %w", used, err)
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return fmt.Errorf("reading the cache: %w", err)
	}
	var old []string
	for _, entry := range entries {
		if entry.Name() == used || !isVersionOf(strings.TrimPrefix(entry.Name(), ".tmp-"), e.name) {
			continue
		}
		info, err := entry.Info()
		if err == nil && now.Sub(info.ModTime()) > e.keep {
			old = append(old, filepath.Join(cache, entry.Name()))
		}
	}
	return removeAll(old...)
}

// isVersionOf tells whether entry is name, a dash and a hash, with or without
// the random end of a temporary name.
func isVersionOf(entry, name string) bool {
	rest, ok := strings.CutPrefix(entry, name+"-")
	if !ok {
		return false
	}
	hash, _, _ := strings.Cut(rest, "-")
	_, err := hex.DecodeString(hash)
	return err == nil && len(hash) == 12
}

// hashFile adds a file's name and content to sum.
func hashFile(sum io.Writer, path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(sum, "%s %d\n%s\n", filepath.Base(path), len(content), content)
	return err
}
