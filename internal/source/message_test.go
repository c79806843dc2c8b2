package source

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// resetting is a server that reads something, sends an answer after it, and so on, and resets the connection at the end.
func resetting(t *testing.T, answers ...string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			for _, answer := range answers {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// nameless is a configuration whose name server is a port where nothing listens.
func nameless(t *testing.T) Config {
	t.Helper()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := socket.LocalAddr().String()
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	dial := (&net.Dialer{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", nowhere)
	}}}).DialContext
	return Config{Dial: dial, Transport: &http.Transport{DialContext: dial}, TempDir: t.TempDir()}
}

func TestAnOutageSaysTheSameEachTime(t *testing.T) {
	t.Parallel()
	_, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	over := func(scheme, address string) Git {
		if scheme == "http" {
			return Git{URL: "http://" + address + "/x"}
		}
		known := (&sshServer{address: address}).knownBy(host)
		return Git{URL: "ssh://git@" + address + "/x", Credentials: &Credentials{PrivateKey: private, KnownHosts: known}}
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 9\r\n\r\n"
	hangsUp, resetHTTP, inBody, resetSSH := resetting(t), resetting(t, ""), resetting(t, head+"0048"), resetting(t, "SSH-2.0-x\r\n", "")
	for name, tc := range map[string]struct {
		git    Git
		config Config
		says   string
	}{
		"a request that is reset":            {over("http", resetHTTP), local(t), "the connection to " + resetHTTP + " was reset"},
		"a listing that is reset":            {over("http", inBody), local(t), "the connection to " + inBody + " was reset"},
		"a handshake of SSH that is reset":   {over("ssh", resetSSH), local(t), "the connection to " + resetSSH + " was reset"},
		"an HTTP server without a name":      {over("http", "git.example"), nameless(t), "looking up git.example: the name server did not answer"},
		"an SSH server without a name":       {over("ssh", "git.example:22"), nameless(t), "looking up git.example: the name server did not answer"},
		"an HTTP server that hangs up early": {over("http", hangsUp), local(t), "the connection to " + hangsUp + " was reset"},
	} {
		t.Run(name, func(t *testing.T) {
			resolver := NewResolver(tc.config)
			var said [2]string
			for i := range said {
				_, err := resolver.ResolveGit(t.Context(), tc.git, "")
				wantTransient(t, err, 0)
				said[i] = err.Error()
			}
			if said[0] != said[1] || !strings.Contains(said[0], tc.says) || strings.Contains(said[0], "->") {
				t.Errorf("first %q, then %q, want %q", said[0], said[1], tc.says)
			}
		})
	}
}
