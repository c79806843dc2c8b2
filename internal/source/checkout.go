package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// CheckoutGit writes the files below git.Path at the commit git.Ref (40 hex digits) into
// dir, which is created if needed and emptied first. Files have mode 0644 or 0755,
// directories 0755, and everything has the time of the commit. There is no .git
// directory; attributes, filters and large file storage are not applied.
//
// Symbolic links must stay inside git.Path and submodules are refused. Errors are those
// of Resolver.ResolveGit; after an error dir is empty, if that is possible.
func CheckoutGit(ctx context.Context, config Config, git Git, dir string) (err error) {
	defer func() { err = git.Credentials.hide(err) }()
	req, err := newRequest(git, "")
	if err != nil {
		return err
	}
	if !commitID.MatchString(git.Ref) {
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "ref: %q is not a commit: give 40 hex digits in lower case", git.Ref)
	}
	config = config.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, config.Limits.Timeout.Std())
	defer cancel()
	w, err := newWriter(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = withCleanup(err, w.clear())
		}
		err = withCleanup(err, w.close())
	}()
	return fill(ctx, config, req, git.Ref, dir, w)
}

// withCleanup keeps the kind of the first error: joined to a Terminal, a failed cleanup
// would look terminal too.
func withCleanup(err, cleanup error) error {
	if err != nil {
		return err
	}
	return cleanup
}

// fill fetches a commit into a directory beside its files, which is removed at the end:
// the context volume is the one place where a worker may write.
func fill(ctx context.Context, config Config, req request, commit, dir string, w *writer) error {
	temp, err := os.MkdirTemp(dir, ".fetch-")
	if err != nil {
		return fmt.Errorf("making a directory to fetch into: %w", err)
	}
	defer os.RemoveAll(temp) //nolint:errcheck // after an error the whole directory is emptied
	config.TempDir = temp
	remote, err := connect(ctx, config, req)
	if err != nil {
		return err
	}
	defer remote.close()
	snapshot, err := remote.fetchCommit(ctx, commit, temp)
	if err != nil {
		return err
	}
	tree, err := snapshot.directory(req.path)
	if err != nil {
		return err
	}
	w.when = snapshot.time
	c := &checkout{snapshot: snapshot, limits: config.Limits, w: w}
	if err := c.tree(ctx, ".", tree, 1); err != nil {
		return err
	}
	if err := os.RemoveAll(temp); err != nil {
		return fmt.Errorf("removing what was fetched: %w", err)
	}
	return w.finish()
}

// checkout writes a tree and counts what it writes.
type checkout struct {
	*snapshot
	limits limits.Source
	w      *writer
	files  int
	bytes  limits.Bytes
}

// tree writes the entries of one directory.
func (c *checkout) tree(ctx context.Context, dir string, tree *object.Tree, depth int) error {
	if depth > c.limits.Depth {
		return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "commit %s: %q is more than %d directories deep (limits.source.depth): set spec.source.git.path to a smaller directory", c.commit, dir, c.limits.Depth)
	}
	for i := range tree.Entries {
		entry := &tree.Entries[i]
		name := path.Join(dir, entry.Name)
		if err := ctx.Err(); err != nil {
			return unavailable("writing commit "+c.commit, err)
		}
		if !validName(entry.Name) {
			return pipeline.Terminalf(nameReason(entry.Name), "commit %s: the name %q in directory %q is not allowed: rename it", c.commit, entry.Name, dir)
		}
		if c.files++; c.files > c.limits.Files {
			return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "commit %s has more than %d files (limits.source.files): set spec.source.git.path to a smaller directory", c.commit, c.limits.Files)
		}
		if err := c.entry(ctx, name, entry, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry writes one file, link or directory.
func (c *checkout) entry(ctx context.Context, name string, entry *object.TreeEntry, depth int) error {
	switch entry.Mode {
	case filemode.Dir:
		tree, err := object.GetTree(c.objects, entry.Hash)
		if err != nil {
			return fmt.Errorf("reading directory %q of commit %s: %w", name, c.commit, err)
		}
		if err := c.w.mkdir(name); err != nil {
			return err
		}
		return c.tree(ctx, name, tree, depth+1)
	case filemode.Regular, filemode.Deprecated:
		return c.file(name, entry, 0o644)
	case filemode.Executable:
		return c.file(name, entry, 0o755)
	case filemode.Symlink:
		target, err := c.link(entry, name)
		if err != nil {
			return err
		}
		return c.w.symlink(name, target)
	case filemode.Submodule:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "commit %s: %q is a submodule, which is not supported: copy its files into the repository, or set spec.source.git.path to a directory without it", c.commit, name)
	}
	return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "commit %s: %q has the unknown mode %s: add it again as a file", c.commit, name, entry.Mode)
}

// file writes one file from the fetched objects, without holding it in memory if it is large.
func (c *checkout) file(name string, entry *object.TreeEntry, mode fs.FileMode) (err error) {
	blob, err := c.objects.EncodedObject(plumbing.BlobObject, entry.Hash)
	if err != nil {
		return fmt.Errorf("reading %q of commit %s: %w", name, c.commit, err)
	}
	if c.bytes += limits.Bytes(blob.Size()); c.bytes > c.limits.Bytes {
		return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "commit %s has files of more than %s together (limits.source.bytes): set spec.source.git.path to a smaller directory", c.commit, c.limits.Bytes)
	}
	r, err := blob.Reader()
	if err != nil {
		return fmt.Errorf("reading %q of commit %s: %w", name, c.commit, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return c.w.file(name, mode, blob.Size(), r)
}
