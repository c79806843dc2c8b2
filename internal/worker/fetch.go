package worker

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// FetchOptions are the directories of the container fetch.
type FetchOptions struct {
	// Input is where the build's input is mounted.
	Input string
	// InputDigest is what the input must be, see pipeline.InputDigest.
	InputDigest string
	// Workspace gets context/, Dockerfile and, with a CA bundle, certs/ca.crt.
	Workspace string
	// GitCredentials is where the Secret for git is mounted; empty to fetch without.
	GitCredentials string
	Platform       pipeline.Platform

	loopback bool
	retrier  retrier
}

// Fetch writes the build context and the Dockerfile of a platform to the workspace, and tries again what failed in
// passing. It is safe to repeat. Errors are pipeline faults, but for those of our own input and disk.
func Fetch(ctx context.Context, o FetchOptions) error {
	return o.retrier.do(ctx, func() error { return fetch(ctx, o) })
}

func fetch(ctx context.Context, o FetchOptions) error {
	in, err := readInput(o.Input, o.InputDigest, o.loopback)
	if err != nil {
		return err
	}
	if err := in.writeContext(ctx, o); err != nil {
		return err
	}
	dockerfile, ok := in.keys[pipeline.DockerfileKey(o.Platform)]
	if !ok {
		return fmt.Errorf("the build's input has no Dockerfile for %s: %w", o.Platform, fs.ErrNotExist)
	}
	if err := os.WriteFile(filepath.Join(o.Workspace, "Dockerfile"), dockerfile, 0o644); err != nil {
		return fmt.Errorf("writing the Dockerfile: %w", err)
	}
	return in.writeCA(o.Workspace)
}

func (in *input) writeCA(workspace string) error {
	ca := in.keys[pipeline.CAFile]
	if len(ca) == 0 {
		return nil
	}
	certs := filepath.Join(workspace, "certs")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		return fmt.Errorf("writing the CA bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(certs, pipeline.CAFile), ca, 0o644); err != nil {
		return fmt.Errorf("writing the CA bundle: %w", err)
	}
	return nil
}
