package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// fetch gets objects into a directory. Depth 0 means the whole history.
func (r *remote) fetch(ctx context.Context, wants []plumbing.Hash, depth int, dir string) (storer.EncodedObjectStorer, error) {
	file, err := os.Create(filepath.Join(dir, "received.pack"))
	if err != nil {
		return nil, fmt.Errorf("storing what %s sends: %w", r.url, err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // the directory is removed with it
	defer file.Close()           //nolint:errcheck // it is only read after this
	if err := r.receive(ctx, wants, depth, file); err != nil {
		return nil, err
	}
	if err := r.checkPack(file); err != nil {
		return nil, err
	}
	return index(file, filepath.Join(dir, "objects.git"))
}

// receive writes the pack to a file.
func (r *remote) receive(ctx context.Context, wants []plumbing.Hash, depth int, file *os.File) error {
	req := packp.NewUploadPackRequestFromCapabilities(r.refs.Capabilities)
	req.Wants = wants
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
		if err := req.Capabilities.Set(capability.Shallow); err != nil {
			return fmt.Errorf("asking for one commit: %w", err)
		}
	}
	if r.refs.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return fmt.Errorf("asking for no progress messages: %w", err)
		}
	}
	r.session.allow(objectsBound(r.limits))
	res, err := r.session.UploadPack(ctx, req)
	if err != nil {
		return r.session.fault(r.url, err)
	}
	defer res.Close() //nolint:errcheck // nothing depends on the rest of the answer
	if _, err := r.copyPack(file, demux(req.Capabilities, res)); err != nil {
		if disk, ok := errors.AsType[*diskError](err); ok {
			return fmt.Errorf("storing what %s sends: %w", r.url, disk.err)
		}
		return r.session.fault(r.url, err)
	}
	return nil
}

// copyPack tells when the pack begins: go-git reads as much as it is asked for, and drops what is no part of the pack.
func (r *remote) copyPack(file *os.File, pack io.Reader) (int64, error) {
	if _, err := io.CopyN(diskWriter{file}, pack, 1); err != nil {
		return 0, err
	}
	r.session.begun()
	return io.Copy(diskWriter{file}, pack)
}

// diskWriter marks its errors, which are not the server's fault.
type diskWriter struct{ w io.Writer }

type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }

// Write implements io.Writer.
func (d diskWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if err != nil {
		return n, &diskError{err}
	}
	return n, nil
}

// demux takes the pack out of the channels that the server was asked to use.
func demux(capabilities *capability.List, r io.Reader) io.Reader {
	switch {
	case capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// checkPack reads the pack once without keeping anything: indexing it holds whole
// objects in memory, and a small pack may declare huge ones.
func (r *remote) checkPack(file io.ReadSeeker) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading what %s sent: %w", r.url, err)
	}
	scanner := packfile.NewScanner(file)
	_, count, err := scanner.Header()
	if err != nil {
		return r.broken(err)
	}
	if int64(count) > int64(r.limits.Objects) { // The index of a pack is held in memory.
		return r.tooLarge("%d objects, at most %d are read (limits.source.objects)", count, r.limits.Objects)
	}
	var total limits.Bytes
	for range count {
		size, err := nextSize(scanner)
		if err != nil {
			return r.broken(err)
		}
		total += limits.Bytes(size)
		switch {
		case limits.Bytes(size) > r.limits.FileBytes:
			return r.tooLarge("an object of %d bytes, at most %s are read (limits.source.fileBytes)", size, r.limits.FileBytes)
		case total > r.limits.ExpandedBytes:
			return r.tooLarge("objects of more than %s together (limits.source.expandedBytes)", r.limits.ExpandedBytes)
		}
	}
	return nil
}

// nextSize returns the size of the next object, expanded.
func nextSize(scanner *packfile.Scanner) (int64, error) {
	header, err := scanner.NextObjectHeader()
	if err != nil {
		return 0, err
	}
	if header.Length < 0 {
		return 0, fmt.Errorf("object with a negative size")
	}
	var head prefix
	if _, _, err := scanner.NextObject(&head); err != nil {
		return 0, err
	}
	if !header.Type.IsDelta() {
		return header.Length, nil
	}
	// A difference starts with the sizes of its base and of its result.
	_, n := binary.Uvarint(head.bytes)
	result, m := binary.Uvarint(head.bytes[max(n, 0):])
	if n <= 0 || m <= 0 || result > 1<<40 {
		return 0, fmt.Errorf("object with a malformed size")
	}
	return max(header.Length, int64(result)), nil
}

// prefix keeps the first bytes that are written to it.
type prefix struct{ bytes []byte }

// Write implements io.Writer.
func (p *prefix) Write(b []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(p.bytes); room > 0 {
		p.bytes = append(p.bytes, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// index makes a bare repository of a pack. Names of objects are computed from their
// content here, so nothing can be served under another name.
func index(file io.ReadSeeker, dir string) (storer.EncodedObjectStorer, error) {
	repository, err := git.PlainInit(dir, true)
	if err != nil {
		return nil, fmt.Errorf("making a repository: %w", err)
	}
	made, ok := repository.Storer.(*filesystem.Storage)
	if !ok {
		return nil, fmt.Errorf("making a repository: unexpected storage %T", repository.Storer)
	}
	// Not ExclusiveAccess: with it, HasEncodedObject does not look into packs. No LargeObjectThreshold: streaming a
	// delta reads its base from the start for every copy, which takes minutes for a program of 40 MB; in memory,
	// Limits.FileBytes bounds it.
	storage := filesystem.NewStorageWithOptions(made.Filesystem(), cache.NewObjectLRU(16*cache.MiByte), filesystem.Options{})
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("indexing objects: %w", err)
	}
	if err := packfile.UpdateObjectStorage(storage, file); err != nil {
		return nil, unavailable("indexing objects", err)
	}
	return storage, nil
}

// broken is for packs that end too early or make no sense; a second try may be better.
func (r *remote) broken(err error) error {
	return unavailable("reading what "+r.url+" sent", err)
}

func (r *remote) tooLarge(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "spec.source.git: %s has %s: use a smaller repository, or a branch or tag instead of an old commit", r.url, fmt.Sprintf(format, args...))
}
