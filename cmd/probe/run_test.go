package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/probe"
)

func TestMain(m *testing.M) {
	if raw := os.Getenv(asRuntime); raw != "" {
		runtimeMain(raw)
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// built are static programs, by package and architecture.
var built sync.Map

// build makes a static program, once.
func build(t *testing.T, pkg, arch string) string {
	t.Helper()
	type program struct {
		content string
		err     error
	}
	once, _ := built.LoadOrStore(pkg+arch, sync.OnceValue(func() program {
		dir, err := os.MkdirTemp("", "basewright-probe-")
		if err != nil {
			return program{err: err}
		}
		path := filepath.Join(dir, "program")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch, "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return program{err: errors.New(string(out))}
		}
		raw, err := os.ReadFile(path)
		return program{string(raw), errors.Join(err, os.RemoveAll(dir))}
	}))
	made := once.(func() program)()
	must(t, made.err)
	return made.content
}

// image is a root file system: path to content. A path that ends in a slash is a directory.
type image map[string]string

func (i image) write(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"proc", "report", "tmp", "var/lib", "bin", "basewright-probe"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	i["dev/null"] = ""
	for path, content := range i {
		path = filepath.Join(root, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content), 0o755))
	}
	return root
}

// outcome of the probe's run.
type outcome struct {
	code   int
	stderr string
	report string
}

// run runs a container with the probe of an architecture, or skips the test where the machine does not let it.
func (c container) run(t *testing.T, i image, arch string, args ...string) outcome {
	t.Helper()
	i["basewright-probe/probe"] = build(t, ".", arch)
	c.Root, c.Report = i.write(t), t.TempDir()
	c.Args = append([]string{"/basewright-probe/probe", "--report=/report/log"}, args...)
	raw, err := json.Marshal(c)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asRuntime+"="+string(raw))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 65532, HostID: os.Getgid(), Size: 1}},
		// What the runtime needs of them; it takes all away from what it starts.
		AmbientCaps: []uintptr{unix.CAP_SETGID, unix.CAP_SETPCAP, unix.CAP_SYS_CHROOT, unix.CAP_SYS_ADMIN},
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Skipf("this machine makes no user namespaces: %v", err)
	}
	if cmd.ProcessState.ExitCode() == exitUnable {
		t.Skipf("this machine makes no containers in user namespaces: %s", &stderr)
	}
	report, err := os.ReadFile(filepath.Join(c.Report, "log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stderr.String(), string(report)}
}

// checks are those of a report, by name.
func (o outcome) checks(t *testing.T) map[string]pipeline.ProbeCheck {
	t.Helper()
	report, err := pipeline.ParseProbeReport(o.report)
	if err != nil || o.code != 0 {
		t.Fatalf("exit code %d, report %q (%v): %s", o.code, o.report, err, o.stderr)
	}
	all := map[string]pipeline.ProbeCheck{}
	for _, c := range report.Checks {
		all[c.Name] = c
	}
	return all
}

var expected = []string{"--uid=65532", "--gid=65532"}

// zones is the archive that Go comes with.
func zones(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "lib", "time", "zoneinfo.zip")) //nolint:staticcheck // The tests run where they were built.
	must(t, err)
	return string(raw)
}

