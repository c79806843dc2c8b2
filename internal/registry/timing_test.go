package registry

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// fakeTime only passes when told. Pauses are written down and end at once.
type fakeTime struct {
	mu     sync.Mutex
	at     time.Time
	alarms map[int]fakeAlarm
	made   int
	pauses []time.Duration
	ended  error // what a pause returns
}

type fakeAlarm struct {
	at time.Time
	f  func()
}

func newFakeTime() *fakeTime {
	return &fakeTime{at: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), alarms: map[int]fakeAlarm{}}
}

func (f *fakeTime) timing() timing { return timing{now: f.now, pause: f.pause, alarm: f.alarm} }

func (f *fakeTime) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *fakeTime) pause(_ context.Context, d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pauses = append(f.pauses, d)
	return f.ended
}

func (f *fakeTime) alarm(d time.Duration, call func()) (stop func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.made
	f.made++
	f.alarms[id] = fakeAlarm{f.at.Add(d), call}
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		_, pending := f.alarms[id]
		delete(f.alarms, id)
		return pending
	}
}

// pass lets time pass, and calls the alarms that are due.
func (f *fakeTime) pass(d time.Duration) {
	f.mu.Lock()
	f.at = f.at.Add(d)
	var due []func()
	for id, a := range f.alarms {
		if !a.at.After(f.at) {
			due = append(due, a.f)
			delete(f.alarms, id)
		}
	}
	f.mu.Unlock()
	for _, call := range due {
		call()
	}
}

// timed is a client whose time is clock's.
func timed(t *testing.T, cfg Config, clock *fakeTime) *Client {
	t.Helper()
	c := testClient(t, cfg)
	c.timing = clock.timing()
	return c.With(nil)
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errSlow)
	if err := pause(ctx, time.Hour); !errors.Is(err, errSlow) {
		t.Errorf("got %v", err)
	}
	if err := pause(t.Context(), 0); err != nil {
		t.Errorf("got %v", err)
	}
}
