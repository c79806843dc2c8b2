package registry

import (
	"errors"
	"net/http"
	"testing"
)

func TestRedirects(t *testing.T) {
	plain := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	tests := map[string]struct {
		to      func(r *http.Request) string
		refused bool
		address bool
	}{
		"to another path is followed":          {to: func(*http.Request) string { return "/end" }},
		"in a circle ends":                     {to: func(*http.Request) string { return "/" }, refused: true},
		"from HTTPS to HTTP is refused":        {to: func(*http.Request) string { return "http://" + plain + "/end" }, refused: true},
		"to a link-local address is refused":   {to: func(*http.Request) string { return "https://169.254.169.254/latest" }, address: true},
		"to a private address is refused":      {to: func(*http.Request) string { return "https://10.0.0.1/" }, address: true},
		"to a file is refused":                 {to: func(*http.Request) string { return "file:///etc/passwd" }, refused: true},
		"to a malformed place is not followed": {to: func(*http.Request) string { return "https://[::1" }, refused: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			port, ca := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/end" {
					w.Header().Set("Location", tt.to(r))
					w.WriteHeader(http.StatusTemporaryRedirect)
				}
			}))
			c := testClient(t, Config{CABundle: ca})
			resolving(c)
			resp, err := c.HTTPClient().Get("https://example.com:" + port + "/")
			if err == nil {
				_ = resp.Body.Close()
			}
			_, refused := errors.AsType[*RefusedError](err)
			_, address := errors.AsType[*AddressError](err)
			if refused != tt.refused || address != tt.address || (err == nil) == (refused || address) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRedirectsAreCounted(t *testing.T) {
	hits := 0
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, "/", http.StatusFound)
	}))
	resp, err := testClient(t, Config{}).HTTPClient().Get("http://" + host)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("no error")
	}
	if hits != maxRedirects+1 {
		t.Errorf("%d requests", hits)
	}
}

func TestAuthorizationStaysAtItsHost(t *testing.T) {
	got := map[string]string{}
	var port string
	port, ca := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got[r.Host] = r.Header.Get("Authorization") + r.Header.Get("Cookie")
		if r.Host == "example.com:"+port {
			http.Redirect(w, r, "https://sub.example.com:"+port, http.StatusFound)
		}
	}))
	c := testClient(t, Config{CABundle: ca})
	resolving(c)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://example.com:"+port, nil)
	req.SetBasicAuth("user", "secret")
	req.Header.Set("Cookie", "session=1")
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if sub, ok := got["sub.example.com:"+port]; !ok || sub != "" {
		t.Errorf("the subdomain was asked: %t, with %q", ok, sub)
	}
	if got["example.com:"+port] == "" {
		t.Error("the host itself got no credentials: the test proves nothing")
	}
}

func TestPlainHTTPNeedsAnUnsafeSetting(t *testing.T) {
	host := serve(t, inMemory())
	_, port := splitHost(host)
	tests := map[string]struct {
		cfg Config
		ok  bool
	}{
		"a name is not spoken to without TLS":  {},
		"a listed host is":                     {cfg: Config{UnsafePlainHTTPHosts: []string{"registry.example:" + port}}, ok: true},
		"another port of a listed host is not": {cfg: Config{UnsafePlainHTTPHosts: []string{"registry.example:1"}}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, tt.cfg)
			resolving(c)
			resp, err := c.HTTPClient().Get("http://registry.example:" + port + "/v2/")
			if err == nil {
				_ = resp.Body.Close()
			}
			_, refused := errors.AsType[*RefusedError](err)
			if (err == nil) != tt.ok || refused == tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLoopbackNeedsAnUnsafeSetting(t *testing.T) {
	host := serve(t, inMemory())
	c, err := New(Config{UnsafePlainHTTPHosts: []string{host}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.HTTPClient().Get("http://" + host)
	if err == nil {
		_ = resp.Body.Close()
	}
	if _, ok := errors.AsType[*AddressError](err); !ok {
		t.Errorf("got %v", err)
	}
}
