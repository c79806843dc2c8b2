package registry

import (
	"context"
	"errors"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// keptRepositories are those whose login a Client keeps: 2 KiB each, with a token. Whoever may name images may name millions.
const keptRepositories = 512

// pullers is a remote.Puller, which keeps a login for each repository for ever, and so is replaced when it has many.
// Whoever has the old one goes on with it.
type pullers struct {
	options []remote.Option
	listing *listing

	mu           sync.Mutex
	current      *remote.Puller
	repositories map[name.Repository]struct{}
}

// of is the one for repo.
func (p *pullers) of(repo name.Repository) (*remote.Puller, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.repositories[repo]; known {
		return p.current, nil
	}
	if p.current == nil || len(p.repositories) >= keptRepositories {
		fresh, err := remote.NewPuller(p.options...)
		if err != nil {
			return nil, err
		}
		p.current, p.repositories = fresh, map[name.Repository]struct{}{}
		p.listing.forget()
	}
	p.repositories[repo] = struct{}{}
	return p.current, nil
}

// loginTries are how often others may be cancelled during a login that they share with somebody who is not.
const loginTries = 4

// pulling does something with repo. Who come at the same time share the login there, which is made with the context of the
// first of them; if that one goes away, the next one makes it.
func pulling[T any](ctx context.Context, c *Client, repo name.Repository, do func(*remote.Puller) (T, error)) (out T, err error) {
	puller, err := c.pullers.of(repo)
	if err != nil {
		return out, err
	}
	for range loginTries {
		if out, err = do(puller); !errors.Is(err, context.Canceled) || ctx.Err() != nil {
			break
		}
	}
	return out, err
}
