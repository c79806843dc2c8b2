//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDispatchKnowsItsCommands(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing":                   nil,
		"something else":            {"upp"},
		"node without being PID 1":  {nodeCommand, "plan"},
		"serve without a directory": {serveCommand},
		"netpol without a file":     {netpolCommand},
		"git-repo without a name":   {"git-repo"},
		"an outage without an end":  {"outage", "a"},
		"databases of no state":     {"databases"},
		"databases of another kind": {"databases", "old"},
		"digest without a tag":      {"digest"},
		"an outage of another kind": {"outage", "a", "pause"},
		"a service that is unknown": {"sigstore", "tuf", "stop"},
		"a state that is unknown":   {"sigstore", "rekor", "begin"},
		"one of the registry":       {"registry", "begin"},
	} {
		if err := dispatch(t.Context(), args); !errors.Is(err, errUsage) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestUsageHidesInternalCommands(t *testing.T) {
	text := usage()
	if strings.Contains(text, "\n  "+nodeCommand) || !strings.Contains(text, "\n  up\n") {
		t.Error(text)
	}
}

func TestParseImageRequest(t *testing.T) {
	const repository = registryHost + "/basewright/operator"
	for name, test := range map[string]struct {
		args  []string
		fails bool
	}{
		"all that is needed":    {[]string{"--repository", repository, "--entrypoint", "/operator", "bin/operator=/operator"}, false},
		"no repository":         {[]string{"--entrypoint", "/operator"}, true},
		"somebody's registry":   {[]string{"--repository", "ghcr.io/a/b"}, true},
		"a file without a path": {[]string{"--repository", repository, "bin/operator"}, true},
		"an unknown flag":       {[]string{"--repositroy", repository}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseImageRequest(test.args)
			if (err != nil) != test.fails {
				t.Fatalf("got %+v, %v", got, err)
			}
			if err == nil && (got.target.String() != repository+":dev" || got.files["/operator"] != "bin/operator" || got.config.User != "65532:65532") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestImageOfHostFilesIsTheSameEveryTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operator")
	if err := os.WriteFile(path, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	digests := map[string]bool{}
	for _, age := range []time.Duration{0, time.Hour} {
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
		image, err := imageRequest{files: map[string]string{"/operator": path}}.build()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[digest.String()] = true
	}
	if len(digests) != 1 {
		t.Errorf("got %v", digests)
	}
}

func TestPollSaysWhatItWaitedFor(t *testing.T) {
	failure := errors.New("not yet")
	err := poll(t.Context(), time.Millisecond, "Godot", func(context.Context) error { return failure })
	if !errors.Is(err, failure) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Godot") {
		t.Errorf("got %v", err)
	}
}

func TestPollStopsAtTheFirstSuccess(t *testing.T) {
	calls := 0
	err := poll(t.Context(), time.Minute, "two calls", func(context.Context) error {
		if calls++; calls < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("got %d calls, %v", calls, err)
	}
}

func TestLockIsOnRemovedFilesOfNoUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "lock")
	unlock, err := lock(t.Context(), newProgress(), path)
	if err != nil {
		t.Fatal(err)
	}
	if file, err := tryLock(path); err == nil {
		t.Errorf("it was locked twice: %v", file.Name())
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unlock()
	again, err := lock(t.Context(), newProgress(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer again()
	if !exists(path) {
		t.Error("the lock is not at its path")
	}
}

func TestEnvironmentCanBeSourced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a dir")
	if err := writeFile(filepath.Join(dir, "env"), environment(dir, "secret", []string{"/kube"}), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", `. ./env; printf '%s|%s|%s' "$KUBECONFIG" "$PATH" "$NO_PROXY"`)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/bin", "NO_PROXY=a"}
	got, err := cmd.Output()
	if want := dir + "/kubeconfig|/kube:/bin|a,.basewright.test," + sandboxRange.String(); err != nil || string(got) != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
}

func TestStockVerifiersFindTheirTrustInTheEnvironment(t *testing.T) {
	text := string(environment("/dir", "", nil))
	for name, file := range map[string]string{
		"COSIGN_TRUSTED_ROOT": "trusted_root.json", "BASEWRIGHT_TRUSTED_ROOT": "trusted_root.json",
		"BASEWRIGHT_SIGNING_CONFIG": "signing_config.json", "COSIGN_REGISTRY_CACERT": "ca.crt",
	} {
		if want := "export " + name + "='/dir/" + file + "'\n"; !strings.Contains(text, want) {
			t.Errorf("there is no %q in:\n%s", want, text)
		}
	}
}

func TestManifestsNameTheNode(t *testing.T) {
	got := string(manifests())
	for _, want := range []string{nodeAddress.String() + " " + strings.Join(sandboxHosts, " "), "clusterIP: " + dnsService.String(), "/sandbox/coredns:" + coreDNSVersion} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in:\n%s", want, got)
		}
	}
}

// superviseVariable makes this test binary act as the node's init.
const superviseVariable = "SANDBOX_TEST_SUPERVISE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(superviseVariable); dir != "" {
		superviseFor(dir)
		return
	}
	os.Exit(m.Run())
}

func superviseFor(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	go func() {
		_ = poll(ctx, 30*time.Second, "the third start", func(context.Context) error {
			_, err := os.Stat(filepath.Join(dir, "3"))
			return err
		})
		cancel()
	}()
	_ = newSupervisor(site{state: dir}).run(ctx, []daemon{{
		Name: "restless", Path: "/bin/sh",
		Args: []string{"-c", `cd "$0"; n=1; while [ -e $n ]; do n=$((n+1)); done; : > $n; exit 3`, dir},
	}})
}

// The supervisor waits for any child, so it gets a process of its own.
func TestSupervisorStartsADaemonAgain(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), superviseVariable+"="+dir)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	content, err := os.ReadFile(filepath.Join(dir, "daemons.json"))
	if err != nil {
		t.Fatal(err)
	}
	var states map[string]daemonState
	if err := json.Unmarshal(content, &states); err != nil {
		t.Fatal(err)
	}
	if state := states["restless"]; state.Restarts < 2 || state.Last != "exited with status 3" {
		t.Errorf("got %+v", state)
	}
}
