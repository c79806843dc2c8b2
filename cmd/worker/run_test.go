package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		"no command":                       {nil, 1, "worker: usage: worker fetch|install-probe|prepare|push|report [flags]"},
		"an unknown command":               {[]string{"pull"}, 1, `usage: worker fetch|install-probe|prepare|push|report [flags]: unknown command "pull"`},
		"a flag before the command":        {[]string{"--input=x", "fetch"}, 1, `unknown command "--input=x"`},
		"an unknown flag":                  {[]string{"fetch", "--inptu=x"}, 1, "flag provided but not defined: -inptu"},
		"a flag of the other command":      {[]string{"fetch", "--docker-config=x"}, 1, "flag provided but not defined: -docker-config"},
		"git credentials for a push":       {[]string{"push", "--git-credentials=x"}, 1, "flag provided but not defined: -git-credentials"},
		"an extra argument":                {[]string{"push", "--platform=linux/amd64", "now"}, 1, `unexpected argument "now"`},
		"a flag without its value":         {[]string{"push", "--layout"}, 1, "flag needs an argument: -layout"},
		"a platform for all of them":       {[]string{"prepare", "--platform=linux/amd64"}, 1, "flag provided but not defined: -platform"},
		"images for a report":              {[]string{"report", "--images=x"}, 1, "flag provided but not defined: -images"},
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
}

func TestFlags(t *testing.T) {
	const log = worker.TerminationLog
	want := map[string]map[string]string{
		"fetch":         {"input": "/input", "input-digest": "", "platform": "", "report": log, "workspace": "/workspace", "git-credentials": ""},
		"push":          {"input": "/input", "input-digest": "", "platform": "", "report": log, "layout": "/image/layout", "docker-config": ""},
		"prepare":       {"input": "/input", "input-digest": "", "report": log, "images": "/images", "databases": "/databases", "reports": "/reports", "docker-config": ""},
		"install-probe": {"platform": "", "report": log, "to": "/probe-volume/probe"},
		"report":        {"input": "/input", "input-digest": "", "report": log, "databases": "/databases", "reports": "/reports", "docker-config": ""},
	}
	got := map[string]map[string]string{}
	for name := range commands {
		set, _, _ := define(name)
		got[name] = map[string]string{}
		set.VisitAll(func(f *flag.Flag) { got[name][f.Name] = f.DefValue })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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
	if r := readReport(t, report); !reflect.DeepEqual(r, pipeline.WorkerReport{}) {
		t.Errorf("success: got the report %+v", r)
	}
}

// Every command with an input reads it before it does anything, and says in its report what is wrong with it.
func TestCommandsReadTheirInput(t *testing.T) {
	input := t.TempDir()
	if err := os.WriteFile(filepath.Join(input, "input.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name := range commands {
		if set, _, _ := define(name); set.Lookup("input") == nil {
			continue
		}
		log := filepath.Join(t.TempDir(), "log")
		args := []string{name, "--input=" + input, "--input-digest=sha256:x", "--report=" + log}
		if set, _, _ := define(name); set.Lookup("platform") != nil {
			args = append(args, "--platform=linux/amd64")
		}
		err := run(args)
		if r := readReport(t, log); !pipeline.IsTerminal(err) || r.Reason != pipeline.ReasonInputChanged {
			t.Errorf("%s: got %v and the report %+v", name, err, r)
		}
	}
}

// The tests run where there is no image of the worker.
func TestInstallProbeReports(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for platform, reason := range map[string]string{"linux/riscv64": pipeline.ReasonUnknownPlatform, "linux/arm64": pipeline.ReasonProbeFailed} {
		err := run([]string{"install-probe", "--platform=" + platform, "--to=" + filepath.Join(t.TempDir(), "probe"), "--report=" + log})
		if r := readReport(t, log); !pipeline.IsTerminal(err) || r.Reason != reason {
			t.Errorf("%s: got %v and the report %+v", platform, err, r)
		}
	}
}

func TestRunSaysThatItsReportIsLost(t *testing.T) {
	err := run([]string{"fetch", "--platform=linux/riscv64", "--report=" + filepath.Join(t.TempDir(), "missing", "log")})
	if !errors.Is(err, os.ErrNotExist) || !pipeline.IsTerminal(err) {
		t.Errorf("got %v, want both failures", err)
	}
}
