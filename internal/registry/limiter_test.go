package registry

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

func perHost(n int) Config { return Config{Limits: limits.Registry{RequestsPerHost: n}} }

func (s *shared) limiter() *limiter { return s.guard.next.(*limiter) }

// users counts who hold a slot or wait for one.
func (l *limiter) users() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.hosts {
		n += s.users
	}
	return n
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not so after 20 s", what)
		}
	}
}

// crowd is a server that counts the requests that it holds until told.
type crowd struct {
	now, most atomic.Int32
	proceed   chan struct{}
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := c.now.Add(1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	_, _ = io.Copy(io.Discard, r.Body)
	select {
	case <-c.proceed:
	case <-r.Context().Done():
	}
	c.now.Add(-1) // before the client can see the end of the answer
	_, _ = io.WriteString(w, "done")
}

func TestRequestsPerHost(t *testing.T) {
	const requests = 20
	tests := map[string]struct {
		limit  int
		http2  bool
		upload bool
		want   int32
	}{
		"one at a time":                              {limit: 1, want: 1},
		"uploads one at a time":                      {limit: 1, upload: true, want: 1},
		"downloads leave a slot to uploads":          {limit: 4, want: 3},
		"uploads take every slot":                    {limit: 4, upload: true, want: 4},
		"streams of one connection count separately": {limit: 4, http2: true, want: 3},
		"uploads as streams of one connection":       {limit: 4, http2: true, upload: true, want: 4},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			seen := &crowd{proceed: make(chan struct{})}
			srv := httptest.NewUnstartedServer(seen)
			srv.EnableHTTP2 = tt.http2
			srv.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that lost a race to another's
			srv.StartTLS()
			defer srv.Close()
			cfg := perHost(tt.limit)
			cfg.CABundle = certificate(srv)
			c := testClient(t, cfg)
			url := "https://" + srv.Listener.Addr().String()
			var wg sync.WaitGroup
			for i := range requests {
				from := c
				if i%2 == 0 {
					from = c.With(user("example.com"))
				}
				wg.Go(func() { fetch(t, from, url, tt.upload, tt.http2) })
			}
			eventually(t, "all requests are sent or wait", func() bool { return c.limiter().users() == requests })
			eventually(t, "as many as allowed are sent", func() bool { return seen.now.Load() == tt.want })
			close(seen.proceed)
			wg.Wait()
			if got := seen.most.Load(); got != tt.want {
				t.Errorf("%d requests at a time", got)
			}
			if n := c.limiter().users(); n != 0 {
				t.Errorf("%d slots are left over", n)
			}
		})
	}
}

func fetch(t *testing.T, c *Client, url string, upload, http2 bool) {
	method, body := http.MethodGet, http.NoBody
	req, _ := http.NewRequestWithContext(t.Context(), method, url, body)
	if upload {
		req, _ = http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("x"))
	}
	resp, err := c.HTTPClient().Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if got, err := io.ReadAll(resp.Body); string(got) != "done" || err != nil || (resp.ProtoMajor == 2) != http2 {
		t.Errorf("%s: got %q, %v", resp.Proto, got, err)
	}
}

func TestACancelledWaiterLeaves(t *testing.T) {
	host := serve(t, endlessly("x"))
	c := testClient(t, perHost(1))
	held, err := c.HTTPClient().Get("http://" + host)
	if err != nil {
		t.Fatal(err)
	}
	for desc, tt := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		want error
		is   string
	}{
		"because it was cancelled": {end: context.WithCancel, want: context.Canceled, is: "plain"},
		"because its time is over": {want: context.DeadlineExceeded, is: "Transient RegistryTimeout", end: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now())
		}},
	} {
		t.Run(desc, func(t *testing.T) {
			ctx, cancel := tt.end(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host, nil)
			failed := make(chan error)
			go func() {
				_, err := c.guard.RoundTrip(req)
				failed <- err
			}()
			if tt.is == "plain" {
				eventually(t, "the request waits", func() bool { return c.limiter().users() == 2 })
				cancel()
			}
			if err := <-failed; !errors.Is(err, tt.want) || fault(Classify("reading", err)) != tt.is {
				t.Errorf("got %v", err)
			}
			if n := c.limiter().users(); n != 1 {
				t.Errorf("%d slots are in use", n)
			}
		})
	}
	_ = held.Body.Close()
	if n := c.limiter().users(); n != 0 {
		t.Errorf("%d slots are left over", n)
	}
}

// endlessly says text until the client goes away.
func endlessly(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	})
}

func TestNoSlotIsLostToAFailure(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		read   func(*http.Response, context.CancelFunc)
	}{
		"an answer that is not read to the end": {answer: endlessly("x").ServeHTTP, read: func(r *http.Response, _ context.CancelFunc) { _ = r.Body.Close() }},
		"an answer that nobody closes": {answer: endlessly("x").ServeHTTP, read: func(_ *http.Response, cancel context.CancelFunc) {
			cancel()
		}},
		"an answer that breaks off": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "x")
		}, read: func(r *http.Response, _ context.CancelFunc) { _, _ = io.ReadAll(r.Body) }},
		"an answer without a body that nobody closes": {answer: func(http.ResponseWriter, *http.Request) {}, read: func(*http.Response, context.CancelFunc) {}},
		"a connection that breaks":                    {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		"an answer that is refused": {answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://169.254.169.254/")
			_, _ = io.WriteString(w, "x")
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, perHost(1))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+serve(t, tt.answer), nil)
			resp, err := c.HTTPClient().Do(req)
			if (err == nil) != (tt.read != nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil {
				tt.read(resp, cancel)
			}
			eventually(t, "the slot is free", func() bool { return c.limiter().users() == 0 })
		})
	}
}

func TestHostsAreSpelledInOneWay(t *testing.T) {
	for url, want := range map[string]string{
		"https://Registry.Example./v2/":    "registry.example:443",
		"https://registry.example:443/v2/": "registry.example:443",
		"http://registry.example/":         "registry.example:80",
		"https://registry.example:5000/":   "registry.example:5000",
		"https://[2001:DB8::1]/":           "[2001:db8::1]:443",
	} {
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		if got := hostPort(req); got != want {
			t.Errorf("%s: got %s", url, got)
		}
	}
}
