package registry

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// maxRedirects of one request are followed.
const maxRedirects = 5

// RefusedError says that a request was not sent, or its answer not followed.
type RefusedError struct {
	// Host is "host" or "host:port" of the request.
	Host string
	// Why says what is wrong and which setting allows it, if any does.
	Why string
}

// Refused marks the error as a decision of ours and not an outage.
func (e *RefusedError) Refused() bool { return true }

func (e *RefusedError) Error() string { return e.Host + " " + e.Why }

// guard enforces the rules that hold for every HTTP request, below anything that may
// follow redirects: TLS, no way back from it, and an end to redirects.
type guard struct {
	next      http.RoundTripper
	policy    addressPolicy
	plainHTTP hostSet
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.checkRequest(req); err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := g.checkLocation(resp, req.URL); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (g *guard) checkRequest(req *http.Request) error {
	if err := g.checkRedirects(req); err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(req.URL.Hostname()); err == nil {
		// Whether it may be reached at all comes before how it is spoken to.
		if err := g.policy.check(req.URL.Hostname(), req.URL.Port(), addr); err != nil {
			return err
		}
	}
	if req.URL.Scheme == "https" || g.plainAllowed(req.URL) {
		return nil
	}
	return &RefusedError{Host: req.URL.Host, Why: "does not speak HTTPS: give the registry a certificate; if its authority is private, add it to registries.caBundle"}
}

func (g *guard) checkRedirects(req *http.Request) error {
	hops := 0
	for at := req; at.Response != nil && at.Response.Request != nil; at = at.Response.Request {
		hops++
		if hops > maxRedirects {
			return &RefusedError{Host: req.URL.Host, Why: fmt.Sprintf("redirects more than %d times", maxRedirects)}
		}
		if at.Response.Request.URL.Scheme == "https" && at.URL.Scheme != "https" {
			return &RefusedError{Host: at.Response.Request.URL.Host, Why: "redirects from HTTPS to plain HTTP"}
		}
	}
	if hops > 0 && hasSecretBody(req) && req.URL.Host != origin(req).URL.Host {
		return &RefusedError{Host: origin(req).URL.Host, Why: "redirects a request with credentials to " + req.URL.Host}
	}
	return nil
}

// hasSecretBody recognises a token request with a refresh token in its form.
func hasSecretBody(req *http.Request) bool {
	return req.Method == http.MethodPost && strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
}

func (g *guard) plainAllowed(u *url.URL) bool {
	if u.Scheme != "http" {
		return false
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	isLoopback := host == "localhost" || err == nil && within(addr, loopback)
	return g.plainHTTP.has(host, u.Port()) || g.policy.allowLoopback && isLoopback
}

// checkLocation refuses an answer that points to an address literal that would not be
// dialled. The dialer would refuse it too; here the refusal comes before any other
// opinion about that address and so keeps its type.
func (g *guard) checkLocation(resp *http.Response, base *url.URL) error {
	loc := resp.Header.Get("Location")
	if loc == "" {
		return nil
	}
	u, err := base.Parse(loc)
	if err != nil {
		return &RefusedError{Host: base.Host, Why: "answers with a malformed Location"}
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return g.policy.check(u.Hostname(), u.Port(), addr)
	}
	return nil
}

// origin is the request that redirects started from, or req itself.
func origin(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// keepCredentialsHome removes what identifies us from a request that was redirected to
// another host or port. net/http does so for unrelated domains, but not for subdomains.
func keepCredentialsHome(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host {
		req.Header.Del("Authorization")
		req.Header.Del("Cookie")
	}
	return nil
}
