package source

import (
	"context"
	"fmt"
	"sync"
)

// slots bound the reads that go on at a time: all of them together, and those of one tenant, whose servers may be slow on
// purpose. A read takes the slot of its tenant first: who waits for that holds none of the others.
type slots struct {
	all       chan struct{}
	perTenant int

	mu      sync.Mutex
	tenants map[string]*tenant
}

// tenant is forgotten with its last read.
type tenant struct {
	reads int // that go on or wait, guarded by slots.mu
	slots chan struct{}
}

func newSlots(parallel int) *slots {
	return &slots{all: make(chan struct{}, parallel), perTenant: max(parallel-1, 1), tenants: map[string]*tenant{}}
}

// take waits for a slot as long as the context lasts. release gives it back.
func (s *slots) take(ctx context.Context, name string) (release func(), err error) {
	t := s.enter(name)
	if err := wait(ctx, t.slots); err != nil {
		s.leave(name, t)
		return nil, fmt.Errorf("at most %d of one namespace are read at a time (limits.source.parallel): %w", s.perTenant, err)
	}
	if err := wait(ctx, s.all); err != nil {
		<-t.slots
		s.leave(name, t)
		return nil, fmt.Errorf("at most %d are read at a time (limits.source.parallel): %w", cap(s.all), err)
	}
	return func() {
		<-s.all
		<-t.slots
		s.leave(name, t)
	}, nil
}

func wait(ctx context.Context, slot chan<- struct{}) error {
	select {
	case slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slots) enter(name string) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tenants[name]
	if !ok {
		t = &tenant{slots: make(chan struct{}, s.perTenant)}
		s.tenants[name] = t
	}
	t.reads++
	return t
}

func (s *slots) leave(name string, t *tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.reads--; t.reads == 0 {
		delete(s.tenants, name)
	}
}
