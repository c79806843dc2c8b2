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
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// TerminationLog is where a container leaves its report for the operator.
const TerminationLog = "/dev/termination-log"

const (
	maxInputFile = 1 << 20
	// maxMessage is what the operator shows of a failure.
	maxMessage = 1024
)

// Report writes what came of a command to w, as the operator reads it.
func Report(w io.Writer, digest string, failure error) error {
	raw, err := encodeReport(digest, failure)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// encodeReport shortens the message until it fits: JSON writes some characters with six.
func encodeReport(digest string, failure error) ([]byte, error) {
	r := pipeline.WorkerReport{Digest: digest}
	if failure == nil {
		return json.Marshal(r)
	}
	r.Reason = reasonOf(failure)
	for limit := maxMessage; ; limit /= 2 {
		r.Message = truncate(failure.Error(), limit)
		raw, err := json.Marshal(r)
		if err != nil || len(raw) <= pipeline.MaxReport || limit == 0 {
			return raw, err
		}
	}
}

func reasonOf(err error) string {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return t.Reason
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return t.Reason
	}
	return pipeline.ReasonInternalError
}

// truncate keeps the start of a text, at most limit bytes of whole characters.
func truncate(s string, limit int) string {
	const cut = "…"
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:max(0, limit-len(cut))], "") + cut
}

// input is a build's input as it is mounted.
type input struct {
	pipeline.WorkerInput
	dir string
	ca  []byte
	// loopback allows servers on this machine, for tests.
	loopback bool
}

func readInput(dir string, loopback bool) (*input, error) {
	in := &input{dir: dir, loopback: loopback}
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
	return registry.New(registry.Config{
		CABundle:       in.ca,
		PrivateHosts:   in.PrivateHosts,
		TokenHosts:     in.TokenHosts,
		UserAgent:      "basewright-worker",
		UnsafeLoopback: in.loopback,
	})
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

	loopback bool
}

// Fetch writes the build context and the Dockerfile of a platform to the workspace.
// It is safe to repeat. Errors are pipeline faults, but for those of our own input and disk.
func Fetch(ctx context.Context, o FetchOptions) error {
	in, err := readInput(o.Input, o.loopback)
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
