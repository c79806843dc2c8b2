package source

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxLink is the longest target of a symbolic link, as on Linux.
	maxLink = 4095
	// maxLinks is how many symbolic links are followed to find a Dockerfile.
	maxLinks = 16
)

// snapshot is one commit with its files.
type snapshot struct {
	objects storer.EncodedObjectStorer
	commit  string
	time    time.Time
	root    *object.Tree
}

// open reads a commit. The name of a commit is checked against its content once more,
// because everything below depends on it.
func (r *remote) open(objects storer.EncodedObjectStorer, hash plumbing.Hash) (*snapshot, error) {
	encoded, err := objects.EncodedObject(plumbing.CommitObject, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.ref: %s is not a commit of %s: name a commit, or a branch or tag of one", hash, r.url)
	}
	if err != nil {
		return nil, r.broken(err)
	}
	content, err := readAll(encoded)
	if err != nil {
		return nil, r.broken(err)
	}
	if got := plumbing.ComputeHash(plumbing.CommitObject, content); got != hash {
		return nil, r.broken(fmt.Errorf("commit %s has the content of %s", hash, got))
	}
	commit, err := object.DecodeCommit(objects, encoded)
	if err != nil {
		return nil, r.broken(err)
	}
	root, err := commit.Tree()
	if err != nil {
		return nil, r.broken(err)
	}
	when := commit.Committer.When.UTC()
	if when.Unix() < 0 || when.Year() > 9999 {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.ref: commit %s claims to be from the year %d: build another commit", hash, when.Year())
	}
	return &snapshot{objects: objects, commit: hash.String(), time: when, root: root}, nil
}

// directory returns the tree of the context.
func (s *snapshot) directory(dir string) (*object.Tree, error) {
	tree := s.root
	if dir == "." {
		return tree, nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		entry, err := find(tree, name)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			return nil, pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.path: commit %s has no directory %q: check the path and the ref", s.commit, dir)
		}
		if entry.Mode != filemode.Dir {
			return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.path: in commit %s, %q of %q is not a directory: name a directory that is neither a link nor a submodule", s.commit, name, dir)
		}
		if tree, err = object.GetTree(s.objects, entry.Hash); err != nil {
			return nil, fmt.Errorf("reading directory %q of commit %s: %w", dir, s.commit, err)
		}
	}
	return tree, nil
}

// find returns the entry of a directory with a name, or nil.
func find(tree *object.Tree, name string) (*object.TreeEntry, error) {
	entry, err := tree.FindEntry(name)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return nil, nil
	}
	return entry, err
}

// dockerfile reads a Dockerfile below the context directory. It follows symbolic links as
// long as they stay in the context.
func (s *snapshot) dockerfile(dir, name string) ([]byte, error) {
	context, err := s.directory(dir)
	if err != nil {
		return nil, err
	}
	at := name
	for range maxLinks {
		entry, next, err := s.step(context, at)
		switch {
		case err != nil:
			return nil, err
		case entry == nil:
			return nil, pipeline.Terminalf(pipeline.ReasonDockerfileNotFound, "spec.dockerfile: commit %s has no file %q in directory %q: add it, or set spec.dockerfile and spec.source.git.path", s.commit, at, dir)
		case next == "":
			return s.content(entry, at)
		}
		at = next
	}
	return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.dockerfile: in commit %s, %q leads through more than %d links: name the file itself", s.commit, name, maxLinks)
}

// step walks to a file. If it meets a link it returns the path with the link replaced.
func (s *snapshot) step(tree *object.Tree, name string) (*object.TreeEntry, string, error) {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		entry, err := find(tree, part)
		if entry == nil || err != nil {
			return nil, "", err
		}
		last := i == len(parts)-1
		switch {
		case entry.Mode == filemode.Symlink:
			target, err := s.link(entry, path.Join(parts[:i+1]...))
			return entry, path.Join(path.Join(parts[:i]...), target, path.Join(parts[i+1:]...)), err
		case entry.Mode.IsFile() && last:
			return entry, "", nil
		case entry.Mode != filemode.Dir || last:
			return nil, "", nil
		}
		if tree, err = object.GetTree(s.objects, entry.Hash); err != nil {
			return nil, "", fmt.Errorf("reading a directory of commit %s: %w", s.commit, err)
		}
	}
	return nil, "", nil
}

// link reads the target of a link and checks that it stays in the context.
func (s *snapshot) link(entry *object.TreeEntry, name string) (string, error) {
	content, err := s.read(entry, maxLink)
	if err != nil {
		return "", err
	}
	target := string(content)
	if problem := checkLink(name, target); problem != "" {
		return "", pipeline.Terminalf(pipeline.ReasonSourcePathEscapes, "commit %s: the link %q points to %q, %s: change the link", s.commit, name, target, problem)
	}
	return target, nil
}

// checkLink says what is wrong with a link, or nothing. After a name, ".." is refused:
// if that name is a link as well, ".." would start from where it leads, and the two
// together could leave the context although each of them stays.
func checkLink(name, target string) string {
	depth, named := strings.Count(name, "/"), false
	if target == "" || target[0] == '/' || strings.ContainsRune(target, 0) {
		return "which is not a relative path"
	}
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part == ".." && named:
			return "which has .. after a name"
		case part == "..":
			depth--
		default:
			named = true
		}
	}
	if depth < 0 {
		return "which is outside of the context"
	}
	return ""
}

// content reads a Dockerfile.
func (s *snapshot) content(entry *object.TreeEntry, name string) ([]byte, error) {
	content, err := s.read(entry, maxDockerfile)
	if err != nil {
		return nil, fmt.Errorf("spec.dockerfile: %q: %w", name, err)
	}
	return content, nil
}

// read returns a small file.
func (s *snapshot) read(entry *object.TreeEntry, limit int64) ([]byte, error) {
	blob, err := s.objects.EncodedObject(plumbing.BlobObject, entry.Hash)
	if err != nil {
		return nil, fmt.Errorf("reading %q of commit %s: %w", entry.Name, s.commit, err)
	}
	if blob.Size() > limit {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "commit %s: %q has %d bytes: at most %d are read", s.commit, entry.Name, blob.Size(), limit)
	}
	return readAll(blob)
}

func readAll(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // it is only read
	return io.ReadAll(io.LimitReader(r, o.Size()))
}
