package source

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/netmessage"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall"
)

// patience is how many times as long as a stall an answer may take to begin. A server that counts and compresses objects
// says nothing for long, or sends empty packets, before the first byte of them; after that, nothing keeps it.
const patience = 4

// pace is how fast a server has to send. It counts all bytes, and ends the request or connection that is too slow.
//
// A slot of the operator is held meanwhile, so no state of a conversation may last: from the request to the first byte of
// what was asked for, the whole time counts, also that of a request that the server does not take; after it, reads do.
type pace struct {
	rule  stall.Rule
	begin time.Duration // that an answer has to begin in
	clock stall.Clock

	mu      sync.Mutex
	what    string
	preface bool
	end     func()
	disarm  func() bool
	meter   *stall.Meter // once it has begun
	slow    error
}

func newPace(l limits.Source, clock stall.Clock) pace {
	return pace{
		rule:  stall.Rule{Bytes: l.StallBytes, Within: l.StallTimeout, Section: "source"},
		begin: patience * l.StallTimeout.Std(),
		clock: clock,
	}
}

// expect sets what is asked for next. With a preface, the first byte of an answer may be none of it: begun tells.
func (p *pace) expect(what string, preface bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.preface, p.meter = what, preface, nil
}

// await starts the time in which the answer has to begin. end has to end reads and writes that block.
func (p *pace) await(end func()) {
	p.rest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end, p.meter = end, nil
	late := fmt.Errorf("%s did not begin to come in %s (%d times limits.source.stallTimeout)", p.what, limits.Duration(p.begin), patience)
	p.disarm = p.clock.Alarm(p.begin, func() {
		p.mu.Lock()
		p.slow = late
		p.mu.Unlock()
		end()
	})
}

// begun tells that the first byte of what was asked for is here.
func (p *pace) begun() {
	p.rest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter = stall.NewMeter(p.what, p.rule, p.clock, p.end)
}

// rest ends the time in which an answer has to begin.
func (p *pace) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.disarm != nil {
		p.disarm()
		p.disarm = nil
	}
}

// read is from.Read, or fails if that is too slow.
func (p *pace) read(from io.Reader, b []byte) (int, error) {
	p.mu.Lock()
	meter, preface := p.meter, p.preface
	p.mu.Unlock()
	if meter == nil {
		n, err := from.Read(b)
		if n > 0 && !preface {
			p.begun()
		}
		return n, err
	}
	n, err := meter.Read(from, b)
	if stalled, ok := errors.AsType[*stall.Error](err); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.slow = stalled
	}
	return n, err
}

// fault is nil unless the server was too slow.
func (p *pace) fault(url string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow == nil {
		return nil
	}
	return unavailable("reading "+url, p.slow)
}

// unavailable is for what may work at another time. It says the same each time.
func unavailable(doing string, err error) error {
	return pipeline.Transientf(pipeline.ReasonSourceUnavailable, "%s: %w", doing, netmessage.Wrap(err))
}
