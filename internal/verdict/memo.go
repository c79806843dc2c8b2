package verdict

import (
	"context"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var (
	errLate     = errors.New("it took too long")
	errVanished = errors.New("whoever looked for the answer has gone without one")
)

// maxOthers is how many answers are remembered that are no good ones.
const maxOthers = 1024

// memo remembers answers, and lets those who ask the same at the same time wait for one answer.
type memo[K comparable, V any] struct {
	clock clock.PassiveClock
	// timeout of finding one answer.
	timeout time.Duration
	// lasts says how long an answer is remembered, and whether it is a good one.
	lasts func(V, error) (time.Duration, bool)
	// good answers, and others: those who ask for many images that do not hold push out none that do.
	good, others *lru.Cache[K, answer[V]]

	mu      sync.Mutex
	flights map[K]*flight[V]
}

type answer[V any] struct {
	value V
	err   error
	until time.Time
}

// flight is the way to an answer, and those who wait for it.
type flight[V any] struct {
	answer answer[V] // there when done is closed
	done   chan struct{}
	steps  steps
	cancel func()

	waiting int // guarded by memo.mu
}

// work finds an answer. It ends soon after its context.
type work[V any] func(context.Context, *steps) (V, error)

func newMemo[K comparable, V any](c clock.PassiveClock, size int, timeout time.Duration, lasts func(V, error) (time.Duration, bool)) (*memo[K, V], error) {
	good, err := lru.New[K, answer[V]](size)
	if err != nil {
		return nil, err
	}
	others, err := lru.New[K, answer[V]](min(size, maxOthers))
	return &memo[K, V]{clock: c, timeout: timeout, lasts: lasts, good: good, others: others, flights: map[K]*flight[V]{}}, err
}

// recall is all that happens when somebody has asked before.
func (m *memo[K, V]) recall(k K) (answer[V], bool) {
	now := m.clock.Now()
	if a, ok := m.good.Get(k); ok && now.Before(a.until) {
		return a, true
	}
	a, ok := m.others.Get(k)
	return a, ok && now.Before(a.until)
}

// find waits for an answer as long as ctx lasts, together with all who ask for k.
func (m *memo[K, V]) find(ctx context.Context, k K, w work[V]) (V, Look, error) {
	f, a, look := m.join(k, w)
	if f == nil {
		return a.value, look, a.err
	}
	select {
	case <-f.done:
		return f.answer.value, look, f.answer.err
	case <-ctx.Done():
		m.leave(k, f)
		var none V
		return none, look, f.steps.late(ctx)
	}
}

// join a flight, or begin one: it is bound to nobody's context, but to all who wait for it together.
func (m *memo[K, V]) join(k K, w work[V]) (*flight[V], answer[V], Look) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.flights[k]; f != nil {
		f.waiting++
		return f, answer[V]{}, Coalesced
	}
	if a, ok := m.recall(k); ok { // it has landed a moment ago
		return nil, a, Hit
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), m.timeout, errLate)
	f := &flight[V]{done: make(chan struct{}), cancel: cancel, waiting: 1}
	m.flights[k] = f
	go m.run(ctx, k, f, w)
	return f, answer[V]{}, Miss
}

// run always lands: what panics, or ends its goroutine, is an error for all who wait.
func (m *memo[K, V]) run(ctx context.Context, k K, f *flight[V], w work[V]) {
	f.answer.err = errVanished
	defer func() {
		m.land(ctx, k, f)
		close(f.done)
		f.cancel()
	}()
	f.answer.value, f.answer.err = guarded(func() (V, error) { return w(ctx, &f.steps) })
}

// guarded makes an error of a panic, and no value.
func guarded[V any](f func() (V, error)) (value V, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none V
			value, err = none, pipeline.Transientf(pipeline.ReasonInternalError, "looking at an image ended in a panic: %v", p)
		}
	}()
	return f()
}

// land remembers the answer before nobody can join any more: there is always one or the other.
func (m *memo[K, V]) land(ctx context.Context, k K, f *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := f.answer.err
	if left := err != nil && (errors.Is(err, context.Canceled) || errors.Is(ctx.Err(), context.Canceled)); !left {
		m.remember(k, f.answer.value, err)
	}
	if m.flights[k] == f {
		delete(m.flights, k)
	}
}

func (m *memo[K, V]) remember(k K, value V, err error) {
	lasts, good := m.lasts(value, err)
	a := answer[V]{value: value, err: err, until: m.clock.Now().Add(lasts)}
	switch {
	case lasts <= 0:
	case good:
		m.good.Add(k, a)
	default:
		m.others.Add(k, a)
	}
}

// leave ends a flight for which nobody waits any more. Who comes next begins another.
func (m *memo[K, V]) leave(k K, f *flight[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	f.cancel()
	if m.flights[k] == f {
		delete(m.flights, k)
	}
}
