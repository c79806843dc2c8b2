package verdict

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// steps are what is under way, for those who can't wait any longer.
type steps struct {
	mu      sync.Mutex
	running []*step
	// others are those of work that is done together with somebody else.
	others *steps
}

func (s *steps) follow(others *steps) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others = others
}

// step is why nobody knows more if it takes too long, and what it does.
type step struct{ reason, doing string }

func (s *steps) begin(reason, doing string) (end func()) {
	mine := &step{reason, doing}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = append(s.running, mine)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running = slices.DeleteFunc(s.running, func(other *step) bool { return other == mine })
	}
}

// first of those that are not at an end.
func (s *steps) first() step {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.running) == 0 && s.others != nil:
		return s.others.first()
	case len(s.running) == 0:
		return step{pipeline.ReasonInternalError, "verifying an image"}
	}
	return *s.running[0]
}

// late is the error of who does not wait any longer.
func (s *steps) late(ctx context.Context) error {
	at := s.first()
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", at.doing, context.Cause(ctx))
	}
	return pipeline.Transientf(at.reason, "%s: there is no time left: %w", at.doing, context.Cause(ctx))
}
