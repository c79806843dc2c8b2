package worker

import (
	"errors"
	"io/fs"
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

	"github.com/ibshafique/base-images/internal/pipeline"
)

// tree is the content of every file below a directory by its path.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFetchFiles(t *testing.T) {
	ca := authority(t)
	tests := map[string]struct {
		keys map[string]string
		want map[string]string
	}{
		"without authorities": {
			keys: map[string]string{},
			want: map[string]string{},
		},
		"with a CA bundle": {
			keys: map[string]string{"ca.crt": ca},
			want: map[string]string{"certs/ca.crt": ca},
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			tt.keys["file.0000"], tt.keys["file.0001"] = "FROM a\n", "b\n"
			tt.keys["Dockerfile.linux-amd64"], tt.keys["Dockerfile.linux-arm64"] = "FROM a@sha256:1\n", "FROM a@sha256:2\n"
			tt.want["context/Dockerfile"], tt.want["context/etc/b"] = "FROM a\n", "b\n"
			tt.want["Dockerfile"] = "FROM a@sha256:2\n"
			in := mountInput(t, pipeline.WorkerInput{SourceTime: sourceTime, Files: map[string]string{"Dockerfile": "file.0000", "etc/b": "file.0001"}}, tt.keys)
			workspace := t.TempDir()
			if err := Fetch(t.Context(), FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: workspace, Platform: arm64}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tree(t, workspace)); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(filepath.Join(workspace, "context/etc/b"))
			if err != nil || !info.ModTime().Equal(sourceTime) {
				t.Errorf("the file has the time %v (%v)", info.ModTime(), err)
			}
		})
	}
}

// A pod whose container was restarted finds what the first run left.
func TestFetchTwice(t *testing.T) {
	keys := map[string]string{"file.0000": "a", "Dockerfile.linux-amd64": "FROM a\n", "ca.crt": authority(t)}
	in := mountInput(t, pipeline.WorkerInput{SourceTime: sourceTime, Files: map[string]string{"a": "file.0000"}}, keys)
	o := FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64}
	if err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	want := tree(t, o.Workspace)
	writeFile(t, filepath.Join(o.Workspace, "context/half/written"), "x")
	writeFile(t, filepath.Join(o.Workspace, "Dockerfile"), "half and longer than the whole")
	if err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, tree(t, o.Workspace)); diff != "" {
		t.Error(diff)
	}
}

func TestFetchRefuses(t *testing.T) {
	files := func(names ...string) pipeline.WorkerInput {
		in := pipeline.WorkerInput{Files: map[string]string{}}
		for _, n := range names {
			in.Files[n] = "file.0000"
		}
		return in
	}
	keys := map[string]string{"file.0000": "a", "Dockerfile.linux-amd64": "FROM a\n", "ca.crt": ""}
	without := func(key string) map[string]string {
		out := map[string]string{}
		for k, v := range keys {
			if k != key {
				out[k] = v
			}
		}
		return out
	}
	tests := map[string]struct {
		in   pipeline.WorkerInput
		keys map[string]string
		want string
		is   error
	}{
		"no Dockerfile for the platform":     {files("a"), without("Dockerfile.linux-amd64"), "plain", fs.ErrNotExist},
		"a file whose key is missing":        {files("a"), without("file.0000"), "plain", fs.ErrNotExist},
		"a file outside of the context":      {files("../a"), keys, "Terminal SourceInvalid", nil},
		"a file that is also a directory":    {files("a", "a/b"), keys, "Terminal SourceInvalid", nil},
		"a commit that is none":              {pipeline.WorkerInput{Git: &pipeline.GitInput{URL: "https://git.example/x", Commit: "main"}}, keys, "Terminal SourceInvalid", nil},
		"authorities that are none, for git": {pipeline.WorkerInput{Git: &pipeline.GitInput{URL: "https://git.example/x"}}, map[string]string{"ca.crt": "x"}, "plain", nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := mountInput(t, tt.in, tt.keys)
			err := Fetch(t.Context(), FetchOptions{Input: in, InputDigest: digestOf(t, in), Workspace: t.TempDir(), Platform: amd64})
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v, want %s", got, err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, which is not %v", err, tt.is)
			}
		})
	}
}

func TestInputIsChecked(t *testing.T) {
	for desc, content := range map[string]string{
		"no JSON":                  "{",
		"another type":             `{"files": 1}`,
		"more than a ConfigMap":    strings.Repeat(" ", 1<<20) + "{}",
		"a time that makes no one": `{"sourceTime": "yesterday"}`,
	} {
		t.Run(desc, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, "input.json"), content)
			writeFile(t, filepath.Join(dir, "Dockerfile.linux-amd64"), "FROM a\n")
			if err := Fetch(t.Context(), FetchOptions{Input: dir, InputDigest: digestOf(t, dir), Workspace: t.TempDir(), Platform: amd64}); err == nil {
				t.Error("fetch: no error")
			}
			if _, err := Push(t.Context(), PushOptions{Input: dir, InputDigest: digestOf(t, dir), Layout: t.TempDir(), Platform: amd64}); err == nil || fault(err) != "plain" {
				t.Errorf("push: got %v", err)
			}
		})
	}
	t.Run("an input that is not the operator's is refused", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "input.json"), "{}")
		writeFile(t, filepath.Join(dir, "Dockerfile.linux-amd64"), "FROM a\n")
		digest := digestOf(t, dir)
		writeFile(t, filepath.Join(dir, "Dockerfile.linux-amd64"), "FROM evil\n")
		for name, digest := range map[string]string{"changed": digest, "without a digest": ""} {
			err := Fetch(t.Context(), FetchOptions{Input: dir, InputDigest: digest, Workspace: t.TempDir(), Platform: amd64})
			if got := fault(err); got != "Terminal InputChanged" {
				t.Errorf("%s: got %s: %v", name, got, err)
			}
			_, err = Push(t.Context(), PushOptions{Input: dir, InputDigest: digest, Layout: t.TempDir(), Platform: amd64})
			if got := fault(err); got != "Terminal InputChanged" {
				t.Errorf("%s: push: got %s: %v", name, got, err)
			}
		}
	})
	t.Run("a megabyte is read", func(t *testing.T) {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "input.json"), strings.Repeat(" ", 1<<20-2)+"{}")
		writeFile(t, filepath.Join(dir, "Dockerfile.linux-amd64"), "FROM a\n")
		if err := Fetch(t.Context(), FetchOptions{Input: dir, InputDigest: digestOf(t, dir), Workspace: t.TempDir(), Platform: amd64}); err != nil {
			t.Error(err)
		}
	})
}

const commitTime = 1_700_000_000

// serveGit serves a repository with one commit by git's own HTTP server, and counts the requests.
func serveGit(t *testing.T) (url, commit string, requests *atomic.Int32) {
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
	handler := &cgi.Handler{Path: filepath.Join(git("--exec-path"), "git-http-backend"), Root: "/", Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}
	requests = &atomic.Int32{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/images/.git", git("rev-parse", "HEAD"), requests
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
		if got := fault(err); got != "Terminal SourceNotFound" {
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
