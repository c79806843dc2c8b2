package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestSSHReadsRepositories(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM zero\n", 0o644)
	zero := r.commit()
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	r.git("tag", "--annotate", "--message=x", "v1", one)
	r.write("Dockerfile", "FROM two\n", 0o644)
	two := r.commit()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	server := serveSSH(t, client.PublicKey(), runShell, host)
	git := Git{URL: server.url(r.bare), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}
	tests := map[string]struct {
		ref, commit, wantRef, content string
	}{
		"the default branch":     {"", two, "refs/heads/main", "FROM two\n"},
		"a branch":               {"main", two, "refs/heads/main", "FROM two\n"},
		"an annotated tag":       {"v1", one, "refs/tags/v1", "FROM one\n"},
		"a commit that is a tip": {two, two, two, "FROM two\n"},
		"a commit with a tag":    {one, one, one, "FROM one\n"},
		"a commit that was one":  {zero, zero, zero, "FROM zero\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			config, git := local(t), git
			git.Ref = tc.ref
			rev, err := NewResolver(config).ResolveGit(t.Context(), git, "")
			if err != nil {
				t.Fatal(err)
			}
			if rev.ID != tc.commit || rev.Ref != tc.wantRef || string(rev.Dockerfile) != tc.content {
				t.Errorf("got %+v with %q, want %+v", rev, rev.Dockerfile, tc)
			}
			if left, err := os.ReadDir(config.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left behind %v, %v", left, err)
			}
			git.Ref = tc.commit
			dir := t.TempDir()
			if err := CheckoutGit(t.Context(), local(t), git, dir); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"Dockerfile": "-rw-r--r-- " + tc.content}, list(t, dir, time.Unix(commitTime, 0))); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("a commit that the server serves by its name", func(t *testing.T) {
		r.serverConfig("uploadpack.allowAnySHA1InWant", "true")
		git := git
		git.Ref = zero
		if rev, err := NewResolver(local(t)).ResolveGit(t.Context(), git, ""); err != nil || rev.ID != zero {
			t.Errorf("got %+v, %v", rev, err)
		}
		git.Ref = strings.Repeat("a", 40)
		_, err := NewResolver(local(t)).ResolveGit(t.Context(), git, "")
		wantTerminal(t, err, pipeline.ReasonGitRefNotFound, "aaaa")
	})
	t.Run("a known commit needs only the references", func(t *testing.T) {
		resolver := NewResolver(local(t))
		for range 2 {
			if rev, err := resolver.ResolveGit(t.Context(), git, ""); err != nil || rev.ID != two {
				t.Fatalf("got %+v, %v", rev, err)
			}
		}
	})
	server.wantAllClosed()
}

func TestSSHQuotesPaths(t *testing.T) {
	t.Parallel()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	for name, tc := range map[string]struct{ path, line string }{
		"a plain path":                        {"/org/repo.git", `git-upload-pack '/org/repo.git'`},
		"a slash at the end":                  {"/org/repo/", `git-upload-pack '/org/repo'`},
		"a home directory":                    {"/~user/x", `git-upload-pack '~user/x'`},
		"a quote and a command":               {"/a'$(id);b", `git-upload-pack '/a'\''$(id);b'`},
		"an escaped space and an exclamation": {"/a%20b!", `git-upload-pack '/a b'\!''`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveSSH(t, client.PublicKey(), saying("no\n"), host)
			git := Git{URL: server.url(tc.path), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}
			_, err := NewResolver(local(t)).ResolveGit(t.Context(), git, "")
			wantTransient(t, err, 0)
			if got := server.line.Load(); got != tc.line {
				t.Errorf("the server runs %q, want %q", got, tc.line)
			}
		})
	}
}

// saying is a command that fails with words on standard error.
func saying(words string) command {
	return func(_ context.Context, _ string, channel ssh.Channel) uint32 {
		_, _ = io.WriteString(channel.Stderr(), words)
		return 128
	}
}

// writing is a command that writes to standard output, again and again, until nobody reads.
func writing(first, again string, drop func(ssh.Channel) io.Writer) command {
	return func(_ context.Context, _ string, channel ssh.Channel) uint32 {
		_, err := io.WriteString(channel, first)
		for err == nil && again != "" {
			_, err = io.WriteString(drop(channel), again)
		}
		return 0
	}
}

