package source

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var (
	errTooLarge = errors.New("the server sent more than is allowed")
	errRedirect = errors.New("redirect refused")
	errAddress  = errors.New("address not allowed")
)

// maxErrorBody is how much of an error page is read.
const maxErrorBody = 1 << 10

// newTransport is the default transport.
func newTransport(timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: timeout, Control: checkAddress}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    timeout,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		IdleConnTimeout:        time.Minute,
	}
}

// checkAddress runs after DNS and before each connection, so that no name can lead to the
// cloud's metadata service or into the pod itself.
func checkAddress(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", errAddress, address)
	}
	ip := addr.Addr().Unmap()
	if ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("%w: %s", errAddress, ip)
	}
	return nil
}

// meter is the transport of one operation: it counts the bytes of all bodies together
// and notes what the last answer was, since git errors do not tell.
type meter struct {
	next http.RoundTripper

	mu         sync.Mutex
	left       int64
	exceeded   bool
	status     int
	notGit     bool
	retryAfter time.Duration
	refused    error
}

// refusal is an error of a transport that has decided not to connect, such as that of the registry client.
type refusal interface {
	error
	Refused() bool
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(req *http.Request) (*http.Response, error) {
	m.mu.Lock()
	m.status = 0
	m.mu.Unlock()
	res, err := m.next.RoundTrip(req)
	if err != nil {
		if r, ok := errors.AsType[refusal](err); ok && r.Refused() {
			m.mu.Lock()
			m.refused = r
			m.mu.Unlock()
		}
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = res.StatusCode
	m.retryAfter = retryAfter(res.Header.Get("Retry-After"))
	// A server without smart HTTP answers with a page or a plain list, which must not
	// be taken for an outage.
	m.notGit = res.StatusCode == http.StatusOK && !strings.HasPrefix(res.Header.Get("Content-Type"), "application/x-git-")
	if res.StatusCode >= 400 {
		res.Body = &truncated{Reader: io.LimitReader(res.Body, maxErrorBody), Closer: res.Body}
		return res, nil
	}
	res.Body = &metered{ReadCloser: res.Body, meter: m}
	return res, nil
}

type truncated struct {
	io.Reader
	io.Closer
}

// metered counts what is read.
type metered struct {
	io.ReadCloser
	meter *meter
}

// Read implements io.Reader.
func (b *metered) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.meter.mu.Lock()
	defer b.meter.mu.Unlock()
	b.meter.left -= int64(n)
	if b.meter.left < 0 {
		b.meter.exceeded = true
		return 0, errTooLarge
	}
	return n, err
}

// allow sets how much more may be read.
func (m *meter) allow(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left = n
}

// retryAfter reads seconds, the form that git servers send; an hour at most.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, time.Hour)
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
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.exceeded:
		return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "spec.source.git.url: %s: %w: use a smaller repository, or a branch or tag instead of an old commit", url, errTooLarge)
	case m.refused != nil:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w", url, m.refused)
	case errors.Is(err, errRedirect):
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w: write the address that it leads to", url, err)
	case errors.Is(err, errAddress):
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w: use a server that is neither local nor link-local", url, err)
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.url: %s has no commits: push one", url)
	case m.notGit:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s is not a git repository with smart HTTP: use the address that git clone takes", url)
	}
	return m.statusFault(url, err)
}

// statusFault judges the status of the last answer.
func (m *meter) statusFault(url string, err error) error {
	switch status := m.status; {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return pipeline.Terminalf(pipeline.ReasonSourceDenied, "spec.source.git.url: %s may not be read without credentials (HTTP status %d), or does not exist: check the address or make the repository readable", url, status)
	case status == http.StatusNotFound || status == http.StatusGone:
		return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.url: %s does not exist (HTTP status %d): check the address", url, status)
	case status == http.StatusTooManyRequests || status >= 500:
		return &pipeline.Transient{Reason: pipeline.ReasonSourceUnavailable, After: m.retryAfter, Err: fmt.Errorf("reading %s: HTTP status %d", url, status)}
	case status >= 400 && status != http.StatusRequestTimeout:
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s answers with HTTP status %d: use the address that git clone takes", url, status)
	}
	return pipeline.Transientf(pipeline.ReasonSourceUnavailable, "reading %s: %w", url, err)
}
