package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/retryafter"
)

var errRedirect = errors.New("redirect refused")

// maxErrorBody is how much of an error page is read.
const maxErrorBody = 1 << 10

// newTransport is the default transport.
func newTransport(dial dialFunc, timeout time.Duration) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSHandshakeTimeout:    timeout,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        time.Minute,
	}
}

// meter is the transport of one operation: it adds the credentials, counts the bytes of all bodies together
// and notes what the last answer was, since git errors do not tell.
type meter struct {
	incoming
	next           http.RoundTripper
	url            *url.URL
	credentials    *Credentials
	connectTimeout time.Duration
	longest        time.Duration // that a server can ask to wait

	noted      sync.Mutex
	status     int
	notGit     bool
	retryAfter time.Duration
	refused    error
	network    error // of the last request, which go-git keeps as text only
}

// openHTTP makes a session directly on its own HTTP client: go-git's usual entry points take clients from a global.
func openHTTP(config Config, req request) (*httpSession, error) {
	m := newMeter(config, req)
	endpoint, err := transport.NewEndpoint(req.url.String())
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s is not the address of a repository", req.url)
	}
	// The endpoint prints its path as it is, so it must hold the escaped form.
	endpoint.Path = req.url.EscapedPath()
	client := githttp.NewClient(&http.Client{Transport: m, CheckRedirect: checkRedirect})
	session, err := client.NewUploadPackSession(endpoint, nil)
	if err != nil {
		return nil, m.fault(req.url.String(), err)
	}
	return &httpSession{UploadPackSession: session, meter: m}, nil
}

func newMeter(config Config, req request) *meter {
	m := &meter{
		next: config.Transport, url: req.url, credentials: req.credentials,
		connectTimeout: config.Limits.ConnectTimeout.Std(), longest: config.Limits.RetryAfter.Std(),
	}
	m.pace = newPace(config.Limits, config.clock)
	m.allow(listingBound(config.Limits))
	return m
}

// httpSession is a session over smart HTTP.
type httpSession struct {
	transport.UploadPackSession
	*meter
}

// Close ends what is awaited.
func (s *httpSession) Close() error {
	s.rest()
	return s.UploadPackSession.Close()
}

// refusal is an error of a transport that has decided not to connect, such as that of the registry client.
type refusal interface {
	error
	Refused() bool
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(req *http.Request) (*http.Response, error) {
	m.rest() // from an answer that was a redirect
	m.note(func() { m.status, m.network = 0, nil })
	ctx, end := m.limitConnect(req.Context())
	req = req.Clone(ctx)
	m.authorize(req)
	res, err := m.next.RoundTrip(req)
	if err != nil {
		if errors.Is(context.Cause(ctx), errConnect) {
			err = fmt.Errorf("%w within %s", errConnect, m.connectTimeout)
		}
		end()
		m.note(func() { m.failed(err) })
		return nil, err
	}
	m.note(func() { m.answered(res) })
	res.Body = &metered{ReadCloser: res.Body, meter: m, end: end}
	if res.StatusCode >= 400 {
		res.Body = &truncated{Reader: io.LimitReader(res.Body, maxErrorBody), Closer: res.Body}
	}
	return res, nil
}

// limitConnect ends a request that has no connection in time, whatever the transport below allows. The function that
// it returns is for when the request is over, with its body. From when there is a connection, an answer is awaited.
func (m *meter) limitConnect(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(m.connectTimeout, func() { cancel(errConnect) })
	end := func() {
		timer.Stop()
		cancel(nil)
	}
	connected := func(httptrace.GotConnInfo) {
		timer.Stop()
		m.await(end)
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: connected}), end
}

// authorize adds the password to requests to the server of the spec, and to no other. It is done here, since
// net/http passes headers on when it follows redirects.
func (m *meter) authorize(req *http.Request) {
	req.Header.Del("Authorization")
	if m.credentials != nil && req.URL.Scheme == "https" && req.URL.Scheme == m.url.Scheme && strings.EqualFold(req.URL.Host, m.url.Host) {
		req.SetBasicAuth(m.credentials.Username, m.credentials.Password)
	}
}

// note changes what is known about the last answer.
func (m *meter) note(change func()) {
	m.noted.Lock()
	defer m.noted.Unlock()
	change()
}

// failed notes a request without an answer.
func (m *meter) failed(err error) {
	m.network = err
	if r, ok := errors.AsType[refusal](err); ok && r.Refused() {
		m.refused = r
	}
}

