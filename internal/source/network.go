package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var (
	errTooLarge = errors.New("the server sent more than is allowed")
	errAddress  = errors.New("address not allowed")
	errConnect  = errors.New("no connection")
)

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// newDial is the default dialer.
func newDial(timeout time.Duration) dialFunc {
	return (&net.Dialer{Timeout: timeout, Control: checkAddress}).DialContext
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

// notConnected is for connections that we decided not to make, or nil for those that failed.
func notConnected(url string, err error) error {
	if r, ok := errors.AsType[refusal](err); ok && r.Refused() {
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w", url, r)
	}
	if errors.Is(err, errAddress) {
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source.git.url: %s: %w: use a server that is neither local nor link-local", url, err)
	}
	return nil
}

func emptyRepository(url string) error {
	return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.git.url: %s has no commits: push one", url)
}

// budget counts what is read from a server.
type budget struct {
	mu       sync.Mutex
	bound    bound
	left     int64
	exceeded bool
}

// allow sets how much more may be read.
func (b *budget) allow(more bound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bound, b.left = more, int64(more.bytes)
}

// take counts bytes that were read.
func (b *budget) take(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left -= int64(n)
	if b.left < 0 {
		b.exceeded = true
		return errTooLarge
	}
	return nil
}

// over says whether too much was read.
func (b *budget) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exceeded
}

// fault is nil unless too much was read.
func (b *budget) fault(url string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.exceeded {
		return nil
	}
	return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "spec.source.git.url: %s: %w (%s, %s): %s", url, errTooLarge, b.bound.limit, b.bound.bytes, b.bound.fix)
}
