package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the environment variable that makes the test binary one of the programs below.
const program = "PROBE_TEST_PROGRAM"

// programs are what the image's commands do.
var programs = map[string]func(){
	"succeed": func() { fmt.Println("fine") },
	"fail":    func() { fmt.Println(strings.Repeat("x", 1000) + " the end"); os.Exit(3) },
	"silent":  func() { os.Exit(1) },
	"write": func() {
		fmt.Fprintln(os.Stderr, "mkdir: cannot create directory '/var/cache/app': Read-only file system")
		os.Exit(1)
	},
	"killed":  func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"forever": func() { time.Sleep(time.Hour) },
	// leave lets another process hold its output open.
	"leave": func() {
		p, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{Env: []string{program + "=forever"}, Files: []*os.File{nil, os.Stdout, os.Stderr}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("left", p.Pid)
	},
}

// aloneIn ends the test binary where the probe started it as a program of the image: as such it has no environment. It
// must not run the tests, which start programs.
func aloneIn(environment, args []string) {
	if len(environment) > 0 || len(args) > 1 && strings.HasPrefix(args[1], "-test.") {
		return
	}
	if len(args) > 1 && args[1] == "forever" {
		time.Sleep(time.Hour)
	}
	os.Exit(0)
}

func TestMain(m *testing.M) {
	aloneIn(os.Environ(), os.Args)
	if f, ok := programs[os.Getenv(program)]; ok {
		f()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// files of an image, by path. One that ends in a slash is a directory, a content that begins with "-> " a link, and
// "fifo" a FIFO.
type files map[string]string

func (f files) write(t *testing.T, root string) {
	t.Helper()
	for path, content := range f {
		full := filepath.Join(root, path)
		if strings.HasSuffix(path, "/") {
			must(t, os.MkdirAll(full, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(target, full))
			continue
		}
		if content == "fifo" {
			must(t, syscall.Mkfifo(full, 0o644))
			continue
		}
		must(t, os.WriteFile(full, []byte(content), 0o755))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var now = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

// machine is one with an image of these files, which are read-only, and this environment.
func machine(t *testing.T, image files, env map[string]string) Machine {
	t.Helper()
	root := t.TempDir()
	image.write(t, root)
	return Machine{Root: root, Getenv: func(name string) string { return env[name] }, Now: now,
		Create: func(string) error { return syscall.EROFS }, Sweep: func() {}, Timeout: time.Hour}
}

// expect compares what came of a check; says are parts of its message.
func expect(t *testing.T, got Check, want Outcome, says ...string) {
	t.Helper()
	if got.Outcome != want {
		t.Errorf("got %s (%s), want %s", got.Outcome, got.Message, want)
	}
	for _, part := range says {
		if !strings.Contains(got.Message, part) {
			t.Errorf("%q does not say %q", got.Message, part)
		}
	}
	if got.Message == "" {
		t.Error("it says nothing")
	}
}
