package worker

import (
	"context"
	"fmt"
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
		content, err := readBounded(filepath.Join(in.dir, filepath.Base(key)))
		if err != nil {
			return fmt.Errorf("reading file %q of the build context: %w", path, err)
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
