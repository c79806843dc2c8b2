package source

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// MaxFiles is how many files an inline or ConfigMap source may have.
	MaxFiles = 256
	// MaxFileBytes is how large all of them may be together, with their names. A
	// ConfigMap cannot hold more than 1 MiB.
	MaxFileBytes = 512 << 10
)

// ResolveFiles returns the revision of an inline or ConfigMap source. The names of files
// are relative slash paths; dockerfile is one of them, "Dockerfile" if empty. Changed is
// when the source last changed.
//
// The ID is "sha256:<hex>" of "basewright.dev/files/v1\n" followed by, for each file in
// the byte order of names, "<length of name>:<name><length of content>:<content>" with
// lengths in decimal. Neither order nor any choice of names gives two sources one ID.
//
// Errors are Terminal with reason SourceInvalid, SourcePathEscapes, SourceTooLarge or DockerfileNotFound.
func ResolveFiles(files map[string][]byte, dockerfile string, changed time.Time) (pipeline.Revision, error) {
	name, err := cleanPath("spec.dockerfile", cmp.Or(dockerfile, "Dockerfile"))
	if err != nil {
		return pipeline.Revision{}, err
	}
	names, err := checkFiles(files)
	if err != nil {
		return pipeline.Revision{}, err
	}
	content, ok := files[name]
	if !ok {
		return pipeline.Revision{}, pipeline.Terminalf(pipeline.ReasonDockerfileNotFound, "spec.dockerfile: the source has no file %q, only %q: add it or name another", name, names)
	}
	if len(content) > maxDockerfile {
		return pipeline.Revision{}, pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "spec.dockerfile: %q has %d bytes: at most %d are read", name, len(content), maxDockerfile)
	}
	return pipeline.Revision{ID: contentID(files, names), Time: changed.UTC(), Dockerfile: bytes.Clone(content)}, nil
}

// contentID hashes names and contents; see ResolveFiles.
func contentID(files map[string][]byte, names []string) string {
	h := sha256.New() // whose Write never fails
	h.Write([]byte("basewright.dev/files/v1\n"))
	for _, name := range names {
		h.Write(fmt.Appendf(nil, "%d:%s%d:", len(name), name, len(files[name])))
		h.Write(files[name])
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}

// checkFiles returns the names in order if all of them can be written.
func checkFiles(files map[string][]byte) ([]string, error) {
	if len(files) > MaxFiles {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "the source has %d files: at most %d are read", len(files), MaxFiles)
	}
	names := slices.Sorted(maps.Keys(files))
	total := 0
	for _, name := range names {
		if cleaned, err := cleanPath("source file", name); err != nil || cleaned != name || name == "." {
			return nil, pipeline.Terminalf(nameReason(name), "the source has a file named %q: use a relative path with slashes, without ..", name)
		}
		if total += len(name) + len(files[name]); total > MaxFileBytes {
			return nil, pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "the files of the source have more than %d bytes: use a git source", MaxFileBytes)
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := files[dir]; ok {
				return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "the source has %q as a file and as the directory of %q: rename one", dir, name)
			}
		}
	}
	return names, nil
}

// WriteFiles writes an inline or ConfigMap source into dir, which is created if needed
// and emptied first. Files have mode 0644, directories 0755, and everything has the time
// changed. Errors are those of ResolveFiles, or errors of the local disk.
func WriteFiles(files map[string][]byte, dir string, changed time.Time) (err error) {
	names, err := checkFiles(files)
	if err != nil {
		return err
	}
	w, err := newWriter(dir)
	if err != nil {
		return err
	}
	w.when = changed
	defer func() { err = withCleanup(err, w.close()) }()
	for _, name := range names {
		if err := w.parents(name); err != nil {
			return err
		}
		if err := w.file(name, 0o644, int64(len(files[name])), bytes.NewReader(files[name])); err != nil {
			return err
		}
	}
	return w.finish()
}

// parents makes the directories above a file that are not there yet.
func (w *writer) parents(name string) error {
	parts := strings.Split(name, "/")
	for i := 1; i < len(parts); i++ {
		dir := strings.Join(parts[:i], "/")
		if _, err := w.root.Lstat(dir); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return writeError(dir, err)
		}
		if err := w.mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}
