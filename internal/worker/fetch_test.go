package worker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
		"a file outside of the context":      {files("../a"), keys, "Terminal SourcePathEscapes", nil},
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
