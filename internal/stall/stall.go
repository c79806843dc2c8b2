// Package stall ends reads from servers that send in drops: too slowly to be worth a slot, and too fast for any time-out
// of a connection.
package stall

import (
	"fmt"
	"io"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// Rule is how much has to come in how long.
type Rule struct {
	Bytes  limits.Bytes
	Within limits.Duration
	// Section of the limits that has stallBytes and stallTimeout, for example "registry".
	Section string
}

// Error says that a stream came in drops.
type Error struct {
	// What was read, for example "the blob".
	What string
	// Rule that it broke.
	Rule Rule
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s brought less than %s in %s (limits.%s.stallBytes and stallTimeout)", e.What, e.Rule.Bytes, e.Rule.Within, e.Rule.Section)
}

// Clock is what is taken from the clock, in one place for tests.
type Clock struct {
	Now func() time.Time
	// Alarm calls f after d. stop reports whether it was called before that.
	Alarm func(d time.Duration, f func()) (stop func() bool)
}

// RealTime is the clock of the machine.
var RealTime = Clock{
	Now:   time.Now,
	Alarm: func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop },
}

// Meter fails the reads of one stream unless they bring Rule.Bytes, or its end, in each Rule.Within. Only time that is
// spent reading counts: a slow reader is not a slow server. Reads are to follow each other.
type Meter struct {
	clock Clock
	stall *Error
	end   func()

	got  limits.Bytes  // since it last had enough
	left time.Duration // to have enough again
	over bool
}

// NewMeter makes a Meter of what, which was just asked for. end has to end a Read that blocks; it is called from
// elsewhere, and at most once.
func NewMeter(what string, rule Rule, clock Clock, end func()) *Meter {
	return &Meter{clock: clock, stall: &Error{What: what, Rule: rule}, end: end, left: rule.Within.Std()}
}

// Read is from.Read, or fails with an *Error.
func (m *Meter) Read(from io.Reader, p []byte) (int, error) {
	if m.left <= 0 && !m.over {
		m.over = true
		m.end()
	}
	if m.over {
		return 0, m.stall
	}
	began := m.clock.Now()
	stop := m.clock.Alarm(m.left, m.end)
	n, err := from.Read(p)
	if !stop() {
		m.over = true
		return n, m.stall
	}
	m.count(n, m.clock.Now().Sub(began))
	return n, err
}

func (m *Meter) count(n int, took time.Duration) {
	m.got += limits.Bytes(n)
	m.left -= took
	if m.got >= m.stall.Rule.Bytes {
		m.got, m.left = 0, m.stall.Rule.Within.Std()
	}
}
