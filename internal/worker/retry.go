package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxPause is how long a command waits in all between its tries: a server that needs longer is one for another
// attempt, which does not hold the node's memory while it waits.
const maxPause = 5 * time.Minute

// pauses are before each try but the first.
var pauses = []time.Duration{2 * time.Second, 8 * time.Second, 30 * time.Second, time.Minute}

// retrier tries again what failed in passing.
type retrier struct {
	// out gets a line for each further try. Default: standard output.
	out io.Writer
	// wait returns early, with an error, if the context ends. Default: a timer.
	wait func(context.Context, time.Duration) error
}

// do returns the failure of the last try.
func (r retrier) do(ctx context.Context, try func() error) error {
	r = r.withDefaults()
	var waited time.Duration
	for i := 0; ; i++ {
		err := try()
		after, again := retryAfter(err)
		if !again || ctx.Err() != nil || i == len(pauses) {
			return err
		}
		pause := max(pauses[i], after)
		if waited += pause; waited > maxPause {
			return err
		}
		fmt.Fprintf(r.out, "try %d of %d in %s: %s\n", i+2, len(pauses)+1, pause, oneLine(err))
		if r.wait(ctx, pause) != nil {
			return err
		}
	}
}

func (r retrier) withDefaults() retrier {
	if r.out == nil {
		r.out = os.Stdout
	}
	if r.wait == nil {
		r.wait = sleep
	}
	return r
}

// retryAfter says whether a failure is one that passes, and the least time until then. A Terminal stays one, whatever
// is its cause.
func retryAfter(err error) (time.Duration, bool) {
	t, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || pipeline.IsTerminal(err) {
		return 0, false
	}
	return t.After, true
}

// oneLine is a message for a log, whose lines are read one by one.
func oneLine(err error) string {
	return strings.Join(strings.Fields(truncate(err.Error(), maxMessage)), " ")
}

// sleep is for real.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
