package registry

import (
	"context"
	"time"
)

// timing is what a Client takes from the clock, in one place for tests.
type timing struct {
	now func() time.Time
	// pause waits for d, or returns the cause of the context's end.
	pause func(ctx context.Context, d time.Duration) error
	// alarm calls f after d. stop reports whether it was called before that.
	alarm func(d time.Duration, f func()) (stop func() bool)
}

var realTime = timing{
	now:   time.Now,
	pause: pause,
	alarm: func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
