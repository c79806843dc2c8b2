package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// limiter bounds the requests that are under way to one host, whichever Client sends them. A request holds a slot from
// before it is sent until its answer was read to the end or closed, or its context ended.
//
// Nothing that holds a slot may wait for another request that waits for one. Most requests need no other: net/http closes
// an answer before it follows its redirect, and go-containerregistry before it asks for a token. The exception is an upload
// that reads from a download, when an image is copied within one host and the registry refuses to mount its layers: the
// download has its slot before the upload asks for one. So requests without a body leave one slot to those with one, and
// with a limit of one there is one for each.
type limiter struct {
	next    http.RoundTripper
	perHost int

	mu    sync.Mutex
	hosts map[string]*slots
}

func newLimiter(next http.RoundTripper, perHost int) *limiter {
	return &limiter{next: next, perHost: max(perHost, 1), hosts: map[string]*slots{}}
}

// slots of one host. They are forgotten with their last user: a registry may redirect to any number of hosts.
type slots struct {
	users int // who hold a slot or wait for one, guarded by limiter.mu
	// plain are for requests without a body, uploads for those with one; each of them needs one of all, too.
	plain, uploads, all chan struct{}
}

func newSlots(limit int) *slots {
	return &slots{
		plain:   make(chan struct{}, max(limit-1, 1)),
		uploads: make(chan struct{}, limit),
		all:     make(chan struct{}, max(limit, 2)),
	}
}

func (s *slots) of(req *http.Request) []chan struct{} {
	if req.Body == nil || req.Body == http.NoBody {
		return []chan struct{}{s.plain, s.all}
	}
	return []chan struct{}{s.uploads, s.all}
}

func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	release, err := l.take(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		release()
		return nil, err
	}
	if resp.Body == http.NoBody {
		release()
		return resp, nil
	}
	resp.Body = &slotBody{ReadCloser: resp.Body, release: release}
	return resp, nil
}

// take waits for a slot as long as the request's context lasts. release may be called often, and is called when the
// context ends: that also ends the request, whether or not somebody closes its answer.
func (l *limiter) take(req *http.Request) (release func(), err error) {
	ctx, host := req.Context(), hostPort(req)
	s := l.enter(host)
	var taken []chan struct{}
	free := sync.OnceFunc(func() {
		for _, slot := range taken {
			<-slot
		}
		l.leave(host, s)
	})
	for _, slot := range s.of(req) {
		select {
		case slot <- struct{}{}:
			taken = append(taken, slot)
		case <-ctx.Done():
			free()
			return nil, fmt.Errorf("waiting until there are less than %d requests to %s (limits.registry.requestsPerHost): %w", l.perHost, host, context.Cause(ctx))
		}
	}
	stop := context.AfterFunc(ctx, free)
	return func() { stop(); free() }, nil
}

func (l *limiter) enter(host string) *slots {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.hosts[host]
	if !ok {
		s = newSlots(l.perHost)
		l.hosts[host] = s
	}
	s.users++
	return s
}

func (l *limiter) leave(host string, s *slots) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.hosts, host)
	}
}

// hostPort is the one spelling of where req goes.
func hostPort(req *http.Request) string {
	host, port := splitHost(canonicalHost(req.URL.Host))
	switch {
	case port != "":
	case req.URL.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return net.JoinHostPort(host, port)
}

// slotBody gives its slot back when the answer has ended.
type slotBody struct {
	io.ReadCloser
	release func()
}

func (b *slotBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *slotBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
