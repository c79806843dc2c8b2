package registry

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAnOutageSaysTheSameEachTime(t *testing.T) {
	resets := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}))
	socket := must((&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0"))
	nowhere := socket.LocalAddr().String()
	_ = socket.Close()
	nameless := func(c *Client) {
		d := newDialer(c.guard.policy, time.Second)
		d.lookup = (&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "udp", nowhere)
		}}).LookupNetIP
		c.limiter().next.(*http.Transport).DialContext = d.DialContext
	}
	for desc, tt := range map[string]struct {
		host   string
		change func(*Client)
		says   string
	}{
		"a connection that is reset":      {resets, func(*Client) {}, ": the connection to " + resets + " was reset"},
		"a name server that is not there": {"registry.example", nameless, ": looking up registry.example: the name server did not answer"},
	} {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			tt.change(c)
			var said [2]string
			for i := range said {
				_, err := c.Manifest(t.Context(), parse(t, c, tt.host+"/x:1"))
				if fault(err) != "Transient RegistryUnavailable" {
					t.Fatalf("got %s: %v", fault(err), err)
				}
				said[i] = err.Error()
			}
			if said[0] != said[1] || !strings.Contains(said[0], tt.says) || strings.Contains(said[0], "->") {
				t.Errorf("first %q, then %q, want %q", said[0], said[1], tt.says)
			}
		})
	}
}
