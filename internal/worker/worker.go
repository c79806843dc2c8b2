// Package worker is what runs in the containers fetch and push of a build pod, and prepare and report of a scan.
package worker

import (
	"encoding/json"
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
	maxInput     = 2 << 20
)

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

// readBounded reads a file that must not be larger than a key of our input.
func readBounded(path string) ([]byte, error) {
	data, err := readStart(path, maxInputFile+1)
	if err != nil {
		return nil, err
	}
	if len(data) > maxInputFile {
		return nil, fmt.Errorf("%s has more than %d bytes", filepath.Base(path), maxInputFile)
	}
	return data, nil
}

// readStart reads at most limit bytes of a file.
func readStart(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}
