package vulndb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxEntries of a database's archive. Trivy's has two, Grype's one.
	maxEntries = 100
	// maxWindow is the memory that a zstd frame may ask for.
	maxWindow = 128 << 20
	// ratioFrom is how much is read before the ratio counts: empty pages of databases are common.
	ratioFrom = 64 << 20
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
	xzMagic   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
)

var errXZ = errors.New("it is compressed with xz: give it with gzip or zstd")

// walk calls visit for the regular files of an archive, whichever way it is compressed, and reads it to its end: a
// checksum may be there. An error is of the disk, or a fault with reason VulnerabilityDatabaseInvalid.
func (d *database) walk(file string, visit func(name string, content io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	in := &counter{r: f}
	plain, err := decompress(in)
	if err == nil {
		defer func() { _ = plain.Close() }()
		out := &meter{r: plain, in: in, most: d.limits.Scan.ExpandedBytes, ratio: d.limits.Registry.Ratio}
		err = entries(tar.NewReader(out), visit)
		if err == nil {
			_, err = io.Copy(io.Discard, out)
		}
		if out.err != nil {
			err = out.err // the archive reader only sees that something ended
		}
	}
	return unreadable(err)
}

// unreadable leaves alone what is said already, and errors of the disk.
func unreadable(err error) error {
	if err == nil || ofDisk(err) || pipeline.IsTerminal(err) {
		return err
	}
	return invalidf("it can't be read: %w", err)
}

func entries(archive *tar.Reader, visit func(string, io.Reader) error) error {
	for range maxEntries {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := visit(path.Clean(header.Name), archive); err != nil {
			return err
		}
	}
	return errors.New("its archive has more than 100 entries")
}

// decompress looks at the first bytes: names and media types are what others call it.
func decompress(in io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(in, 64<<10)
	head, _ := r.Peek(len(xzMagic))
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(r)
	case bytes.HasPrefix(head, zstdMagic):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	case bytes.Equal(head, xzMagic):
		return nil, errXZ
	}
	return io.NopCloser(r), nil
}

// counter counts what is read of the file.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// meter bounds what comes out of the decompressor.
type meter struct {
	r     io.Reader
	in    *counter
	most  limits.Bytes
	ratio int
	n     int64
	err   error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	switch {
	case m.n > int64(m.most):
		m.err = invalidf("decompressed it has more than %s (limits.scan.expandedBytes)", m.most)
	case m.n > ratioFrom && m.n/max(m.in.n, 1) > int64(m.ratio):
		m.err = invalidf("it is more than %d times its compressed size (limits.registry.ratio)", m.ratio)
	}
	if m.err != nil {
		return 0, m.err
	}
	return n, err
}
