package source

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// list describes everything below a directory: mode, and content or target.
func list(t *testing.T, dir string, when time.Time) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !info.ModTime().Equal(when) {
			t.Errorf("%s is from %s, want %s", name, info.ModTime(), when)
		}
		switch {
		case d.IsDir():
			got[name] = info.Mode().String()
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			got[name] = "-> " + target
			return err
		default:
			content, err := os.ReadFile(path)
			got[name] = fmt.Sprintf("%s %.20s", info.Mode(), content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(got, ".")
	return got
}

func TestCheckoutGit(t *testing.T) {
	// Not parallel: the umask belongs to the process.
	old := unix.Umask(0o077)
	t.Cleanup(func() { unix.Umask(old) })
	r := serve(t)
	r.write("ctx/Dockerfile", "FROM one\n", 0o600)
	r.write("ctx/bin/run", "#!/bin/sh\n", 0o700)
	r.write("ctx/large", strings.Repeat("large", 1<<20), 0o644)
	r.write("ctx/a/b/c", "deep", 0o644)
	r.write("ctx/.gitignore", "x", 0o644)
	r.write("elsewhere", "no", 0o644)
	r.link("../../large", "ctx/a/b/up")
	r.link("a/b/../b", "ctx-link")
	r.link("b/./c", "ctx/a/down")
	one := r.commit()
	r.write("ctx/Dockerfile", "FROM two\n", 0o644)
	r.commit()
	dir := filepath.Join(t.TempDir(), "new", "context")
	want := map[string]string{
		"Dockerfile": "-rw-r--r-- FROM one\n", "bin": "drwxr-xr-x", "bin/run": "-rwxr-xr-x #!/bin/sh\n", "large": "-rw-r--r-- largelargelargelarge",
		"a": "drwxr-xr-x", "a/b": "drwxr-xr-x", "a/b/c": "-rw-r--r-- deep", ".gitignore": "-rw-r--r-- x", "a/b/up": "-> ../../large", "a/down": "-> b/./c",
	}
	for _, reachable := range []string{"false", "true"} {
		r.serverConfig("uploadpack.allowReachableSHA1InWant", reachable)
		if err := CheckoutGit(t.Context(), local(t), Git{URL: r.url, Ref: one, Path: "ctx"}, dir); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, list(t, dir, time.Unix(commitTime, 0))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCheckoutGitReplacesWhatIsThere(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.write("sub/x", "x", 0o644)
	one := r.commit()
	outside, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"sub", "Dockerfile"} {
		if err := os.Symlink(filepath.Join(outside, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "Dockerfile"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckoutGit(t.Context(), local(t), Git{URL: r.url, Ref: one}, dir); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Dockerfile": "-rw-r--r-- FROM one\n", "sub": "drwxr-xr-x", "sub/x": "-rw-r--r-- x"}
	if diff := cmp.Diff(want, list(t, dir, time.Unix(commitTime, 0))); diff != "" {
		t.Error(diff)
	}
	if content, err := os.ReadFile(filepath.Join(outside, "Dockerfile")); err != nil || string(content) != "mine" {
		t.Errorf("the file outside has %q, %v", content, err)
	}
}

func TestCheckoutGitRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		build   func(*repository)
		ref     string
		limits  limits.Source
		reason  string
		mention string
	}{
		"a ref that is not a commit":    {ref: "main", reason: pipeline.ReasonSourceInvalid, mention: `"main"`},
		"a commit that is not there":    {ref: strings.Repeat("b", 40), reason: pipeline.ReasonGitRefNotFound, mention: "bbbb"},
		"an absolute link":              {build: func(r *repository) { r.link("/etc", "dir/bad") }, reason: pipeline.ReasonSourcePathEscapes, mention: "dir/bad"},
		"a link that leaves":            {build: func(r *repository) { r.link("../../x", "dir/bad") }, reason: pipeline.ReasonSourcePathEscapes, mention: "dir/bad"},
		"two links that leave together": {build: func(r *repository) { r.link("..", "dir/a"); r.link("dir/a/../x", "bad") }, reason: pipeline.ReasonSourcePathEscapes, mention: "bad"},
		"a submodule":                   {build: func(r *repository) { r.entry("160000", strings.Repeat("c", 40), "mod") }, reason: pipeline.ReasonSourceInvalid, mention: "submodule"},
		"too many files":                {limits: limits.Source{Files: 2}, reason: pipeline.ReasonSourceTooLarge, mention: "2 files"},
		"too many bytes": {build: func(r *repository) {
			r.write("x", strings.Repeat("x", 1<<13), 0o644)
			r.write("y", strings.Repeat("y", 1<<13), 0o644)
		}, limits: limits.Source{Bytes: 1 << 13}, reason: pipeline.ReasonSourceTooLarge, mention: "8Ki"},
		"too many directories":              {build: func(r *repository) { r.write("a/b/c/d", "", 0o644) }, limits: limits.Source{Depth: 3}, reason: pipeline.ReasonSourceTooLarge, mention: "3 directories"},
		"a name of git's own directory":     {build: func(r *repository) { r.tree("100644 blob %s\t.Git") }, reason: pipeline.ReasonSourceInvalid, mention: ".Git"},
		"a name that leads up":              {build: func(r *repository) { r.tree("100644 blob %s\t..") }, reason: pipeline.ReasonSourcePathEscapes, mention: ".."},
		"a name with a slash":               {build: func(r *repository) { r.tree("100644 blob %s\tx\\y") }, reason: pipeline.ReasonSourceInvalid, mention: "x"},
		"a name twice, as link and as file": {build: func(r *repository) { r.tree("120000 blob %[1]s\tx\n100644 blob %[1]s\tx") }, reason: pipeline.ReasonSourceInvalid, mention: `"x" twice`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := serve(t)
			r.write("Dockerfile", "FROM one\n", 0o644)
			r.write("dir/x", "x", 0o644)
			commit := r.commit()
			if tc.build != nil {
				tc.build(r)
				if r.git("log", "-1", "--format=%s") != "made" {
					r.git("add", "--all")
					r.git("commit", "--quiet", "--message=x")
				}
				r.push()
				commit = r.git("rev-parse", "HEAD")
			}
			if tc.ref != "" {
				commit = tc.ref
			}
			dir, config := t.TempDir(), local(t)
			config.Limits = tc.limits
			err := CheckoutGit(t.Context(), config, Git{URL: r.url, Ref: commit}, dir)
			wantTerminal(t, err, tc.reason, tc.mention)
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind %v, %v", left, err)
			}
		})
	}
}

// entry commits an entry that has no file.
func (r *repository) entry(mode, hash, name string) {
	r.git("update-index", "--add", "--cacheinfo", mode+","+hash+","+name)
	r.git("commit", "--quiet", "--message=made")
}

// tree commits a tree that git would not make by itself; %s is a file.
func (r *repository) tree(format string) {
	r.t.Helper()
	blob := r.git("rev-parse", "HEAD:Dockerfile")
	content := strings.Builder{}
	for line := range strings.SplitSeq(fmt.Sprintf(format, blob), "\n") {
		head, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(head)
		content.WriteString(fields[0] + " " + name + "\x00")
		for i := 0; i < len(blob); i += 2 {
			var b byte
			if _, err := fmt.Sscanf(blob[i:i+2], "%02x", &b); err != nil {
				r.t.Fatal(err)
			}
			content.WriteByte(b)
		}
	}
	file := filepath.Join(r.t.TempDir(), "tree")
	if err := os.WriteFile(file, []byte(content.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	tree := r.git("hash-object", "-t", "tree", "-w", "--literally", file)
	r.git("update-ref", "HEAD", r.git("commit-tree", "-m", "made", tree))
}
