package trustroot

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

// pollFile is how often a file is read again. It is read as a whole: the kubelet replaces a ConfigMap by swapping a
// symbolic link above the file, which no watch of the file itself would see.
const pollFile = time.Minute

// FromFile keeps the trust root that is in a file (trusted_root.json), and takes over a changed one within a minute. A
// file that is missing or wrong now is an error; one that is so later leaves the last good one in force.
func FromFile(path string, o Options) (*Root, error) {
	r := newRoot(file(path), o)
	first, err := r.load(context.Background())
	if err != nil {
		return nil, fmt.Errorf("reading the trust root: %w", err)
	}
	r.state.Store(&state{snapshot: first})
	return r, nil
}

type file string

func (f file) String() string { return string(f) }

func (f file) pause(int) time.Duration { return pollFile }

func (f file) read(context.Context) ([]byte, error) {
	data, err := readFile(string(f))
	if err != nil {
		return nil, unavailable("%w", err)
	}
	return data, nil
}

// readFile returns one byte more than maxBytes of a file that is larger. What is no file, such as a pipe, could make
// wait for ever.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}
