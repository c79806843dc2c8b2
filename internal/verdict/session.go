package verdict

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/verify"
)

// sessions are what is being read of images: several policies that ask about one at the same time read it once.
type sessions struct {
	mu   sync.Mutex
	open map[imageKey]*session
}

type session struct {
	source verify.Source
	steps  steps
	users  int
}

// request of q in the session of its image, which ends with the last one.
func (c *Cache) request(q Question, k imageKey, at place, s *steps) (r *request, end func()) {
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	one := c.sessions.open[k]
	if one == nil {
		one = &session{}
		one.source = verify.Once(&source{client: q.Access.Client, gate: c.gate(at.host, q.Image.Context(), k.scope), steps: &one.steps, clock: c.clock, known: c.knownTo(k)})
		if c.sessions.open == nil {
			c.sessions.open = map[imageKey]*session{}
		}
		c.sessions.open[k] = one
	}
	one.users++
	s.follow(&one.steps)
	r = &request{Question: q, source: one.source, now: c.clock.Now(), attesting: []room{{at.tenant.attesting, " of the same namespace"}, {c.attesting, ""}}, steps: s, as: c.as}
	return r, func() { c.sessions.leave(k, one) }
}

func (s *sessions) leave(k imageKey, one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.open, k)
	}
}

// platformSets gives numbers to sets of platforms, so that a key has one to compare. The same set may have several.
type platformSets struct {
	mu   sync.Mutex
	last uint32
	sets atomic.Pointer[[]platformSet]
}

type platformSet struct {
	id        uint32
	platforms []pipeline.Platform
}

// maxSets are remembered. It changes when a cluster gets nodes of another kind.
const maxSets = 64

func (p *platformSets) id(platforms []pipeline.Platform) uint32 {
	if id := p.find(platforms); id != 0 {
		return id
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if id := p.find(platforms); id != 0 {
		return id
	}
	var sets []platformSet
	if old := p.sets.Load(); old != nil && len(*old) < maxSets {
		sets = slices.Clone(*old)
	}
	p.last++
	sets = append(sets, platformSet{p.last, slices.Clone(platforms)})
	p.sets.Store(&sets)
	return p.last
}

func (p *platformSets) find(platforms []pipeline.Platform) uint32 {
	if sets := p.sets.Load(); sets != nil {
		for _, s := range *sets {
			if slices.Equal(s.platforms, platforms) {
				return s.id
			}
		}
	}
	return 0
}
