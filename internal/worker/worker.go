// Package worker is what runs in the containers fetch and push of a build pod.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	maxInput     = 2 << 20
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
	// keys of the ConfigMap, read once: it may change under us.
	keys map[string][]byte
	// loopback allows servers on this machine, for tests.
	loopback bool
}

// readInput reads a build's input, which must be the one that the operator made.
func readInput(dir, digest string, loopback bool) (*input, error) {
	keys, err := readKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the build's input: %w", err)
	}
	if got := pipeline.InputDigest(keys); got != digest {
		return nil, pipeline.Terminalf(pipeline.ReasonInputChanged, "the build's input is %s and not %q, which the operator made: somebody has changed its ConfigMap", got, digest)
	}
	in := &input{keys: keys, loopback: loopback}
	if err := json.Unmarshal(keys[pipeline.InputFile], &in.WorkerInput); err != nil {
		return nil, fmt.Errorf("reading the build's input: %w", err)
	}
	return in, nil
}

// readKeys reads the files of a mounted ConfigMap. Names that start with two dots are the kubelet's own.
func readKeys(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	keys, total := map[string][]byte{}, 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		content, err := readBounded(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if total += len(content); total > maxInput {
			return nil, fmt.Errorf("it has more than %d bytes", maxInput)
		}
		keys[e.Name()] = content
	}
	return keys, nil
}

func (in *input) client() (*registry.Client, error) {
	return registry.New(registry.Config{
		CABundle:       in.keys[pipeline.CAFile],
		PrivateHosts:   in.PrivateHosts,
		TokenHosts:     in.TokenHosts,
		UserAgent:      "basewright-worker",
		Limits:         in.Limits.Registry,
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
	// InputDigest is what the input must be, see pipeline.InputDigest.
	InputDigest string
	// Workspace gets context/, Dockerfile and, with a CA bundle, certs/ca.crt.
	Workspace string
	Platform  pipeline.Platform

	loopback bool
}

// Fetch writes the build context and the Dockerfile of a platform to the workspace.
// It is safe to repeat. Errors are pipeline faults, but for those of our own input and disk.
func Fetch(ctx context.Context, o FetchOptions) error {
	in, err := readInput(o.Input, o.InputDigest, o.loopback)
	if err != nil {
		return err
	}
	if err := in.writeContext(ctx, o.Workspace); err != nil {
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
