package source

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// command is what a server does for one command. It ends with its context, which ends with the connection.
type command func(ctx context.Context, line string, channel ssh.Channel) uint32

// sshServer is an SSH server for tests on the loopback address.
type sshServer struct {
	t       *testing.T
	address string
	// keys by type, in the order in which the server prefers them.
	keys   []ssh.Signer
	config *ssh.ServerConfig
	run    command
	// connections that are open, and all that there were.
	open, all atomic.Int32
	closed    chan struct{}
	line      atomic.Value
}

// newKey makes a private key of an SSH key type, and its PEM.
func newKey(t *testing.T, kind string) (ssh.Signer, []byte) {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case ssh.KeyAlgoED25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case ssh.KeyAlgoRSA:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, pem.EncodeToMemory(block)
}

// serveSSH starts a server that lets in one client key and runs commands.
func serveSSH(t *testing.T, client ssh.PublicKey, run command, keys ...ssh.Signer) *sshServer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshServer{t: t, address: listener.Addr().String(), keys: keys, run: run, closed: make(chan struct{}, 100)}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != "git" || !bytes.Equal(key.Marshal(), client.Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	for _, key := range keys {
		s.config.AddHostKey(key)
	}
	go s.accept(listener)
	t.Cleanup(func() { _ = listener.Close() })
	return s
}

func (s *sshServer) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.open.Add(1)
		s.all.Add(1)
		go s.serve(conn)
	}
}

func (s *sshServer) serve(conn net.Conn) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer func() {
		cancel()
		_ = conn.Close()
		s.open.Add(-1)
		s.closed <- struct{}{}
	}()
	server, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	go s.sessions(ctx, channels)
	_ = server.Wait()
}

func (s *sshServer) sessions(ctx context.Context, channels <-chan ssh.NewChannel) {
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			if request.Type != "exec" {
				_ = request.Reply(false, nil)
				continue
			}
			_ = request.Reply(true, nil)
			var line struct{ Text string }
			if err := ssh.Unmarshal(request.Payload, &line); err != nil {
				s.t.Error(err)
			}
			s.line.Store(line.Text)
			status := s.run(ctx, line.Text, channel)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			_ = channel.Close()
		}
	}
}

// runShell runs the command as sshd does: by a shell.
func runShell(ctx context.Context, line string, channel ssh.Channel) uint32 {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	// Not cmd.Stdin: a command that fails does not wait for the end of its input.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	}()
	if err := cmd.Run(); err != nil {
		return 1
	}
	return 0
}

// knownBy is known_hosts with some keys of the server.
func (s *sshServer) knownBy(keys ...ssh.Signer) []byte {
	lines := []string{"# of the test", ""}
	for _, key := range keys {
		lines = append(lines, knownhosts.Line([]string{s.address}, key.PublicKey())+" with some comment")
	}
	return []byte(strings.Join(lines, "\n"))
}

// url is the address of a repository on the server.
func (s *sshServer) url(path string) string { return "ssh://git@" + s.address + path }

// wantAllClosed waits until the server has seen the end of every connection that there was.
func (s *sshServer) wantAllClosed() {
	s.t.Helper()
	for range s.all.Load() {
		<-s.closed
	}
	if n := s.open.Load(); n != 0 {
		s.t.Errorf("%d connections are open", n)
	}
}
