package registry

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ibshafique/base-images/internal/limits"
)

// counted counts what paths are asked for.
type counted struct {
	next http.Handler

	mu   sync.Mutex
	seen map[string]int
}

func counting(next http.Handler) *counted { return &counted{next: next, seen: map[string]int{}} }

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.seen[r.URL.Path]++
	c.mu.Unlock()
	c.next.ServeHTTP(w, r)
}

func (c *counted) of(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[path]
}

// client is one whose clock is f.
func (f *fakeTime) client(t *testing.T) *Client {
	t.Helper()
	c := testClient(t, Config{Limits: limits.Registry{Tries: 1}})
	c.timing = f.timing()
	return c.With(nil)
}

func TestARegistryIsAskedHowToLogInOnceInAWhile(t *testing.T) {
	var asked []string
	tests := map[string]http.Handler{
		"that needs no login":      inMemory(),
		"that wants a token first": tokenRegistry(func(host string) string { return "http://" + host + "/token" }, &asked),
	}
	for desc, handler := range tests {
		t.Run(desc, func(t *testing.T) {
			at, pings := newFakeTime(), counting(handler)
			host, c := serve(t, pings), at.client(t)
			read := func(c *Client, repository string) {
				t.Helper()
				if _, err := c.Manifest(t.Context(), parse(t, c, host+"/"+repository+":x")); !strings.Contains(fmt.Sprint(err), "NAME_UNKNOWN") && !strings.Contains(fmt.Sprint(err), "404") {
					t.Errorf("got %v", err)
				}
			}
			for i := range 5 {
				read(c, fmt.Sprintf("x/a%d", i))
			}
			read(c.With(nil), "x/a0")
			if n := pings.of("/v2/"); n != 1 {
				t.Errorf("it was asked %d times", n)
			}
			at.pass(pingAge)
			read(c, "x/a0")
			if n := pings.of("/v2/"); n != 1 {
				t.Errorf("it was asked again for a repository that was logged in to: %d times", n)
			}
			read(c, "x/b")
			read(c, "x/c")
			if n := pings.of("/v2/"); n != 2 {
				t.Errorf("after a while it was asked %d times", n)
			}
		})
	}
}

func TestAnOutageAtTheLoginIsForgotten(t *testing.T) {
	for _, status := range []int{403, 404, 429, 500, 503} {
		broken := true
		host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken {
				w.WriteHeader(status)
				return
			}
			inMemory().ServeHTTP(w, r)
		}))
		c := newFakeTime().client(t)
		ref := parse(t, c, host+"/x/y:z")
		_, first := c.Manifest(t.Context(), ref)
		broken = false
		_, second := c.Manifest(t.Context(), ref)
		if strings.Contains(fmt.Sprint(first), "NAME_UNKNOWN") || !strings.Contains(fmt.Sprint(second), "NAME_UNKNOWN") {
			t.Errorf("%d: got %v, then %v", status, first, second)
		}
	}
}

func TestPingsAreBounded(t *testing.T) {
	p := &pings{known: map[string]ping{}}
	at := newFakeTime()
	note := func(host string, header ...string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.note(req, &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": header}}, at.now())
		return req
	}
	for i := range 10 * maxPings {
		note(fmt.Sprintf("h%d.example", i))
	}
	if len(p.known) > maxPings {
		t.Errorf("%d are kept", len(p.known))
	}
	short := note("short.example", "Bearer realm=x", "Basic")
	if resp, err := p.answer(short, at.now()); err != nil || resp == nil || resp.StatusCode != http.StatusUnauthorized || len(resp.Header.Values("WWW-Authenticate")) != 2 {
		t.Errorf("got %v: %v", resp, err)
	}
	long := note("long.example", strings.Repeat("x", maxChallenge/2+1), strings.Repeat("x", maxChallenge/2))
	if resp, err := p.answer(long, at.now()); resp != nil || err != nil {
		t.Errorf("%d bytes are kept: %v", maxChallenge+1, err)
	}
	other := long.Clone(t.Context())
	other.URL.Host = "short.example:8443"
	if resp, err := p.answer(other, at.now()); resp != nil || err != nil {
		t.Error("another port gets the answer")
	}
}

func TestOnlyTheQuestionHowToLogInIsAnswered(t *testing.T) {
	for desc, change := range map[string]func(*http.Request){
		"a write":                func(r *http.Request) { r.Method = http.MethodPost },
		"with credentials":       func(r *http.Request) { r.Header.Set("Authorization", "Basic x") },
		"a manifest":             func(r *http.Request) { r.URL.Path = "/v2/x/manifests/y" },
		"with a query":           func(r *http.Request) { r.URL.RawQuery = "a=b" },
		"where a redirect leads": func(r *http.Request) { r.Response = &http.Response{Request: r} },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x.example/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if !isPing(req) {
			t.Fatal("it is none")
		}
		if change(req); isPing(req) {
			t.Errorf("%s is one", desc)
		}
	}
}
