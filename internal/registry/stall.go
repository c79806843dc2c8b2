package registry

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// StallError says that an answer came in drops: too slowly to be worth a slot, and too fast for any time-out of a connection.
type StallError struct {
	// What was read, for example "the blob".
	What string
	// Bytes did not come in Within.
	Bytes  limits.Bytes
	Within limits.Duration
}

func (e *StallError) Error() string {
	return fmt.Sprintf("%s brought less than %s in %s (limits.registry.stallBytes and stallTimeout)", e.What, e.Bytes, e.Within)
}

// steadyBody fails unless it brings StallBytes, or its end, in each StallTimeout. Only time that is spent reading counts:
// a slow reader is not a slow registry.
type steadyBody struct {
	io.ReadCloser
	timing
	stall *StallError

	got  limits.Bytes  // since it last had enough
	left time.Duration // to have enough again
	err  error
}

func (a *answers) steady(resp *http.Response, what string) {
	resp.Body = &steadyBody{
		ReadCloser: resp.Body,
		timing:     a.timing,
		stall:      &StallError{What: what, Bytes: a.limits.StallBytes, Within: a.limits.StallTimeout},
		left:       a.limits.StallTimeout.Std(),
	}
}

func (b *steadyBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	began := b.now()
	// To close the body is the one thing that ends a Read that blocks.
	stop := b.alarm(b.left, func() { _ = b.Close() })
	n, err := b.ReadCloser.Read(p)
	if !stop() {
		err = b.stall
	}
	b.count(n, b.now().Sub(began))
	b.err = err
	return n, err
}

func (b *steadyBody) count(n int, took time.Duration) {
	b.got += limits.Bytes(n)
	b.left -= took
	if b.got >= b.stall.Bytes {
		b.got, b.left = 0, b.stall.Within.Std()
	}
}
