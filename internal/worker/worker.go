// Package worker is what runs in the containers fetch and push of a build pod.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// TerminationLog is where a container leaves its report for the operator.
const TerminationLog = "/dev/termination-log"

const maxInputFile = 1 << 20

// Report writes what came of a command to w, as the operator reads it.
func Report(w io.Writer, digest string, failure error) error {
	r := pipeline.WorkerReport{Digest: digest}
	if failure != nil {
		r.Reason, r.Terminal = reasonOf(failure)
		r.Message = truncate(failure.Error(), 2048)
	}
	if err := json.NewEncoder(w).Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func reasonOf(err error) (reason string, terminal bool) {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return t.Reason, true
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return t.Reason, false
	}
	return pipeline.ReasonInternalError, false
}

func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}

// input is a build's input as it is mounted.
type input struct {
	pipeline.WorkerInput
	dir string
	ca  []byte
}

func readInput(dir string) (*input, error) {
	in := &input{dir: dir}
	raw, err := readBounded(filepath.Join(dir, pipeline.InputFile))
	if err != nil {
		return nil, fmt.Errorf("reading the build's input: %w", err)
	}
	if err := json.Unmarshal(raw, &in.WorkerInput); err != nil {
		return nil, fmt.Errorf("reading the build's input: %w", err)
	}
	in.ca, err = readBounded(filepath.Join(dir, pipeline.CAFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the build's input: %w", err)
	}
	return in, nil
}

func (in *input) client() (*registry.Client, error) {
	return registry.New(registry.Config{CABundle: in.ca, PrivateHosts: in.PrivateHosts, UserAgent: "basewright-worker"})
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxInputFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInputFile {
		return nil, fmt.Errorf("%s has more than %d bytes", filepath.Base(path), maxInputFile)
	}
	return data, nil
}

// FetchOptions are the directories of the container fetch.
type FetchOptions struct {
	// Input is where the build's input is mounted.
	Input string
	// Workspace gets context/, Dockerfile and, with a CA bundle, certs/ca.crt.
	Workspace string
	Platform  pipeline.Platform
}

// Fetch writes the build context and the Dockerfile of a platform to the workspace.
// It is safe to repeat. Errors are pipeline faults.
func Fetch(ctx context.Context, o FetchOptions) error {
	in, err := readInput(o.Input)
	if err != nil {
		return err
	}
	if err := in.writeContext(ctx, o.Workspace); err != nil {
		return err
	}
	dockerfile, err := readBounded(filepath.Join(o.Input, pipeline.DockerfileKey(o.Platform)))
	if err != nil {
		return fmt.Errorf("reading the Dockerfile for %s: %w", o.Platform, err)
	}
	if err := os.WriteFile(filepath.Join(o.Workspace, "Dockerfile"), dockerfile, 0o644); err != nil {
		return fmt.Errorf("writing the Dockerfile: %w", err)
	}
	return in.writeCA(o.Workspace)
}

func (in *input) writeCA(workspace string) error {
	if len(in.ca) == 0 {
		return nil
	}
	certs := filepath.Join(workspace, "certs")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		return fmt.Errorf("writing the CA bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(certs, pipeline.CAFile), in.ca, 0o644); err != nil {
		return fmt.Errorf("writing the CA bundle: %w", err)
	}
	return nil
}
