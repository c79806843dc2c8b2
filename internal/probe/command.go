package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// maxTail is how much of a command's output is shown: its end.
	maxTail = 300
	// maxArgument is how much of a command's name is shown.
	maxArgument = 60
	// drain is how long to wait for output that a child of the command still holds open.
	drain = time.Second
)

// command runs the image's own command, which must exit with 0.
func (m Machine) command(ctx context.Context, argv []string) Check {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	defer m.Sweep()
	path, err := m.lookPath(argv[0])
	if err != nil {
		return failed("%s: %v; spec.tests.command names a program of the image", clip(argv[0], maxArgument), err)
	}
	var out tail
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, drain
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { killGroup(cmd.Process.Pid); return nil }
	err = cmd.Run()
	if cmd.Process != nil {
		killGroup(cmd.Process.Pid) // What it has started is of no use any more.
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return passed("%s exits with 0", clip(argv[0], maxArgument))
	}
	return failed("%s", withOutput(clip(argv[0], maxArgument)+" "+ended(ctx, err, out.String(), m.Timeout), out.String()))
}

// withOutput adds the end of a command's output: as much as a message takes.
func withOutput(message, said string) string {
	message += "; it says: "
	return message + strings.ToValidUTF8(said[len(said)-min(len(said), max(0, maxMessage-len(message))):], "")
}

// lookPath finds a program as execvp(3) does.
func (m Machine) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := filepath.SplitList(m.Getenv("PATH"))
	for _, dir := range path[:min(len(path), maxPath)] {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && filepath.IsAbs(dir) {
			return file, nil
		}
	}
	return "", errors.New("is in no directory of the image's PATH")
}

// ended says how a command ended, and what to change.
func ended(ctx context.Context, err error, said string, timeout time.Duration) string {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return fmt.Sprintf("can't be executed: %v: make it an executable file for this platform, with the libraries that it needs", why(err))
	}
	signal := exit.Sys().(syscall.WaitStatus).Signal()
	switch where, reads := needsToWrite(said); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("did not end within %s: set spec.tests.command to one that does", timeout)
	case signal == syscall.SIGKILL:
		return "was killed, most likely because the test pod has not the memory it needs: set spec.tests.command to a smaller one"
	case reads:
		return fmt.Sprintf("ended with %s: it needs to write to %s, which is read-only: mount an emptyDir there when you run it, and set spec.tests.command to one that does not write", exit, where)
	}
	return fmt.Sprintf("ended with %s: mend it, or set spec.tests.command to one that exits with 0", exit)
}

// needsToWrite looks for the error of a read-only file system in a command's output, and for the path in its line.
func needsToWrite(said string) (where string, found bool) {
	for line := range strings.Lines(said) {
		lower := strings.ToLower(line)
		if !strings.Contains(lower, "read-only file system") && !strings.Contains(line, "EROFS") {
			continue
		}
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n'\"`:,()[]‘’", r) })
		if i := slices.IndexFunc(words, func(w string) bool { return len(w) > 1 && w[0] == '/' }); i >= 0 {
			return clip(words[i], maxArgument), true
		}
		where, found = "its root file system", true
	}
	return where, found
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	if len(p) >= maxTail {
		t.kept = append(t.kept[:0], p[len(p)-maxTail:]...)
		return len(p), nil
	}
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(p), nil
}

func (t *tail) String() string {
	if len(t.kept) == 0 {
		return "nothing"
	}
	return string(t.kept)
}
