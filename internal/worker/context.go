package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ibshafique/base-images/internal/source"
)

func (in *input) writeContext(ctx context.Context, o FetchOptions) error {
	dir := filepath.Join(o.Workspace, "context")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the build context: %w", err)
	}
	if in.Git != nil {
		return in.checkout(ctx, o.GitCredentials, dir)
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

func (in *input) checkout(ctx context.Context, secret, dir string) error {
	client, err := in.client()
	if err != nil {
		return err
	}
	credentials, err := readCredentials(in.Git.URL, secret)
	if err != nil {
		return err
	}
	cfg := source.Config{Transport: client.HTTPClient().Transport, Dial: client.DialContext, Limits: in.Limits.Source}
	git := source.Git{URL: in.Git.URL, Ref: in.Git.Commit, Path: in.Git.Path, Credentials: credentials}
	return source.CheckoutGit(ctx, cfg, git, dir)
}

// readCredentials reads a mounted Secret, as far as it is about git.
func readCredentials(url, dir string) (*source.Credentials, error) {
	if dir == "" {
		return nil, nil
	}
	data := map[string][]byte{}
	for _, key := range source.SecretKeys {
		// A byte more than is allowed, for CredentialsFromSecret to refuse.
		content, err := readStart(filepath.Join(dir, key), source.MaxSecretKey+1)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the git credentials: %w", err)
		}
		data[key] = content
	}
	return source.CredentialsFromSecret(url, data)
}
