package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/worker"
)

// asWorker makes the test binary behave as the worker.
const asWorker = "BASEWRIGHT_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// worker runs the binary and returns its exit code and what it wrote to standard error.
func command(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asWorker+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), stderr.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, stderr.String()
}

func TestCommandLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":                       {nil, 1, "worker: usage: worker fetch|push [flags]"},
		"an unknown command":               {[]string{"pull"}, 1, `usage: worker fetch|push [flags]: unknown command "pull"`},
		"a flag before the command":        {[]string{"--input=x", "fetch"}, 1, `unknown command "--input=x"`},
		"an unknown flag":                  {[]string{"fetch", "--inptu=x"}, 1, "flag provided but not defined: -inptu"},
		"a flag of the other command":      {[]string{"fetch", "--docker-config=x"}, 1, "flag provided but not defined: -docker-config"},
		"git credentials for a push":       {[]string{"push", "--git-credentials=x"}, 1, "flag provided but not defined: -git-credentials"},
		"an extra argument":                {[]string{"push", "--platform=linux/amd64", "now"}, 1, `unexpected argument "now"`},
		"a flag without its value":         {[]string{"push", "--layout"}, 1, "flag needs an argument: -layout"},
		"help, which is nothing to regret": {[]string{"push", "--help"}, 0, "-docker-config"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			code, stderr := command(t, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exits with %d and says %q, want %d and %q", code, stderr, tt.code, tt.says)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	for desc, args := range map[string][]string{"no command": nil, "an unknown command": {"x"}, "an extra argument": {"fetch", "x"}} {
		if err := run(args); !errors.Is(err, errUsage) {
			t.Errorf("%s: got %v", desc, err)
		}
	}
	if err := run([]string{"fetch", "-h"}); err != nil {
		t.Errorf("help: got %v", err)
	}
	if _, err := parse("fetch", []string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}

func TestParseDefaults(t *testing.T) {
	fetch, err := parse("fetch", []string{"--platform=linux/arm64"})
	if want := (flags{input: "/input", workspace: "/workspace", platform: "linux/arm64", report: worker.TerminationLog}); fetch != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", fetch, err, want)
	}
	fetch, err = parse("fetch", []string{"--git-credentials=/git"})
	if fetch.gitCredentials != "/git" || err != nil {
		t.Errorf("got %+v, %v", fetch, err)
	}
	push, err := parse("push", nil)
	if want := (flags{input: "/input", layout: "/image/layout", report: worker.TerminationLog}); push != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", push, err, want)
	}
}

// readReport is what the operator makes of a termination log.
func readReport(t *testing.T, path string) pipeline.WorkerReport {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pipeline.ParseReport(string(raw))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunLeavesAReport(t *testing.T) {
	input, workspace, report := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "log")
	args := []string{"fetch", "--input=" + input, "--workspace=" + workspace, "--report=" + report}

	err := run(append(args, "--platform=linux/riscv64"))
	if r := readReport(t, report); !pipeline.IsTerminal(err) || r.Reason != pipeline.ReasonUnknownPlatform {
		t.Errorf("an unknown platform: got %v and the report %+v", err, r)
	}
	err = run(append(args, "--platform=linux/amd64"))
	if r := readReport(t, report); !pipeline.IsTerminal(err) || r.Reason != pipeline.ReasonInputChanged {
		t.Errorf("another input: got %v and the report %+v", err, r)
	}
	files := map[string]string{"input.json": "{}", "Dockerfile.linux-amd64": "FROM a\n"}
	keys := map[string][]byte{}
	for name, content := range files {
		keys[name] = []byte(content)
		if err := os.WriteFile(filepath.Join(input, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(append(args, "--platform=linux/amd64", "--input-digest="+pipeline.InputDigest(keys))); err != nil {
		t.Error(err)
	}
	if r := readReport(t, report); r != (pipeline.WorkerReport{}) {
		t.Errorf("success: got the report %+v", r)
	}
}

func TestRunSaysThatItsReportIsLost(t *testing.T) {
	err := run([]string{"fetch", "--platform=linux/riscv64", "--report=" + filepath.Join(t.TempDir(), "missing", "log")})
	if !errors.Is(err, os.ErrNotExist) || !pipeline.IsTerminal(err) {
		t.Errorf("got %v, want both failures", err)
	}
}
