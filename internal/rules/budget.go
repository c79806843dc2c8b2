package rules

import (
	"errors"
	"sync/atomic"
	"time"
)

// Budget bounds an evaluation of added rules. Steps and Size depend only on rules and input: what is within them today
// is tomorrow. Time is for what they don't count.
type Budget struct {
	// Time is the longest evaluation.
	Time time.Duration
	// Steps is the largest number of expressions that are evaluated.
	Steps int
	// Size is the largest sum of what functions make, in bytes and elements.
	Size int
}

var defaultBudget = Budget{Time: 5 * time.Second, Steps: 500_000, Size: 32 << 20}

// maxOperands is the largest that one call of a function may make or look at, in bytes and elements.
const maxOperands = 1 << 20

// WithBudget returns the policy with another budget.
func (p *Policy) WithBudget(b Budget) *Policy {
	other := *p
	other.budget = b
	return &other
}

// errMeter ends an evaluation from inside of a function.
var errMeter = errors.New("the budget is used up")

// meter counts what an evaluation uses. It is OPA's way to ask whether to go on, which OPA does at each expression.
type meter struct {
	steps, size int
	stopped     atomic.Bool
}

// Cancel implements topdown.Cancel.
func (m *meter) Cancel() { m.stopped.Store(true) }

// Cancelled implements topdown.Cancel.
func (m *meter) Cancelled() bool {
	m.steps--
	return m.steps < 0 || m.stopped.Load()
}

func (b Budget) meter() *meter { return &meter{steps: b.Steps, size: b.Size} }

// allows says whether one call may make so much.
func (m *meter) allows(size int) bool { return size <= maxOperands && size <= m.size }

// charge takes what a call has made.
func (m *meter) charge(size int) bool {
	m.size -= size + 1
	return m.size >= 0
}

// patience is a meter for our own rules, whose functions need none: it ends an evaluation after some steps, or with a context.
type patience struct {
	steps int
	done  <-chan struct{}
	ended bool
}

// Cancel implements topdown.Cancel.
func (p *patience) Cancel() { p.ended = true }

// Cancelled implements topdown.Cancel.
func (p *patience) Cancelled() bool {
	p.steps--
	if p.steps%64 == 0 {
		select {
		case <-p.done:
			p.ended = true
		default:
		}
	}
	return p.steps < 0 || p.ended
}
