package inspect

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
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
	view     *view
	// inodes of all layers, and wanted: those that hard links look for in lower layers, by path.
	inodes []*inode
	wanted map[string]*inode
	// candidates are files that may be /etc/passwd.
	candidates int
	// searched are the bytes of programs.
	searched int64
	buffer   []byte
	facts    Facts
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
	own := newLayer(s.view.bytes)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			s.view.add(own)
			return s.settle(own)
		}
		if err != nil {
			return &formatError{fmt.Errorf("reading the archive: %w", err)}
		}
		if s.facts.Entries++; s.facts.Entries > s.limits.Entries {
			return &registry.TooLargeError{What: "the number of archive entries", Limit: int64(s.limits.Entries)}
		}
		if err := s.entry(archive, header, own); err != nil {
			return err
		}
	}
}

func (s *scan) entry(archive io.Reader, header *tar.Header, own *layer) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil // it has a name, but nothing is unpacked for it
	}
	name, err := own.place(header.Name)
	if err != nil || own.marker(name) {
		return err
	}
	if a := misplaced(header); a != "" {
		return &layoutError{path: name, attribute: a}
	}
	if name == "." && header.Typeflag != tar.TypeDir {
		return nil // nothing takes the place of the root
	}
	st := stateOf(header)
	if s.view.hides(name) {
		st |= isHidden
	}
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		own.mark(name, st, "")
	case tar.TypeSymlink:
		own.mark(name, st, header.Linkname)
		return own.count(header.Linkname)
	case tar.TypeLink:
		if err := s.link(name, header.Linkname, st, own); err != nil {
			return err
		}
		own.mark(name, st, "")
	default:
		own.mark(name, st, "")
		return s.file(archive, name, st, own)
	}
	return nil
}

// xattr is what keys of extended attributes begin with.
const xattr = "SCHILY.xattr."

// misplaced names an attribute by which overlayfs shows what is elsewhere (https://docs.kernel.org/filesystems/overlayfs.html).
func misplaced(header *tar.Header) string {
	for _, attribute := range []string{"trusted.overlay.redirect", "trusted.overlay.metacopy"} {
		if _, ok := header.PAXRecords[xattr+attribute]; ok {
			return attribute
		}
	}
	return ""
}

// stateOf is what an entry says of itself. Mode bits are those of
// https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06.
func stateOf(header *tar.Header) state {
	switch header.Typeflag {
	case tar.TypeDir:
		if header.Mode&0o002 != 0 && header.Mode&0o1000 == 0 {
			return isDir | isWorldWritable
		}
		return isDir
	case tar.TypeSymlink:
		return isSymlink
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return isFile
	}
	st := isFile
	for bit, means := range map[int64]state{0o4000: isSetuid, 0o2000: isSetgid, 0o100: isExecutable, 0o010: isExecutable, 0o001: isExecutable} {
		if header.Mode&bit != 0 {
			st |= means
		}
	}
	if header.PAXRecords[xattr+"security.capability"] != "" {
		st |= hasCapabilities
	}
	switch {
	case header.Typeflag == tar.TypeLink:
		st |= isLink
	case header.Size == 0:
		st |= isEmpty
	}
	return st
}

// file looks into a file. What a hidden one has is remembered, because a hard link to it may show.
func (s *scan) file(archive io.Reader, name string, st state, own *layer) error {
	n, err := fill(archive, s.buffer)
	if err != nil {
		return err
	}
	head := s.buffer[:n]
	if bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		own.paths[name] |= isELF
	}
	if m, order, ok := machine(head); ok {
		if st, err = s.program(archive, n, name, st, own); err != nil {
			return err
		}
		if err := s.native(&foreignError{path: name, machine: m, order: order}, st&isHidden == 0, own); err != nil {
			return err
		}
	} else {
		s.text(head, name, own)
	}
	if st&ofInode != 0 && st&ofInode != isExecutable {
		own.inode(name).state |= st & ofInode
	}
	return nil
}

// program looks into an ELF file.
func (s *scan) program(archive io.Reader, read int, name string, st state, own *layer) (state, error) {
	if st&isHidden == 0 {
		s.facts.ELFFiles++
	} else {
		own.inode(name).hiddenELF = true
	}
	inside, err := s.inside(archive, read)
	return st | inside, err
}

// native fails for a file that shows and that the platform doesn't run.
func (s *scan) native(found *foreignError, shown bool, own *layer) error {
	if runs(s.platform, found.machine, found.order) {
		return nil
	}
	if shown {
		return found
	}
	own.inode(found.path).foreign = found
	return nil
}

// text looks into what is no ELF file.
func (s *scan) text(head []byte, name string, own *layer) {
	if by := interpreter(head); by != "" && isShellName(name) && own.paths[name]&isRepeated == 0 {
		own.scripts[name] = by
	}
	if s.candidates >= maxCandidates {
		return
	}
	if accounts := accountsOf(name, head[:min(len(head), maxPasswd)]); accounts != nil {
		s.candidates++
		own.inode(name).accounts = accounts
	}
}

func (s *scan) link(name, target string, st state, own *layer) error {
	target, err := own.place(target)
	if err != nil {
		return err
	}
	n := own.inode(name)
	n.state |= st & ofInode
	if own.paths[target]&present != 0 {
		n.join(own.inode(target))
	} else {
		n.join(own.below(target))
	}
	return nil
}
