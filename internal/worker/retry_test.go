package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// impatient tries once.
var impatient = retrier{out: io.Discard, wait: func(context.Context, time.Duration) error { return context.Canceled }}

// recorder notes pauses instead of making them.
type recorder struct {
	out    bytes.Buffer
	pauses []time.Duration
}

func (r *recorder) retrier() retrier {
	return retrier{out: &r.out, wait: func(_ context.Context, d time.Duration) error {
		r.pauses = append(r.pauses, d)
		return nil
	}}
}

func TestRetrier(t *testing.T) {
	transient := func(after time.Duration) error {
		return &pipeline.Transient{Reason: "RegistryUnavailable", After: after, Err: errors.New("HTTP status 503\nand more")}
	}
	terminal := pipeline.Terminalf("PushDenied", "no")
	defect := errors.New("a defect")
	const s = time.Second
	tests := map[string]struct {
		failures []error // of the first tries; then it succeeds
		want     error
		pauses   []time.Duration
	}{
		"success at once":                          {},
		"success at the second try":                {failures: []error{transient(0)}, pauses: []time.Duration{2 * s}},
		"success at the last try":                  {failures: []error{transient(0), transient(0), transient(0), transient(0)}, pauses: []time.Duration{2 * s, 8 * s, 30 * s, 60 * s}},
		"no success":                               {failures: []error{transient(0), transient(0), transient(0), transient(0), transient(1)}, want: transient(1), pauses: []time.Duration{2 * s, 8 * s, 30 * s, 60 * s}},
		"a server that asks for more time":         {failures: []error{transient(20 * s)}, pauses: []time.Duration{20 * s}},
		"a server that asks for less time":         {failures: []error{transient(0), transient(s)}, pauses: []time.Duration{2 * s, 8 * s}},
		"a server that asks for five minutes":      {failures: []error{transient(300 * s)}, pauses: []time.Duration{300 * s}},
		"a server that asks for an hour":           {failures: []error{transient(time.Hour)}, want: transient(time.Hour)},
		"five minutes together":                    {failures: []error{transient(200 * s), transient(200 * s)}, want: transient(200 * s), pauses: []time.Duration{200 * s}},
		"a failure that stays":                     {failures: []error{terminal}, want: terminal},
		"a failure that stays, later":              {failures: []error{transient(0), terminal}, want: terminal, pauses: []time.Duration{2 * s}},
		"a defect":                                 {failures: []error{defect}, want: defect},
		"a failure that stays, by one that passes": {failures: []error{pipeline.Terminalf("A", "x: %w", transient(0))}, want: errors.New("x: HTTP status 503\nand more")},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var r recorder
			tries := 0
			err := r.retrier().do(t.Context(), func() error {
				tries++
				if tries > len(tt.failures) {
					return nil
				}
				return tt.failures[tries-1]
			})
			if (err == nil) != (tt.want == nil) || err != nil && err.Error() != tt.want.Error() {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(tt.pauses, r.pauses); diff != "" {
				t.Error(diff)
			}
			if lines := strings.Count(r.out.String(), "\n"); lines != len(tt.pauses) || tries != len(tt.pauses)+1 {
				t.Errorf("%d tries, %d lines: %s", tries, lines, &r.out)
			}
		})
	}
	t.Run("each further try is announced in one line", func(t *testing.T) {
		var r recorder
		_ = r.retrier().do(t.Context(), func() error { return transient(0) })
		if first, _, _ := strings.Cut(r.out.String(), "\n"); first != "try 2 of 5 in 2s: HTTP status 503 and more" {
			t.Errorf("got %q", first)
		}
	})
	t.Run("a command that is stopped does not go on", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var r recorder
		if err := r.retrier().do(ctx, func() error { return transient(0) }); !pipeline.IsTransient(err) || len(r.pauses) > 0 {
			t.Errorf("got %v after %v", err, r.pauses)
		}
		if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPushTriesAgain(t *testing.T) {
	// The registry client tries a request three times by itself: this outage is longer.
	down := true
	host := serveRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if down {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	o := pushOptions(t, host, writeLayout(t, dockerImage(t, 1)))
	var r recorder
	o.retrier = r.retrier()
	wait := o.retrier.wait
	o.retrier.wait = func(ctx context.Context, d time.Duration) error {
		down = false
		return wait(ctx, d)
	}
	digest, err := Push(t.Context(), o)
	if err != nil || len(r.pauses) != 1 {
		t.Fatalf("got %v after %v", err, r.pauses)
	}
	pull(t, host, digest)
}
