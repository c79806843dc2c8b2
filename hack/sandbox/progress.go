//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// heartbeat is how often a long step says that it is still at it.
const heartbeat = 30 * time.Second

// progress tells a person what is being done. It writes to standard error, so
// that standard output stays free for answers.
type progress struct {
	mu    sync.Mutex
	start time.Time
	out   io.Writer
}

func newProgress() *progress {
	return &progress{start: time.Now(), out: os.Stderr}
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	elapsed := time.Since(p.start).Round(time.Second)
	fmt.Fprintf(p.out, "[%4.0fs] %s\n", elapsed.Seconds(), fmt.Sprintf(format, args...))
}

// during announces a step, runs it and repeats itself while it takes long.
func (p *progress) during(what string, step func() error) error {
	p.say("%s", what)
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { p.beat(what, done) })
	err := step()
	close(done)
	beating.Wait()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (p *progress) beat(what string, done <-chan struct{}) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			p.say("... still %s", what)
		}
	}
}

// poll calls check until it returns nil. When the time is over, the error
// says what was awaited and why the last check did not pass.
func poll(ctx context.Context, within time.Duration, awaited string, check func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	const pause = 200 * time.Millisecond
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", awaited, errors.Join(context.Cause(ctx), last))
		case <-ticker.C:
		}
	}
}
