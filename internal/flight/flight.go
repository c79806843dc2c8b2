// Package flight does work once for all who ask for it at the same time.
package flight

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Group of work. The zero value is ready for use.
type Group[T any] struct{ calls singleflight.Group }

// Do returns what work returns, which is called once for everybody who asks for key while it runs. It is not cancelled with
// whoever asked first; it has a context that ends after limit. Nobody waits longer than that, or than their own ctx, even if
// work does not mind its context: the error is that of ctx then, or context.DeadlineExceeded. A panic is an error.
func (g *Group[T]) Do(ctx context.Context, key string, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	done := g.calls.DoChan(key, func() (result any, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = panicked(r)
			}
		}()
		working, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		return work(working)
	})
	waiting, cancel := context.WithTimeout(ctx, limit) // ctx is also of the work, which may only begin now
	defer cancel()
	select {
	case <-waiting.Done():
		var none T
		return none, waiting.Err()
	case r := <-done:
		value, _ := r.Val.(T)
		return value, r.Err
	}
}

// panicked says nothing of what the panic said, unless it is of Go itself: it may be a secret.
func panicked(r any) error {
	if err, ok := r.(interface {
		error
		RuntimeError()
	}); ok {
		return pipeline.Transientf(pipeline.ReasonInternalError, "a defect of ours: %w", err)
	}
	return pipeline.Transientf(pipeline.ReasonInternalError, "a defect of ours: %s", fmt.Sprintf("panic with a %T", r))
}
