//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// hostsMark ends every line of a hosts file that is the sandbox's.
const hostsMark = "# basewright-sandbox"

// hostsLine is the line that makes the sandbox's names known.
func hostsLine(address netip.Addr, names []string) string {
	return fmt.Sprintf("%s %s %s\n", address, strings.Join(names, " "), hostsMark)
}

// editHosts returns content without the sandbox's lines and with line, which
// may be empty, in front. Everything else stays byte for byte.
func editHosts(content []byte, line string) []byte {
	out := bytes.NewBufferString(line)
	for old := range bytes.Lines(content) {
		if !bytes.HasSuffix(bytes.TrimRight(old, " \t\r\n"), []byte(hostsMark)) {
			out.Write(old)
		}
	}
	return out.Bytes()
}

// setHosts makes line the sandbox's only one in the file at path.
func setHosts(path, line string) error {
	// The file may be a link to where the system keeps it.
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("finding the hosts file: %w", err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the hosts file: %w", err)
	}
	edited := editHosts(old, line)
	if bytes.Equal(old, edited) {
		return nil
	}
	if err := replaceFile(path, edited); err != nil {
		return fmt.Errorf("editing the hosts file: %w", err)
	}
	return nil
}

// replaceFile puts new content into a file at once, keeping mode and owner.
func replaceFile(path string, content []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	if err := errors.Join(fillLike(temporary, info, content), temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	err = os.Rename(temporary.Name(), path)
	if errors.Is(err, syscall.EBUSY) {
		// In a container the file is a mount point, which only takes
		// writing in place.
		return errors.Join(os.Remove(temporary.Name()), os.WriteFile(path, content, info.Mode().Perm()))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

func fillLike(file *os.File, like os.FileInfo, content []byte) error {
	if err := file.Chmod(like.Mode().Perm()); err != nil {
		return err
	}
	if owner, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := file.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}
