package source

import (
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// commitTime is when every commit of the tests is made.
const commitTime = 1_700_000_000

// repository is a work tree with a bare copy that a server serves.
type repository struct {
	t    *testing.T
	work string
	bare string
	url  string
	// posts counts requests for objects, gets listings of references.
	posts, gets atomic.Int32
	handler     http.Handler
}

// serve starts git's own smart HTTP server on the loopback address.
func serve(t *testing.T) *repository {
	t.Helper()
	backend := filepath.Join(strings.TrimSpace(output(t, exec.CommandContext(t.Context(), "git", "--exec-path"))), "git-http-backend")
	root := t.TempDir()
	r := &repository{t: t, work: t.TempDir(), bare: filepath.Join(root, "repo.git")}
	r.git("init", "--quiet", "--initial-branch=main", ".")
	r.git("init", "--quiet", "--bare", "--initial-branch=main", r.bare)
	handler := &cgi.Handler{Path: backend, Root: "/", Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			r.posts.Add(1)
		} else {
			r.gets.Add(1)
		}
		handler.ServeHTTP(w, req)
	})
	server := httptest.NewServer(r.handler)
	t.Cleanup(server.Close)
	r.url = server.URL + "/repo.git"
	return r
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// git runs git in the work tree, away from the configuration of whoever runs the test.
func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.com",
		"GIT_AUTHOR_DATE=1600000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0100")
	return strings.TrimSpace(output(r.t, cmd))
}

// write changes a file of the work tree.
func (r *repository) write(name, content string, mode os.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) link(target, name string) {
	r.t.Helper()
	if err := os.Symlink(target, filepath.Join(r.work, name)); err != nil {
		r.t.Fatal(err)
	}
}

// commit commits the work tree, pushes everything and returns the commit.
func (r *repository) commit() string {
	r.t.Helper()
	r.git("add", "--all")
	r.git("commit", "--quiet", "--allow-empty", "--message=x")
	r.push()
	return r.git("rev-parse", "HEAD")
}

func (r *repository) push() {
	r.t.Helper()
	r.git("push", "--quiet", "--force", r.bare, "--all")
	r.git("push", "--quiet", "--force", r.bare, "--tags")
}

// serverConfig sets an option of the server's repository.
func (r *repository) serverConfig(key, value string) {
	r.git("--git-dir="+r.bare, "config", key, value)
}

// local is a configuration that may connect to the loopback address.
func local(t *testing.T) Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return Config{Transport: transport, Dial: (&net.Dialer{}).DialContext, TempDir: t.TempDir()}
}
