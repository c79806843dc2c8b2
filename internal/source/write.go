package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// writer fills a directory. It never follows a link: the directory is emptied first,
// and every name is created, never opened.
type writer struct {
	root *os.Root
	dir  *os.File // the same directory, for the one call that os.Root lacks
	when time.Time
	dirs []string
}

// newWriter opens a directory and removes what is in it, so that a worker that was
// restarted starts from nothing.
func newWriter(dir string) (*writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the context directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the context directory: %w", err)
	}
	handle, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the context directory: %w", err), root.Close())
	}
	w := &writer{root: root, dir: handle}
	if err := w.clear(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *writer) close() error { return errors.Join(w.dir.Close(), w.root.Close()) }

// clear removes everything in the directory.
func (w *writer) clear() error {
	entries, err := fs.ReadDir(w.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("listing the context directory: %w", err)
	}
	for _, e := range entries {
		if err := w.root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("emptying the context directory: %w", err)
		}
	}
	return nil
}

// mkdir makes a directory with mode 0755, whatever the umask.
func (w *writer) mkdir(name string) error {
	if err := w.root.Mkdir(name, 0o755); err != nil {
		return writeError(name, err)
	}
	w.dirs = append(w.dirs, name)
	return writeError(name, w.root.Chmod(name, 0o755))
}

// file writes exactly size bytes with an exact mode.
func (w *writer) file(name string, mode fs.FileMode, size int64, r io.Reader) error {
	f, err := w.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return writeError(name, err)
	}
	_, copied := io.CopyN(f, r, size)
	if err := errors.Join(copied, f.Chmod(mode), f.Close()); err != nil {
		return writeError(name, err)
	}
	return writeError(name, w.root.Chtimes(name, w.when, w.when))
}

// symlink makes a link whose target was checked.
func (w *writer) symlink(name, target string) error {
	if err := w.root.Symlink(target, name); err != nil {
		return writeError(name, err)
	}
	at, err := unix.TimeToTimespec(w.when)
	if err != nil {
		return writeError(name, err)
	}
	return writeError(name, unix.UtimesNanoAt(int(w.dir.Fd()), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
}

// finish sets the times of directories, which change while they are filled.
func (w *writer) finish() error {
	for _, name := range slices.Backward(w.dirs) {
		if err := w.root.Chtimes(name, w.when, w.when); err != nil {
			return writeError(name, err)
		}
	}
	// The directory itself may be the root of a volume that belongs to someone else.
	if err := w.root.Chtimes(".", w.when, w.when); err != nil && !errors.Is(err, fs.ErrPermission) {
		return writeError(".", err)
	}
	return nil
}

// writeError says what could not be written. A name that is there already came twice.
func writeError(name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "the source has %q twice: remove one", name)
	}
	if err != nil {
		return fmt.Errorf("writing %q of the context: %w", name, err)
	}
	return nil
}
