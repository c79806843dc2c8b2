package registry

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

// testClient allows loopback and does not wait between retries.
func testClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	cfg.UnsafeLoopback = true
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.backoff.Duration = time.Millisecond
	return c.With(nil)
}

// resolving makes every name have the address 127.0.0.1.
func resolving(c *Client) {
	d := newDialer(c.guard.policy, time.Second)
	d.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	c.limiter().next.(*http.Transport).DialContext = d.DialContext
}

func inMemory() http.Handler { return inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0))) }

// serve returns host:port of a plain HTTP server on loopback.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// serveTLS returns the port of a server for example.com and its certificate.
func serveTLS(t *testing.T, h http.Handler) (port string, ca []byte) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port = splitHost(srv.Listener.Addr().String())
	return port, certificate(srv)
}

func certificate(srv *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}

func parse(t *testing.T, c *Client, ref string) name.Reference {
	t.Helper()
	r, err := c.Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(64, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// user is a keychain with one password for one host.
type user string

func (u user) Resolve(target authn.Resource) (authn.Authenticator, error) {
	if target.RegistryStr() != string(u) {
		return authn.Anonymous, nil
	}
	return &authn.Basic{Username: "user", Password: "secret"}, nil
}
