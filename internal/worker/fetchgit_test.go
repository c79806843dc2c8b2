package worker

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const commitTime = 1_700_000_000

// serveGit serves a repository with one commit by git's own HTTP server, and counts the requests.
func serveGit(t *testing.T) (url, commit string, requests *atomic.Int32) {
	t.Helper()
	handler, commit := gitHandler(t)
	requests = &atomic.Int32{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/images/.git", commit, requests
}

// gitHandler serves the repository /images/.git with one commit.
func gitHandler(t *testing.T) (handler http.Handler, commit string) {
	t.Helper()
	root := t.TempDir()
	work := filepath.Join(root, "images")
	writeFile(t, filepath.Join(work, "base/Dockerfile"), "FROM a\n")
	writeFile(t, filepath.Join(work, "base/etc/b"), "b\n")
	writeFile(t, filepath.Join(work, "other"), "x")
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", work}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=1700000000 +0000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch=main")
	git("add", "--all")
	git("commit", "--quiet", "--message=x")
	return &cgi.Handler{Path: filepath.Join(git("--exec-path"), "git-http-backend"), Root: "/", Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}, git("rev-parse", "HEAD")
}

func TestFetchGit(t *testing.T) {
	url, commit, requests := serveGit(t)
	in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: url, Ref: "refs/heads/main", Commit: commit, Path: "base"}, SourceTime: sourceTime},
		map[string]string{"Dockerfile.linux-amd64": "FROM a@sha256:1\n"})
	o := FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64, loopback: true}
	for _, run := range []string{"first", "second"} {
		if err := Fetch(t.Context(), o); err != nil {
			t.Fatalf("%s run: %v", run, err)
		}
		want := map[string]string{"Dockerfile": "FROM a@sha256:1\n", "context/Dockerfile": "FROM a\n", "context/etc/b": "b\n"}
		if diff := cmp.Diff(want, tree(t, o.Workspace)); diff != "" {
			t.Errorf("%s run: %s", run, diff)
		}
	}
	info, err := os.Stat(filepath.Join(o.Workspace, "context/etc/b"))
	if err != nil || !info.ModTime().Equal(time.Unix(commitTime, 0)) {
		t.Errorf("the file has the time %v (%v)", info.ModTime(), err)
	}
	entries, err := os.ReadDir(o.Workspace)
	if err != nil || len(entries) != 2 {
		t.Errorf("the workspace has %v (%v), want context and Dockerfile", entries, err)
	}

	t.Run("a commit that is not there", func(t *testing.T) {
		in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: url, Commit: strings.Repeat("a", 40)}}, nil)
		err := Fetch(t.Context(), FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64, loopback: true})
		if got := fault(err); got != "Terminal GitRefNotFound" {
			t.Errorf("got %s: %v", got, err)
		}
	})
	t.Run("a server on the node", func(t *testing.T) {
		before := requests.Load()
		err := Fetch(t.Context(), FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64})
		if err == nil || requests.Load() != before {
			t.Errorf("got %v after %d requests", err, requests.Load()-before)
		}
	})
}

func TestFetchGitWithCredentials(t *testing.T) {
	handler, commit := gitHandler(t)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "git" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	tests := map[string]struct {
		url    string
		secret map[string]string // nil: none is mounted
		want   string
	}{
		"a token":                     {srv.URL, map[string]string{"password": "s3cret", "other": "x"}, ""},
		"a wrong token":               {srv.URL, map[string]string{"password": "guess"}, "Terminal SourceDenied"},
		"no Secret":                   {srv.URL, nil, "Terminal SourceDenied"},
		"an empty Secret":             {srv.URL, map[string]string{}, "Terminal SourceSecretInvalid"},
		"a token that is too long":    {srv.URL, map[string]string{"password": strings.Repeat("s", 64<<10+1)}, "Terminal SourceSecretInvalid"},
		"a token for a server of SSH": {"ssh://git@127.0.0.1:1", map[string]string{"password": "s3cret"}, "Terminal SourceSecretInvalid"},
		"no Secret for SSH":           {"ssh://git@127.0.0.1:1", nil, "Terminal SourceSecretInvalid"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: tt.url + "/images/.git", Commit: commit}},
				map[string]string{"Dockerfile.linux-amd64": "FROM a@sha256:1\n", "ca.crt": ca})
			o := FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64, loopback: true, retrier: impatient}
			if tt.secret != nil {
				o.GitCredentials = t.TempDir()
				for key, value := range tt.secret {
					writeFile(t, filepath.Join(o.GitCredentials, key), value)
				}
			}
			err := Fetch(t.Context(), o)
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v, want %s", got, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v repeats the token", err)
			}
		})
	}
}

// The rules for addresses hold for SSH too.
func TestFetchGitOverSSHIsGuarded(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := t.TempDir()
	writeFile(t, filepath.Join(secret, "ssh-privatekey"), string(pem.EncodeToMemory(block)))
	writeFile(t, filepath.Join(secret, "known_hosts"), "[127.0.0.1]:1 "+string(ssh.MarshalAuthorizedKey(public)))
	in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: "ssh://git@127.0.0.1:1/x", Commit: strings.Repeat("a", 40)}}, nil)
	o := FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), GitCredentials: secret, Platform: amd64, retrier: impatient}
	if err := Fetch(t.Context(), o); fault(err) != "Terminal SourceInvalid" {
		t.Errorf("a server on the node: got %v", err)
	}
	o.loopback = true
	if err := Fetch(t.Context(), o); fault(err) != "Transient SourceUnavailable" {
		t.Errorf("nothing listens: got %v", err)
	}
}

func TestFetchGitTriesAgain(t *testing.T) {
	handler, commit := gitHandler(t)
	down := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down && r.Method == http.MethodPost {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: srv.URL + "/images/.git", Commit: commit, Path: "base/etc"}}, map[string]string{"Dockerfile.linux-amd64": "FROM a@sha256:1\n"})
	var r recorder
	o := FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64, loopback: true, retrier: r.retrier()}
	wait := o.retrier.wait
	o.retrier.wait = func(ctx context.Context, d time.Duration) error {
		// As a container that was killed leaves it.
		writeFile(t, filepath.Join(o.Workspace, "context/.fetch-1/received.pack"), "half")
		down = false
		return wait(ctx, d)
	}
	if err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]time.Duration{20 * time.Second}, r.pauses); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"Dockerfile": "FROM a@sha256:1\n", "context/b": "b\n"}, tree(t, o.Workspace)); diff != "" {
		t.Error(diff)
	}
}

func TestFetchGitHasTheLimitsOfItsInput(t *testing.T) {
	url, commit, _ := serveGit(t)
	in := mountInput(t, pipeline.WorkerInput{Git: &pipeline.GitInput{URL: url, Commit: commit}, Limits: limits.Limits{Source: limits.Source{Files: 1}}}, nil)
	err := Fetch(t.Context(), FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64, loopback: true, retrier: impatient})
	if got := fault(err); got != "Terminal SourceTooLarge" {
		t.Errorf("got %s: %v", got, err)
	}
}
