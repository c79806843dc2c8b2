package verdict

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// host is a registry: how it answers, and how many of the verifications are about images of it.
type host struct {
	name string
	// places are those that its images may take.
	places chan struct{}
	// failures in a row after which it is left alone, for pause.
	most   int
	pause  time.Duration
	opened func()

	mu       sync.Mutex
	failures int
	// since is when the first of failures was.
	since time.Time
	// until is when somebody may ask again, zero if all may ask.
	until   time.Time
	probing bool
	last    error
}

// enter says whether the host may be asked now. Whoever may has to leave, with what came of it.
func (h *host) enter(now time.Time) (leave func(time.Time, error), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	probe := !h.until.IsZero()
	if probe && (now.Before(h.until) || h.probing) {
		return nil, h.closed(now)
	}
	h.probing = probe
	return func(now time.Time, err error) { h.leave(now, err, probe) }, nil
}

func (h *host) closed(now time.Time) error {
	again := max(h.until.Sub(now), 0)
	return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, After: again, Err: fmt.Errorf(
		"registry %s is left alone, since it has failed %d times in a row from %s on; it is asked again at %s; the last failure was: %w",
		h.name, h.failures, clockTime(h.since), clockTime(h.until), h.last)}
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

func (h *host) leave(now time.Time, err error, probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if probe {
		h.probing = false
	}
	switch {
	case isAway(err):
		h.failed(now, err, probe)
	case err == nil, pipeline.IsTerminal(err):
		h.failures, h.until, h.last = 0, time.Time{}, nil
	}
}

func (h *host) failed(now time.Time, err error, probe bool) {
	if h.failures == 0 {
		h.since = now
	}
	h.failures++
	h.last = err
	if !probe && (h.failures < h.most || !h.until.IsZero()) {
		return
	}
	if h.until = now.Add(h.pause); !probe {
		h.opened()
	}
}

// isAway reports whether err says that a registry does not answer. That somebody has given up waiting says nothing of it.
func isAway(err error) bool {
	t, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || errors.Is(err, context.Canceled) {
		return false
	}
	switch t.Reason {
	case pipeline.ReasonRegistryUnavailable, pipeline.ReasonRegistryTimeout, pipeline.ReasonRegistryTooSlow, pipeline.ReasonRegistryThrottled:
		return true
	}
	return false
}

// place waits for a place among those who verify at the same time. One host does not get all of them: others have images, too.
func (c *Cache) place(ctx context.Context, h *host, s *steps) (release func(), err error) {
	defer s.begin(pipeline.ReasonAdmissionBusy, fmt.Sprintf("waiting for one of %d verifications to end", cap(c.places)))()
	if !take(ctx, h.places) {
		return nil, s.late(ctx)
	}
	if !take(ctx, c.places) {
		<-h.places
		return nil, s.late(ctx)
	}
	return func() { <-c.places; <-h.places }, nil
}

func take(ctx context.Context, places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}