func TestTheProbeInAContainer(t *testing.T) {
	tests := map[string]struct {
		container container
		image     image
		args      []string
		// others than Passed; ca-bundle and time-zones are absent.
		want map[string]pipeline.ProbeOutcome
		says map[string]string
	}{
		"an image that may do nothing": {},
		"time zones, and a command that succeeds": {
			container: container{Env: []string{"ZONEINFO=/zones.zip"}}, image: image{"zones.zip": zones(t)},
			args: []string{"--", "/basewright-probe/probe", selfTest},
			want: map[string]pipeline.ProbeOutcome{"time-zones": pipeline.ProbePassed},
		},
		"a shell": {image: image{"bin/sh": build(t, ".", runtime.GOARCH)},
			want: map[string]pipeline.ProbeOutcome{"no-shell": pipeline.ProbeFailed}, says: map[string]string{"no-shell": "/bin/sh"}},
		"a shell that is allowed": {image: image{"bin/sh": build(t, ".", runtime.GOARCH)}, args: []string{"--allow-shells"}},
		"a package manager": {image: image{"usr/bin/apt": build(t, ".", runtime.GOARCH)},
			want: map[string]pipeline.ProbeOutcome{"no-package-manager": pipeline.ProbeFailed}, says: map[string]string{"no-package-manager": "/usr/bin/apt"}},
		"a command that needs to write": {args: []string{"--", "/basewright-probe/probe", "--uid=65532", "--gid=65532", "--report=/var/lib/log"},
			want: map[string]pipeline.ProbeOutcome{"command": pipeline.ProbeFailed}, says: map[string]string{"command": "it needs to write to /var/lib/log"}},
		"a root that is writable": {container: container{WritableRoot: true},
			want: map[string]pipeline.ProbeOutcome{"read-only-root": pipeline.ProbeFailed}, says: map[string]string{"read-only-root": "not mounted read-only"}},
		"a volume that is writable": {container: container{Volumes: []string{"tmp"}}, says: map[string]string{"read-only-root": "/tmp"}},
		"capabilities that could be gained": {container: container{KeepCapabilities: true},
			want: map[string]pipeline.ProbeOutcome{"capabilities": pipeline.ProbeFailed}, says: map[string]string{"capabilities": "CapBnd"}},
		"new privileges": {container: container{NewPrivileges: true}, want: map[string]pipeline.ProbeOutcome{"no-new-privileges": pipeline.ProbeFailed}},
		"no seccomp":     {container: container{NoSeccomp: true}, want: map[string]pipeline.ProbeOutcome{"seccomp": pipeline.ProbeFailed}},
		"a token":        {image: image{"var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, want: map[string]pipeline.ProbeOutcome{"no-token": pipeline.ProbeFailed}},
		"another user": {args: []string{"--uid=1000"}, want: map[string]pipeline.ProbeOutcome{"user": pipeline.ProbeFailed},
			says: map[string]string{"user": `"65532 65532 65532 65532", all must be 1000`}},
		"another group": {args: []string{"--gid=0"}, want: map[string]pipeline.ProbeOutcome{"user": pipeline.ProbeFailed}},
		"a command that would write the report itself": {image: image{"rogue": build(t, "./testdata/rogue", runtime.GOARCH)}, args: []string{"--", "/rogue"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if tt.image == nil {
				tt.image = image{}
			}
			got := tt.container.run(t, tt.image, runtime.GOARCH, slices.Concat(expected, tt.args)...).checks(t)
			assertChecks(t, got, tt.args, tt.want)
			for name, says := range tt.says {
				if !strings.Contains(got[name].Message, says) {
					t.Errorf("%s says %q, want %q", name, got[name].Message, says)
				}
			}
		})
	}
}

func assertChecks(t *testing.T, got map[string]pipeline.ProbeCheck, args []string, others map[string]pipeline.ProbeOutcome) {
	t.Helper()
	o, _, err := parse(slices.Concat(expected, args))
	must(t, err)
	want, outcomes := map[string]pipeline.ProbeOutcome{}, map[string]pipeline.ProbeOutcome{}
	for _, name := range o.Names() {
		want[name] = pipeline.ProbePassed
	}
	want[probe.CheckCABundle], want[probe.CheckTimeZones] = pipeline.ProbeAbsent, pipeline.ProbeAbsent
	maps.Copy(want, others)
	for name, c := range got {
		outcomes[name] = c.Outcome
	}
	// Who may not set groups keeps those that the test runs with.
	if groups, _ := os.Getgroups(); len(groups) > 1 {
		delete(want, probe.CheckUser)
		delete(outcomes, probe.CheckUser)
	}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Errorf("-want +got:\n%s\n%+v", diff, got)
	}
}

func TestTheProbeProvesNothingWithoutAKernelsProc(t *testing.T) {
	c := container{NoProc: true}
	got := c.run(t, image{"proc/self/status": "Uid: 65532 65532 65532 65532\n", "proc/self/mountinfo": "", "proc/self/exe": ""}, runtime.GOARCH, expected...)
	if got.code != 1 || got.report != "" || !strings.HasPrefix(got.stderr, "probe: ") {
		t.Errorf("got %+v", got)
	}
}

// exits is the smallest program for arm64: exit(0).
const exits = "\x7fELF\x02\x01\x01" + zero8 + "\x00" + // identification
	"\x02\x00\xb7\x00\x01\x00\x00\x00\x78\x00\x40\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00" + zero8 + // executable, AArch64, entry, program headers
	"\x00\x00\x00\x00\x40\x00\x38\x00\x01\x00\x40\x00\x00\x00\x00\x00" + // sizes
	"\x01\x00\x00\x00\x05\x00\x00\x00" + zero8 + "\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00" + // load, at which addresses
	"\x84\x00\x00\x00\x00\x00\x00\x00\x84\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00" + // sizes, alignment
	"\x00\x00\x80\xd2\xa8\x0b\x80\xd2\x01\x00\x00\xd4" // mov x0, 0; mov x8, 93; svc 0

const zero8 = "\x00\x00\x00\x00\x00\x00\x00\x00"

// Emulation is how many clusters test another architecture.
func TestTheProbeUnderEmulation(t *testing.T) {
	if runtime.GOARCH == "arm64" {
		t.Skip("arm64 needs no emulation")
	}
	path := filepath.Join(t.TempDir(), "exits")
	must(t, os.WriteFile(path, []byte(exits), 0o755))
	if out, err := exec.CommandContext(t.Context(), path).CombinedOutput(); err != nil {
		t.Skipf("this machine does not run programs for arm64: %v %s", err, out)
	}
	args := []string{"--", "/bin/sh", selfTest}
	got := container{}.run(t, image{"bin/sh": build(t, ".", "arm64")}, "arm64", slices.Concat(expected, args)...).checks(t)
	assertChecks(t, got, args, map[string]pipeline.ProbeOutcome{"no-shell": pipeline.ProbeFailed})
}

func TestCommandLine(t *testing.T) {
	for desc, tt := range map[string]struct {
		args []string
		want error
	}{
		"nothing":      {nil, errUsage},
		"no group":     {[]string{"--uid=1"}, errUsage},
		"no user":      {[]string{"--gid=1"}, errUsage},
		"no such flag": {[]string{"--user=1"}, nil},
		"help":         {[]string{"-h"}, flag.ErrHelp},
	} {
		_, _, err := parse(tt.args)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", desc, err, tt.want)
		}
	}
	if err := run([]string{"-h"}); err != nil {
		t.Errorf("help: got %v", err)
	}
	if err := run([]string{selfTest}); err != nil {
		t.Errorf("the self-test: got %v", err)
	}
	if err := run([]string{selfTest, "now"}); err == nil {
		t.Error("the self-test takes arguments")
	}
	o, report, err := parse([]string{"--uid=1", "--gid=0", "--", "/app", "--uid=2"})
	if diff := cmp.Diff(probe.Options{UID: 1, GID: 0, Command: []string{"/app", "--uid=2"}}, o); diff != "" || err != nil || report != "/dev/termination-log" {
		t.Errorf("%v, %s: %s", err, report, diff)
	}
}
