package netmessage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestOf(t *testing.T) {
	local, remote := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 48246}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}
	reset := &net.OpError{Op: "read", Net: "tcp", Source: local, Addr: remote, Err: syscall.ECONNRESET}
	for desc, tt := range map[string]struct {
		err  error
		want string
	}{
		"a connection that was reset":       {reset, "the connection to 192.0.2.1:443 was reset"},
		"in what surrounds it":              {&url.Error{Op: "Get", URL: "https://x", Err: fmt.Errorf("reading: %w", reset)}, "the connection to 192.0.2.1:443 was reset"},
		"one that a write has noticed":      {&net.OpError{Op: "write", Net: "tcp", Source: local, Addr: remote, Err: os.NewSyscallError("write", syscall.EPIPE)}, "the connection to 192.0.2.1:443 was reset"},
		"one that was refused":              {&net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "dial 192.0.2.1:443: connect: connection refused"},
		"only its text":                     {errors.New("unexpected client error: " + reset.Error()), "unexpected client error: read tcp 192.0.2.1:443: connection reset by peer"},
		"a dial that took too long":         {&net.OpError{Op: "dial", Net: "tcp", Addr: remote, Err: context.DeadlineExceeded}, "dial 192.0.2.1:443: it took too long"},
		"an alert of TLS has no address":    {&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")}, "remote error: tls: handshake failure"},
		"no such host":                      {&net.DNSError{Name: "x.example", Err: "no such host", Server: "10.0.0.10:53", IsNotFound: true}, "looking up x.example: no such host"},
		"a name server that is not there":   {&net.DNSError{Name: "x.example", Err: "read udp 127.0.0.1:50907->10.0.0.10:53: connection refused", Server: "10.0.0.10:53"}, "looking up x.example: the name server did not answer"},
		"a name server that is slow":        {&net.OpError{Op: "dial", Err: &net.DNSError{Name: "x.example", Err: "i/o timeout", IsTimeout: true}}, "looking up x.example: the name server did not answer"},
		"a name server that fails":          {&net.DNSError{Name: "x.example", Err: "server misbehaving", IsTemporary: true}, "looking up x.example: the name server could not find it out"},
		"a look-up that was cancelled":      {&net.DNSError{Name: "x.example", Err: "operation was canceled", UnwrapErr: context.Canceled}, "looking up x.example: it was cancelled"},
		"the end":                           {&url.Error{Op: "Get", URL: "https://x", Err: io.EOF}, closed},
		"the end in the middle":             {fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), closed},
		"a deadline":                        {&url.Error{Op: "Get", URL: "https://x", Err: context.DeadlineExceeded}, "it took too long"},
		"a deadline, and what it was for":   {fmt.Errorf("waiting for a slot: %w", context.DeadlineExceeded), "waiting for a slot: context deadline exceeded"},
		"a stream of HTTP/2 that was reset": {errors.New("stream error: stream ID 7; INTERNAL_ERROR; received from peer"), "stream error: INTERNAL_ERROR; received from peer"},
		"a server of HTTP/2 that goes":      {errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=9, ErrCode=NO_ERROR"), "http2: server sent GOAWAY and closed the connection; ErrCode=NO_ERROR"},
		"anything else":                     {errors.New("surprise"), "surprise"},
	} {
		t.Run(desc, func(t *testing.T) {
			got := Wrap(tt.err)
			if got.Error() != tt.want {
				t.Errorf("says %q, want %q", got, tt.want)
			}
			if !errors.Is(got, tt.err) {
				t.Error("its cause is lost")
			}
		})
	}
	if Wrap(nil) != nil {
		t.Error("no error became one")
	}
}

// The errors above are made by hand; these are those of the standard library.
func TestTheSameFailureSaysTheSame(t *testing.T) {
	resetting := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	server := httptest.NewServer(http.HandlerFunc(resetting))
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableKeepAlives: true}
	nowhere := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return deaf(t)
	}}
	for desc, fail := range map[string]func() error{
		"a connection that the server resets": func() error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(req)
			if err == nil {
				_ = res.Body.Close()
			}
			return err
		},
		"a name server that is not there": func() error {
			_, err := nowhere.LookupNetIP(t.Context(), "ip", "x.example.")
			return err
		},
	} {
		t.Run(desc, func(t *testing.T) {
			first, second := fail(), fail()
			if first == nil || second == nil {
				t.Fatal("no error")
			}
			if Of(first) != Of(second) || strings.Contains(Of(first), "->") {
				t.Errorf("first %q, then %q", Of(first), Of(second))
			}
		})
	}
}

// deaf is a connection to a port where nothing listens.
func deaf(t *testing.T) (net.Conn, error) {
	t.Helper()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := socket.LocalAddr().String()
	if err := socket.Close(); err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(t.Context(), "udp", address)
}
