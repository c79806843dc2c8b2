package inspect

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// ratioFrom is how much of a layer is read before its ratio counts: small files
	// of zeros are common and harmless.
	ratioFrom = 64 << 20
	// maxWindow is the memory that a zstd frame may ask for (RFC 8878, section
	// 3.1.1.1.2 recommends to support 8 MiB; high levels use up to 128).
	maxWindow = 128 << 20
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress looks at the first bytes: registries and builders disagree on media types.
func decompress(in io.Reader) (io.ReadCloser, error) {
	r := bufio.NewReaderSize(in, 64<<10)
	head, _ := r.Peek(len(zstdMagic))
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(r)
	case bytes.Equal(head, zstdMagic):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// source counts what comes from the registry, and keeps the error with which it ended.
type source struct {
	ctx context.Context
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

// meter bounds what comes out of the decompressor.
type meter struct {
	r      io.Reader
	in     *source
	limits limits.Registry
	total  *int64
	n      int64
	err    error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	*m.total += int64(n)
	switch {
	case *m.total > int64(m.limits.ImageBytes):
		m.err = &registry.TooLargeError{What: "the decompressed image", Limit: int64(m.limits.ImageBytes)}
	case m.n > ratioFrom && m.n/max(m.in.n, 1) > int64(m.limits.Ratio):
		m.err = &registry.TooLargeError{What: "the ratio of a decompressed layer to its compressed size", Limit: int64(m.limits.Ratio)}
	}
	if m.err != nil {
		return 0, m.err
	}
	return n, err
}
