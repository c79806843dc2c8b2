// Package stalltest has the time for tests of reads that stall.
package stalltest

import (
	"sync"
	"time"

	"github.com/ibshafique/base-images/internal/stall"
)

// Time only passes when told.
type Time struct {
	mu     sync.Mutex
	at     time.Time
	made   int
	alarms map[int]alarm
}

type alarm struct {
	at time.Time
	f  func()
}

// NewTime is the start of 2025.
func NewTime() *Time {
	return &Time{at: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), alarms: map[int]alarm{}}
}

// Clock shows t.
func (t *Time) Clock() stall.Clock { return stall.Clock{Now: t.Now, Alarm: t.alarm} }

// Now is how far t has come.
func (t *Time) Now() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

func (t *Time) alarm(d time.Duration, f func()) (stop func() bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.made
	t.made++
	t.alarms[id] = alarm{t.at.Add(d), f}
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		_, pending := t.alarms[id]
		delete(t.alarms, id)
		return pending
	}
}

// Pass lets time pass, and calls the alarms that are due.
func (t *Time) Pass(d time.Duration) {
	for _, call := range t.due(d) {
		call()
	}
}

func (t *Time) due(d time.Duration) (calls []func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = t.at.Add(d)
	for id, a := range t.alarms {
		if !a.at.After(t.at) {
			calls = append(calls, a.f)
			delete(t.alarms, id)
		}
	}
	return calls
}

// Pending is how many alarms are set.
func (t *Time) Pending() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.alarms)
}

// Next is how long it is to the next alarm, or less than zero if none is set.
func (t *Time) Next() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := time.Duration(-1)
	for _, a := range t.alarms {
		if d := a.at.Sub(t.at); next < 0 || d < next {
			next = d
		}
	}
	return next
}
