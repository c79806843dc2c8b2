package verdict

import (
	"fmt"
	"sync"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// breaker leaves alone what has failed several times in a row.
type breaker struct {
	// name of what is left alone, and what it did, for messages.
	name, did string
	// most failures in a row after which it is left alone, for pause.
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
	// last failure, if it is to be told. Its error would keep answers.
	last string
}

func (c *Cache) breaker(name, did string) *breaker {
	return &breaker{name: name, did: did, most: c.limits.BreakerFailures, pause: c.limits.BreakerPause.Std(), opened: c.observer.Opened}
}

// enter says whether it may be asked now. Whoever may has to leave, with what came of it, and a failure if it is to be told.
func (b *breaker) enter(now time.Time) (leave func(time.Time, news, error), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	probe := !b.until.IsZero()
	if probe && (now.Before(b.until) || b.probing) {
		return nil, b.closed(now)
	}
	b.probing = probe
	return func(now time.Time, n news, err error) { b.leave(now, n, err, probe) }, nil
}

func (b *breaker) closed(now time.Time) error {
	again := max(b.until.Sub(now), 0)
	err := fmt.Errorf("%s is left alone, since it %s %d times in a row from %s on; it is asked again at %s%s",
		b.name, b.did, b.failures, clockTime(b.since), clockTime(b.until), b.last)
	return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, After: again, Err: err}
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }

func (b *breaker) leave(now time.Time, n news, err error, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch n {
	case fails:
		b.failed(now, err, probe)
	case works:
		b.failures, b.until, b.last = 0, time.Time{}, ""
	}
}

func (b *breaker) failed(now time.Time, err error, probe bool) {
	if b.failures == 0 {
		b.since = now
	}
	b.failures++
	if err != nil {
		b.last = "; the last failure was: " + err.Error()
	}
	if !probe && (b.failures < b.most || !b.until.IsZero()) {
		return
	}
	if b.until = now.Add(b.pause); !probe {
		b.opened()
	}
}
