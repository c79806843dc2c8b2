package vulndb

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	trivyDB       = "trivy.db"
	trivyMetadata = "metadata.json"

	maxMetadata = 64 << 10
	// boltMagic is in the first page of a bbolt file, behind the header of the page.
	boltMagic, boltMagicAt = 0xED0CDAED, 16
)

// unpackTrivy writes the two files of Trivy's database to dir, or nothing, and returns when it was made.
func (d *database) unpackTrivy(archive, dir string) (time.Time, error) {
	part := dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.RemoveAll(dir), os.MkdirAll(part, 0o755)); err != nil {
		return time.Time{}, err
	}
	defer func() { _ = os.RemoveAll(part) }()
	err := d.walk(archive, func(name string, content io.Reader) error {
		if name != trivyDB && name != trivyMetadata {
			return nil
		}
		return write(filepath.Join(part, name), content)
	})
	if err != nil {
		return time.Time{}, err
	}
	built, err := readTrivy(part)
	if err != nil {
		return time.Time{}, err
	}
	return built, os.Rename(part, dir)
}

// write makes a file, which must not be there: the second of two entries with a name says nothing that is wanted.
func write(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("it has %s twice", filepath.Base(path))
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// readTrivy checks the two files.
func readTrivy(dir string) (time.Time, error) {
	head, err := start(filepath.Join(dir, trivyDB), boltMagicAt+4)
	if err != nil {
		return time.Time{}, err
	}
	if len(head) < boltMagicAt+4 || binary.LittleEndian.Uint32(head[boltMagicAt:]) != boltMagic {
		return time.Time{}, invalidf("its %s is no database of bbolt", trivyDB)
	}
	raw, err := start(filepath.Join(dir, trivyMetadata), maxMetadata)
	if err != nil {
		return time.Time{}, err
	}
	var metadata struct{ UpdatedAt time.Time }
	if err := json.Unmarshal(raw, &metadata); err != nil {
		return time.Time{}, invalidf("its %s can't be read: %w", trivyMetadata, err)
	}
	if metadata.UpdatedAt.IsZero() {
		return time.Time{}, invalidf("its %s has no UpdatedAt", trivyMetadata)
	}
	return metadata.UpdatedAt, nil
}

// start is what a file begins with, at most limit bytes.
func start(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, invalidf("it has no %s", filepath.Base(path))
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}
