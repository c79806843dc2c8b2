package worker

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ibshafique/base-images/internal/source"
)

func (in *input) writeContext(ctx context.Context, workspace string) error {
	dir := filepath.Join(workspace, "context")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the build context: %w", err)
	}
	if in.Git != nil {
		return in.checkout(ctx, workspace, dir)
	}
	files := map[string][]byte{}
	for path, key := range in.Files {
		content, ok := in.keys[key]
		if !ok {
			return fmt.Errorf("the build's input has no key %q for file %q: %w", key, path, fs.ErrNotExist)
		}
		files[path] = content
	}
	return source.WriteFiles(files, dir, in.SourceTime)
}

func (in *input) checkout(ctx context.Context, workspace, dir string) error {
	client, err := in.client()
	if err != nil {
		return err
	}
	// Packs are spooled in the workspace: the root file system is read-only.
	tmp, err := os.MkdirTemp(workspace, ".fetch-")
	if err != nil {
		return fmt.Errorf("making a directory for packs: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	cfg := source.Config{Transport: client.HTTPClient().Transport, TempDir: tmp}
	return source.CheckoutGit(ctx, cfg, source.Git{URL: in.Git.URL, Ref: in.Git.Commit, Path: in.Git.Path}, dir)
}