func TestSSHJudgesServers(t *testing.T) {
	t.Parallel()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	_, strange := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	stdout := func(c ssh.Channel) io.Writer { return c }
	stderr := func(c ssh.Channel) io.Writer { return c.Stderr() }
	const gitlab = "remote: \nremote: ========\nremote: ERROR: The project you were looking for could not be found or you don't have permission to view it.\n"
	tests := map[string]struct {
		run      command
		key      []byte
		terminal string // empty: transient
		mention  string
	}{
		"a key that is not let in":            {run: runShell, key: strange, terminal: pipeline.ReasonSourceDenied, mention: "ssh-privatekey"},
		"a path without a repository":         {run: runShell, terminal: pipeline.ReasonSourceNotFound, mention: "does not appear to be a git repository"},
		"a repository that GitHub hides":      {run: saying("ERROR: Repository not found.\n"), terminal: pipeline.ReasonSourceNotFound, mention: "Repository not found"},
		"a repository that GitLab hides":      {run: saying(gitlab), terminal: pipeline.ReasonSourceNotFound, mention: `"ERROR: The project`},
		"a repository that an ERR line hides": {run: writing("0029ERR access to nowhere does not exist\n", "", stdout), terminal: pipeline.ReasonSourceNotFound, mention: "nowhere"},
		"a key that may read something else":  {run: saying("FATAL: R any x git DENIED by fallthru\n"), terminal: pipeline.ReasonSourceDenied, mention: "DENIED"},
		"a server without git":                {run: saying("sh: 1: git-upload-pack: not found\n"), terminal: pipeline.ReasonSourceInvalid, mention: "git server"},
		"other last words":                    {run: saying("\n disk on fire \x1b[31m" + strings.Repeat("!", 1000)), mention: "disk on fire"},
		"endless last words":                  {run: writing("", strings.Repeat("x", 1<<15), stderr), terminal: pipeline.ReasonSourceTooLarge},
		"no words":                            {run: saying("")},
		"something else":                      {run: writing("hello, this is no git\n", "", stdout)},
		"an empty repository":                 {run: writing("0000", "", stdout), terminal: pipeline.ReasonSourceNotFound, mention: "no commits"},
		"endless references":                  {run: writing("004895dcfa3633004da0049d3d0fa03f80589cbcaf31 refs/heads/maint\x00multi_ack\n", "003f7e47fe2bd8d01d481f44d7af0531bd93d3b21c01 refs/heads/master\n", stdout), terminal: pipeline.ReasonSourceTooLarge, mention: "referenceBytes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveSSH(t, client.PublicKey(), tc.run, host)
			config := local(t)
			config.Limits = limits.Source{ReferenceBytes: 1 << 16, Bytes: 1 << 16}
			git := Git{URL: server.url("/nowhere"), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}
			if tc.key != nil {
				git.Credentials.PrivateKey = tc.key
			}
			_, err := NewResolver(config).ResolveGit(t.Context(), git, "")
			if tc.terminal == "" {
				wantTransient(t, err, 0)
			} else {
				wantTerminal(t, err, tc.terminal)
			}
			if !strings.Contains(err.Error(), tc.mention) || !strings.Contains(err.Error(), server.address) || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the message is %q", err)
			}
			wantNoSecret(t, err, git.Credentials)
			server.wantAllClosed()
		})
	}
}

func TestSSHStopsReadingObjects(t *testing.T) {
	t.Parallel()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	const line = "7217a7c7e582c46cec22a130adf4b9d7d950fba0 HEAD\x00"
	for name, tc := range map[string]struct {
		answer, again string
		terminal      bool
	}{
		"endless messages":          {answer: "0008NAK\n", again: "000a\x02wait\n", terminal: true},
		"endless objects":           {answer: "0008NAK\n", again: "000a\x01PACK\n", terminal: true},
		"an answer that is cut off": {answer: "0008NAK\n000a\x01PA"},
		"an error of the server":    {answer: "0008NAK\n000a\x03sorry"},
		"no answer":                 {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serveSSH(t, client.PublicKey(), writing(advertised(line)+"0000"+tc.answer, tc.again, func(c ssh.Channel) io.Writer { return c }), host)
			config := local(t)
			config.Limits.Bytes = 1 << 20
			git := Git{URL: server.url("/x"), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}
			_, err := NewResolver(config).ResolveGit(t.Context(), git, "")
			if tc.terminal {
				wantTerminal(t, err, pipeline.ReasonSourceTooLarge, "limits.source.bytes")
			} else {
				wantTransient(t, err, 0)
			}
			server.wantAllClosed()
		})
	}
}

