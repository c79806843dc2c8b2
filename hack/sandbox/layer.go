//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// imageTime is when all our images say they were made: the same content shall
// have the same digest on every day.
var imageTime = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// entry is a file, a link or a directory of an image.
type entry struct {
	path     string
	mode     int64
	uid, gid int
	link     string // target, for a symbolic link
	content  []byte
	dir      bool
}

// tree collects the entries of one layer.
type tree struct{ entries map[string]entry }

func newTree() *tree { return &tree{entries: map[string]entry{}} }

func (t *tree) add(e entry) {
	e.path = strings.TrimPrefix(path.Clean("/"+e.path), "/")
	t.entries[e.path] = e
}

func (t *tree) file(name string, mode int64, content []byte) {
	t.add(entry{path: name, mode: mode, content: content})
}

func (t *tree) text(name, content string) { t.file(name, 0o644, []byte(content)) }

func (t *tree) directory(name string, mode int64) { t.add(entry{path: name, mode: mode, dir: true}) }

func (t *tree) symlink(name, target string) {
	t.add(entry{path: name, mode: 0o777, link: target})
}

func (t *tree) has(name string) bool {
	_, ok := t.entries[name]
	return ok
}

// copyFile takes a file from the disk.
func (t *tree) copyFile(from, to string, mode int64) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("adding %s to an image: %w", to, err)
	}
	t.file(to, mode, content)
	return nil
}

// copyTree takes a directory from the disk, with its links.
func (t *tree) copyTree(from, to string) error {
	return filepath.WalkDir(from, func(name string, found os.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("adding %s to an image: %w", from, err)
		}
		target := path.Join(to, strings.TrimPrefix(name, from))
		switch {
		case found.IsDir():
			t.directory(target, 0o755)
			return nil
		case found.Type()&os.ModeSymlink != 0:
			link, err := os.Readlink(name)
			t.symlink(target, link)
			return err
		default:
			info, err := found.Info()
			if err != nil {
				return err
			}
			return t.copyFile(name, target, int64(info.Mode().Perm()))
		}
	})
}

// sorted lists the entries with every parent before its children.
func (t *tree) sorted() []entry {
	all := map[string]entry{}
	for name, e := range t.entries {
		all[name] = e
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := t.entries[dir]; !ok {
				all[dir] = entry{path: dir, mode: 0o755, dir: true}
			}
		}
	}
	var list []entry
	for _, e := range all {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	return list
}

// tar writes the same bytes for the same entries.
func (t *tree) tar() ([]byte, error) {
	var out bytes.Buffer
	writer := tar.NewWriter(&out)
	for _, e := range t.sorted() {
		header := &tar.Header{Name: e.path, Mode: e.mode, Uid: e.uid, Gid: e.gid, ModTime: imageTime, Size: int64(len(e.content)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		switch {
		case e.dir:
			header.Name, header.Typeflag = e.path+"/", tar.TypeDir
		case e.link != "":
			header.Linkname, header.Typeflag = e.link, tar.TypeSymlink
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("writing a layer: %w", err)
		}
		if _, err := writer.Write(e.content); err != nil {
			return nil, fmt.Errorf("writing a layer: %w", err)
		}
	}
	return out.Bytes(), writer.Close()
}

// newImage makes an OCI image of one layer for linux and an architecture.
func newImage(t *tree, architecture string, config v1.Config) (v1.Image, error) {
	content, err := t.tar()
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: imageTime}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: created, CreatedBy: "basewright sandbox"},
	})
	if err != nil {
		return nil, fmt.Errorf("adding a layer: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading an image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created, file.Config = "linux", architecture, created, config
	return mutate.ConfigFile(image, file)
}