// answered notes an answer.
func (m *meter) answered(res *http.Response) {
	m.status = res.StatusCode
	m.retryAfter = retryafter.Parse(res.Header.Get("Retry-After"), m.clock.Now(), m.longest)
	// A server without smart HTTP answers with a page or a plain list, which must not
	// be taken for an outage.
	m.notGit = res.StatusCode == http.StatusOK && !strings.HasPrefix(res.Header.Get("Content-Type"), "application/x-git-")
}

type truncated struct {
	io.Reader
	io.Closer
}

// metered counts what is read.
type metered struct {
	io.ReadCloser
	meter *meter
	end   func()
}

// Read implements io.Reader.
func (b *metered) Read(p []byte) (int, error) {
	n, err := b.meter.read(b.ReadCloser, p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.meter.note(func() { b.meter.network = err })
	}
	return n, err
}

// Close implements io.Closer.
func (b *metered) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// checkRedirect stays on the host of the spec: the reviewer of a spec sees one host, and
// that is the one that gets to name the code.
func checkRedirect(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	switch {
	case to.User != nil || !strings.EqualFold(from.Hostname(), to.Hostname()):
		return fmt.Errorf("%w: to host %q", errRedirect, to.Hostname())
	case from.Scheme == "http" && to.Scheme == "https" && to.Port() == "" && from.Port() == "":
		return nil
	case from.Scheme != to.Scheme || from.Port() != to.Port():
		return fmt.Errorf("%w: to %s://%s", errRedirect, to.Scheme, to.Host)
	}
	return nil
}

// fault turns what went wrong on the network into a Terminal or a Transient.
func (m *meter) fault(url string, err error) error {
	if over := m.budget.fault(url); over != nil {
		return over
	}
	m.noted.Lock()
	defer m.noted.Unlock()
	switch {
	case m.refused != nil:
		return notConnected(url, m.refused)
	case isRedirect(err):
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w: write the address that it leads to", url, err)
	case errors.Is(err, errAddress):
		return notConnected(url, err)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return emptyRepository(url)
	case m.notGit:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s is not a git repository with smart HTTP: use the address that git clone takes", url)
	}
	return m.statusFault(url, err)
}

// isRedirect recognises a refused redirect. go-git has rules of its own beside ours, and only a text for them.
func isRedirect(err error) bool {
	return errors.Is(err, errRedirect) || strings.Contains(err.Error(), "http redirect: ")
}

// statusFault judges the status of the last answer.
func (m *meter) statusFault(url string, err error) error {
	switch status := m.status; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return m.denied(url)
	case status == http.StatusNotFound || status == http.StatusGone:
		return m.notFound(url)
	case status == http.StatusTooManyRequests || status >= 500:
		return &pipeline.Transient{Reason: pipeline.ReasonSourceUnavailable, After: m.retryAfter, Err: fmt.Errorf("reading %s: HTTP status %d", url, status)}
	case status >= 400 && status != http.StatusRequestTimeout:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s answers with HTTP status %d: use the address that git clone takes", url, status)
	}
	if slow := m.pace.fault(url); slow != nil {
		return slow
	}
	return unavailable("reading "+url, cmp.Or(m.network, err))
}

// denied is for an answer 401 or 403.
func (m *meter) denied(url string) error {
	if m.credentials != nil {
		return pipeline.Terminalf(pipeline.ReasonSourceDenied, "%s: %s refuses the credentials that were sent (HTTP status %d): put the name and a password or token that may read the repository into the keys %q and %q of the Secret", secretField, url, m.status, KeyUsername, KeyPassword)
	}
	return pipeline.Terminalf(pipeline.ReasonSourceDenied, "spec.source.git.url: %s may not be read without credentials (HTTP status %d), or does not exist: no credentials were sent; name a Secret with the key %q in %s, or check the address", url, m.status, KeyPassword, secretField)
}

// notFound is for an answer 404, which GitHub also gives to those who may not read a repository.
func (m *meter) notFound(url string) error {
	if m.credentials != nil {
		return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.url: %s does not exist, or the credentials of %s may not read it (HTTP status %d): check the address and what they may read", url, secretField, m.status)
	}
	return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.url: %s does not exist, or is private (HTTP status %d): check the address; no credentials were sent: if it is private, name a Secret with the key %q in %s", url, m.status, KeyPassword, secretField)
}