func TestSSHEndsWithItsContext(t *testing.T) {
	t.Parallel()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	reached := make(chan struct{}, 10)
	silent := func(ctx context.Context, _ string, _ ssh.Channel) uint32 {
		reached <- struct{}{}
		<-ctx.Done()
		return 0
	}
	dripping := func(ctx context.Context, _ string, channel ssh.Channel) uint32 {
		_, _ = io.WriteString(channel, "0048")
		return silent(ctx, "", channel)
	}
	for name, run := range map[string]command{"a server that says nothing": silent, "a server that drips": dripping} {
		t.Run(name+", and a caller who leaves", func(t *testing.T) {
			server := serveSSH(t, client.PublicKey(), run, host)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-reached
				cancel()
			}()
			_, err := NewResolver(local(t)).ResolveGit(ctx, Git{URL: server.url("/x"), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}, "")
			wantTransient(t, err, 0)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v does not wrap the cancellation", err)
			}
			server.wantAllClosed()
		})
		t.Run(name+", and the limit of time", func(t *testing.T) {
			server := serveSSH(t, client.PublicKey(), run, host)
			config := local(t)
			config.Limits.Timeout = limits.Duration(300 * time.Millisecond)
			_, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: server.url("/x"), Credentials: &Credentials{PrivateKey: private, KnownHosts: server.knownBy(host)}}, "")
			wantTransient(t, err, 0)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v does not wrap the deadline", err)
			}
			server.wantAllClosed()
		})
	}
}

func TestSSHConnects(t *testing.T) {
	t.Parallel()
	_, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	git := func(l net.Listener) Git {
		s := &sshServer{address: l.Addr().String()}
		return Git{URL: s.url("/x"), Credentials: &Credentials{PrivateKey: private, KnownHosts: s.knownBy(host)}}
	}
	t.Run("nothing listens", func(t *testing.T) {
		_, err := NewResolver(local(t)).ResolveGit(t.Context(), git(closed), "")
		wantTransient(t, err, 0)
	})
	t.Run("nothing answers in time for a connection", func(t *testing.T) {
		config := local(t)
		config.Limits.ConnectTimeout = limits.Duration(50 * time.Millisecond)
		_, err := NewResolver(config).ResolveGit(t.Context(), git(silent), "")
		wantTransient(t, err, 0)
		if !errors.Is(err, errConnect) || !strings.Contains(err.Error(), "within 50ms") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a dialer that refuses", func(t *testing.T) {
		config := local(t)
		config.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, fmt.Errorf("dialing: %w", refused{})
		}
		_, err := NewResolver(config).ResolveGit(t.Context(), git(silent), "")
		wantTerminal(t, err, pipeline.ReasonSourceInvalid, "in privateHosts")
	})
	t.Run("the default dialer refuses this machine", func(t *testing.T) {
		_, err := NewResolver(Config{TempDir: t.TempDir()}).ResolveGit(t.Context(), git(silent), "")
		wantTerminal(t, err, pipeline.ReasonSourceInvalid, "address not allowed")
	})
	t.Run("no credentials", func(t *testing.T) {
		g := git(silent)
		g.Credentials = nil
		_, err := NewResolver(local(t)).ResolveGit(t.Context(), g, "")
		wantTerminal(t, err, pipeline.ReasonSourceSecretInvalid, "spec.source.git.secretRef", "ssh-privatekey", "known_hosts")
	})
}

type refused struct{}

func (refused) Error() string { return "list it in privateHosts" }
func (refused) Refused() bool { return true }

// wantNoSecret checks that a message holds nothing of the credentials that nobody else may know.
func wantNoSecret(t *testing.T, err error, c *Credentials) {
	t.Helper()
	if c == nil || err == nil {
		return
	}
	secrets := []string{c.Password}
	for line := range bytes.Lines(c.PrivateKey) {
		secrets = append(secrets, string(bytes.TrimSpace(line)))
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("%q repeats a secret", err)
		}
	}
}
