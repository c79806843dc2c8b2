package source

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestResolveFiles(t *testing.T) {
	t.Parallel()
	changed := time.Unix(commitTime, 0)
	files := map[string][]byte{"Dockerfile": []byte("FROM a\n"), "etc/x": []byte("x")}
	rev, err := ResolveFiles(files, "", changed)
	if err != nil {
		t.Fatal(err)
	}
	// The encoding is part of what users see: this value must never change.
	const id = "sha256:6f00edd078d4694b38a1b83115a96d1012af5a709e579fc69d03be7795830e13"
	if rev.ID != id || string(rev.Dockerfile) != "FROM a\n" || !rev.Time.Equal(changed) || rev.Ref != "" {
		t.Errorf("got %+v", rev)
	}
	different := map[string]map[string][]byte{
		"another content":          {"Dockerfile": []byte("FROM b\n"), "etc/x": []byte("x")},
		"another name":             {"Dockerfile": []byte("FROM a\n"), "etc/y": []byte("x")},
		"a byte that moved":        {"Dockerfile": []byte("FROM a\n5:etc/x"), "etc/x": []byte("")},
		"one file more, and empty": {"Dockerfile": []byte("FROM a\n"), "etc/x": []byte("x"), "z": nil},
	}
	for name, files := range different {
		if other, err := ResolveFiles(files, "", changed); err != nil || other.ID == rev.ID {
			t.Errorf("%s: got %s, %v", name, other.ID, err)
		}
	}
	if other, err := ResolveFiles(maps.Clone(files), "./etc/x", changed); err != nil || other.ID != rev.ID || string(other.Dockerfile) != "x" {
		t.Errorf("got %+v, %v", other, err)
	}
}

func TestFilesAreRefused(t *testing.T) {
	t.Parallel()
	many := map[string][]byte{}
	for i := range MaxFiles + 1 {
		many[strconv.Itoa(i)] = nil
	}
	tests := map[string]struct {
		files      map[string][]byte
		dockerfile string
		reason     string
	}{
		"no Dockerfile":                   {map[string][]byte{"a": nil}, "", pipeline.ReasonDockerfileNotFound},
		"a Dockerfile outside":            {map[string][]byte{"a": nil}, "../a", pipeline.ReasonSourcePathEscapes},
		"a name that leads up":            {map[string][]byte{"../a": nil}, "", pipeline.ReasonSourcePathEscapes},
		"an absolute name":                {map[string][]byte{"/a": nil}, "", pipeline.ReasonSourceInvalid},
		"an empty name":                   {map[string][]byte{"": nil}, "", pipeline.ReasonSourceInvalid},
		"the directory itself":            {map[string][]byte{".": nil}, "", pipeline.ReasonSourceInvalid},
		"a name with an empty part":       {map[string][]byte{"a//b": nil}, "", pipeline.ReasonSourceInvalid},
		"a name that is not clean":        {map[string][]byte{"./a": nil}, "", pipeline.ReasonSourceInvalid},
		"a name with a backslash":         {map[string][]byte{`a\b`: nil}, "", pipeline.ReasonSourceInvalid},
		"a name of git":                   {map[string][]byte{".git/hooks/x": nil}, "", pipeline.ReasonSourceInvalid},
		"a file that is also a directory": {map[string][]byte{"a": nil, "a/b/c": nil}, "", pipeline.ReasonSourceInvalid},
		"too many files":                  {many, "", pipeline.ReasonSourceTooLarge},
		"too many bytes":                  {map[string][]byte{"a": make([]byte, MaxFileBytes)}, "", pipeline.ReasonSourceTooLarge},
		"a Dockerfile that is too large":  {map[string][]byte{"Dockerfile": make([]byte, maxDockerfile+1)}, "", pipeline.ReasonSourceTooLarge},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ResolveFiles(tc.files, tc.dockerfile, time.Time{})
			wantTerminal(t, err, tc.reason)
		})
	}
	wantTerminal(t, WriteFiles(map[string][]byte{"../a": nil}, t.TempDir(), time.Time{}), pipeline.ReasonSourcePathEscapes)
}

func TestWriteFiles(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "etc")); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"Dockerfile": []byte("FROM a\n"), "etc/a/x": []byte("x"), "etc/b": []byte(strings.Repeat("b", 3))}
	want := map[string]string{"Dockerfile": "-rw-r--r-- FROM a\n", "etc": "drwxr-xr-x", "etc/a": "drwxr-xr-x", "etc/a/x": "-rw-r--r-- x", "etc/b": "-rw-r--r-- bbb"}
	for range 2 {
		if err := WriteFiles(files, dir, time.Unix(commitTime, 0)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, list(t, dir, time.Unix(commitTime, 0))); diff != "" {
			t.Error(diff)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("wrote %v outside, %v", left, err)
	}
}
