package inspect

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// scan walks the layers of one image from the top down.
type scan struct {
	platform pipeline.Platform
	limits   limits.Registry
	hidden   *hidden
	// linked are targets of hard links that show although the target may not.
	linked map[string]struct{}
	// lowest is true for the last layer: what it hides does not matter.
	lowest bool
	facts  Facts
}

func (s *scan) layer(ctx context.Context, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return registry.Classify("reading a layer", err)
	}
	doing := "reading layer " + digest.String()
	compressed, err := layer.Compressed()
	if err != nil {
		return registry.Classify(doing, err)
	}
	defer func() { _ = compressed.Close() }()
	in := &source{ctx: ctx, r: compressed}
	err = s.archive(in)
	if _, ok := errors.AsType[*registry.TooLargeError](err); ok {
		return registry.Classify(doing, err)
	}
	// A verdict is only as good as the bytes: the digest is checked at their end.
	_, _ = io.Copy(io.Discard, in)
	s.facts.CompressedBytes += in.n
	if in.err != nil && !errors.Is(in.err, io.EOF) {
		return unreadable(doing, in.err)
	}
	return err
}

// unreadable classifies an error of the stream. One without a type is a layer that does
// not match its digest or size: another read may.
func unreadable(doing string, err error) error {
	err = registry.Classify(doing, err)
	_, transient := errors.AsType[*pipeline.Transient](err)
	if transient || pipeline.IsTerminal(err) || errors.Is(err, context.Canceled) {
		return err
	}
	return &pipeline.Transient{Reason: pipeline.ReasonDigestMismatch, Err: err}
}

func (s *scan) archive(in *source) error {
	plain, err := decompress(in)
	if err != nil {
		return &formatError{err}
	}
	defer func() { _ = plain.Close() }()
	counted := &meter{r: plain, in: in, limits: s.limits, total: &s.facts.Bytes}
	err = s.entries(tar.NewReader(counted))
	if counted.err != nil {
		return counted.err // the archive reader only sees that something ended
	}
	return err
}

func (s *scan) entries(archive *tar.Reader) error {
	seen := &layerPaths{paths: map[string]bool{}, before: s.hidden.bytes, forget: s.lowest}
	foreign := map[string]*foreignError{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			s.hidden.add(seen)
			return nil
		}
		if err != nil {
			return &formatError{fmt.Errorf("reading the archive: %w", err)}
		}
		if s.facts.Entries++; s.facts.Entries > s.limits.Entries {
			return &registry.TooLargeError{What: "the number of archive entries", Limit: int64(s.limits.Entries)}
		}
		if err := s.entry(archive, header, seen, foreign); err != nil {
			return err
		}
	}
}

// entry checks one entry. A hidden foreign file is remembered, because a hard link to it
// may follow that is not hidden.
func (s *scan) entry(archive io.Reader, header *tar.Header, seen *layerPaths, foreign map[string]*foreignError) error {
	name := clean(header.Name)
	marker, err := seen.mark(name, header.Typeflag == tar.TypeDir)
	if marker || err != nil {
		return err
	}
	shown := !s.hidden.hides(name)
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return s.file(archive, name, shown, foreign)
	case tar.TypeLink:
		return s.link(clean(header.Linkname), shown, seen, foreign)
	}
	return nil
}

func (s *scan) file(archive io.Reader, name string, shown bool, foreign map[string]*foreignError) error {
	var head [elfHeader]byte
	n, err := io.ReadFull(archive, head[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return &formatError{err}
	}
	m, order, ok := machine(head[:n])
	if !ok {
		return nil
	}
	_, linked := s.linked[name]
	shown = shown || linked
	if shown {
		s.facts.ELFFiles++
	}
	if runs(s.platform, m, order) {
		return nil
	}
	found := &foreignError{path: name, machine: m, order: order}
	if shown {
		return found
	}
	foreign[name] = found
	return nil
}

func (s *scan) link(target string, shown bool, seen *layerPaths, foreign map[string]*foreignError) error {
	if err := seen.count(target); err != nil || !shown {
		return err
	}
	if found, ok := foreign[target]; ok {
		return found
	}
	if s.linked == nil {
		s.linked = map[string]struct{}{}
	}
	s.linked[target] = struct{}{}
	return nil
}
