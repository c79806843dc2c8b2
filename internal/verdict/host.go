package verdict

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// host is a registry: whether it can be reached, and how many of the verifications are about images of it.
type host struct {
	breaker *breaker
	// places are those that its images may take.
	places chan struct{}
}

// host of a registry.
func (c *Cache) host(name string) *host {
	name = canonical(name)
	if h, ok := c.hosts.Get(name); ok {
		return h
	}
	name = strings.Clone(name)
	h := &host{breaker: c.breaker("registry "+name, "could not be reached"), places: make(chan struct{}, max(c.limits.Verifications*3/4, 1))}
	if other, there, _ := c.hosts.PeekOrAdd(name, h); there {
		return other
	}
	return h
}

// canonical is the one spelling of a host, so that none is two.
func canonical(name string) string { return strings.TrimSuffix(strings.ToLower(name), ":443") }

// repositoryKey is a repository, as those see it who have the same credentials.
type repositoryKey struct{ registry, repository, scope string }

// gate of a repository.
func (c *Cache) gate(h *host, repo name.Repository, scope string) gate {
	k := repositoryKey{canonical(repo.RegistryStr()), repo.RepositoryStr(), scope}
	b, there := c.repositories.Get(k)
	if !there {
		k.registry, k.repository = strings.Clone(k.registry), strings.Clone(k.repository)
		b = c.breaker("repository "+registry.RepositoryName(repo), "has failed")
		if other, there, _ := c.repositories.PeekOrAdd(k, b); there {
			b = other
		}
	}
	return gate{name: k.registry, registry: h.breaker, repository: b}
}

// tenants are those for whom something is verified. Who has no work is forgotten, so there are no more of them than there is work.
type tenants struct {
	mu sync.Mutex
	at map[string]*tenant
}

// tenant has a share of the places, so that others have theirs whatever it asks for.
type tenant struct {
	places, attesting chan struct{}
	// work that has a place or waits for one, guarded by tenants.mu.
	work int
}

// tenant of that name, until it leaves.
func (c *Cache) tenant(name string) (t *tenant, leave func()) {
	c.tenants.mu.Lock()
	defer c.tenants.mu.Unlock()
	if t = c.tenants.at[name]; t == nil {
		t = &tenant{places: quarter(c.places), attesting: quarter(c.attesting)}
		if c.tenants.at == nil {
			c.tenants.at = map[string]*tenant{}
		}
		c.tenants.at[name] = t
	}
	t.work++
	return t, func() { c.tenants.leave(name, t) }
}

func quarter(of chan struct{}) chan struct{} { return make(chan struct{}, max(cap(of)/4, 1)) }

func (s *tenants) leave(name string, t *tenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.work--; t.work == 0 {
		delete(s.at, name)
	}
}

// place among those who verify at the same time.
type place struct {
	tenant  *tenant
	host    *host
	release func()
}

// place waits for one. Neither one tenant nor one host gets all of them: others have images, too. Everybody takes them in the same
// order, so that nobody has what another one waits for while he waits for that one.
func (c *Cache) place(ctx context.Context, who, where string, s *steps) (place, error) {
	t, leave := c.tenant(who)
	h := c.host(where)
	release, err := queue(ctx, s, "verifications", room{t.places, " of the same namespace"}, room{h.places, " of the same registry"}, room{c.places, ""})
	if err != nil {
		leave()
		return place{}, err
	}
	return place{t, h, func() { release(); leave() }}, nil
}

// room has places for some.
type room struct {
	places chan struct{}
	// whose they are, for messages.
	whose string
}

// queue waits for a place in each room.
func queue(ctx context.Context, s *steps, what string, rooms ...room) (release func(), err error) {
	taken := 0
	release = func() {
		for _, r := range rooms[:taken] {
			<-r.places
		}
	}
	for _, r := range rooms {
		if err := take(ctx, s, r.places, fmt.Sprintf("waiting for one of %d %s%s to end", cap(r.places), what, r.whose)); err != nil {
			release()
			return nil, err
		}
		taken++
	}
	return release, nil
}

func take(ctx context.Context, s *steps, places chan struct{}, doing string) error {
	defer s.begin(pipeline.ReasonAdmissionBusy, doing)()
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return s.late(ctx)
	}
}
