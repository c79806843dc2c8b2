package registry

import (
	"errors"
	"net/http"
	"sync"
	"time"
)

// go-containerregistry asks a registry how to log in before it asks for anything in a repository. The answer is the same for
// all of them, so it is asked for once in a while.

const (
	pingAge = 5 * time.Minute
	// maxPings are kept, and maxChallenge bytes of each. What is longer is asked for again.
	maxPings, maxChallenge = 256, 4 << 10
)

var errPlain = errors.New("the registry was found to speak plain HTTP")

// pings are what registries have answered, by scheme and host.
type pings struct {
	mu    sync.Mutex
	known map[string]ping
}

type ping struct {
	status     int
	challenges []string
	until      time.Time
}

// isPing reports whether req asks how to log in.
func isPing(req *http.Request) bool {
	return req.Method == http.MethodGet && req.URL.Path == "/v2/" && req.URL.RawQuery == "" && req.Response == nil && req.Header.Get("Authorization") == ""
}

// answer is nil if the registry has to be asked.
func (p *pings) answer(req *http.Request, now time.Time) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, there := p.known[req.URL.Scheme+"://"+req.URL.Host]
	if there && now.Before(known.until) {
		return known.response(req), nil
	}
	// Where plain HTTP is allowed, HTTPS is tried first each time.
	if plain, there := p.known["http://"+req.URL.Host]; there && req.URL.Scheme == "https" && now.Before(plain.until) {
		return nil, errPlain
	}
	return nil, nil
}

func (p ping) response(req *http.Request) *http.Response {
	return &http.Response{
		Status: http.StatusText(p.status), StatusCode: p.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Www-Authenticate": append([]string(nil), p.challenges...)}, Body: http.NoBody, Request: req,
	}
}

// note remembers an answer that says how to log in, or that there is no need to.
func (p *pings) note(req *http.Request, resp *http.Response, now time.Time) {
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return
	}
	challenges, size := resp.Header.Values("WWW-Authenticate"), 0
	for _, c := range challenges {
		size += len(c)
	}
	if size > maxChallenge {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxPings {
		clear(p.known)
	}
	p.known[req.URL.Scheme+"://"+req.URL.Host] = ping{status: resp.StatusCode, challenges: challenges, until: now.Add(pingAge)}
}
