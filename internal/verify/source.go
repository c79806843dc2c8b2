package verify

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/registry"
)

// Source is where signatures are read from: a registry.Client, or Once of it.
type Source interface {
	Manifest(ctx context.Context, ref name.Reference) (registry.Manifest, error)
	Referrers(ctx context.Context, subject name.Digest, most int) (found []v1.Descriptor, listed int, err error)
	Blob(ctx context.Context, repo name.Repository, desc v1.Descriptor, limit int64) ([]byte, error)
}

const (
	// onceBytes are what a Once remembers, and onceLargest of it one answer.
	onceBytes, onceLargest = 4 << 20, 1 << 20
	// descriptorBytes is what an entry of a list takes, with a few annotations.
	descriptorBytes = 1 << 10
)

// Once asks s everything once, however many Verifiers want to know it of one digest: make one for each verdict, and do not
// keep it. A request lasts as long as somebody waits for it. What went wrong is remembered too; answers that are large may
// be asked for again. It is safe for concurrent use; nobody may change what it answers.
func Once(s Source) Source { return &once{source: s, left: onceBytes, asked: map[string]*answer{}} }

type once struct {
	source Source

	mu    sync.Mutex
	left  int
	asked map[string]*answer
}

// answer is there when done is closed.
type answer struct {
	done  chan struct{}
	value any
	err   error

	cancel  func()
	waiting int // guarded by once.mu
}

func (o *once) Manifest(ctx context.Context, ref name.Reference) (registry.Manifest, error) {
	return ask(ctx, o, "manifest "+ref.String(), func(m registry.Manifest) int { return len(m.Raw) }, func(ctx context.Context) (registry.Manifest, error) {
		return o.source.Manifest(ctx, ref)
	})
}

// referrers is a list, and how long it was.
type referrers struct {
	found  []v1.Descriptor
	listed int
}

func (o *once) Referrers(ctx context.Context, subject name.Digest, most int) (found []v1.Descriptor, listed int, err error) {
	key := fmt.Sprintf("referrers %s %d", subject, most)
	all, err := ask(ctx, o, key, func(r referrers) int { return len(r.found) * descriptorBytes }, func(ctx context.Context) (referrers, error) {
		found, listed, err := o.source.Referrers(ctx, subject, most)
		return referrers{found, listed}, err
	})
	return all.found, all.listed, err
}

func (o *once) Blob(ctx context.Context, repo name.Repository, desc v1.Descriptor, limit int64) ([]byte, error) {
	key := fmt.Sprintf("blob %s %s %d %d", repo, desc.Digest, desc.Size, limit)
	return ask(ctx, o, key, func(b []byte) int { return len(b) }, func(ctx context.Context) ([]byte, error) {
		return o.source.Blob(ctx, repo, desc, limit)
	})
}

func ask[T any](ctx context.Context, o *once, key string, size func(T) int, fetch func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, fmt.Errorf("asking for %s: %w", key, context.Cause(ctx))
	}
	a := o.join(ctx, key, func(ctx context.Context) (any, int, error) {
		value, err := fetch(ctx)
		return value, size(value), err
	})
	select {
	case <-a.done:
		value, _ := a.value.(T)
		return value, a.err
	case <-ctx.Done():
		o.leave(key, a)
		return none, fmt.Errorf("asking for %s: %w", key, context.Cause(ctx))
	}
}

// join waits with those who ask the same, or begins to ask. Whoever began may go: the request is not bound to that context.
func (o *once) join(ctx context.Context, key string, fetch func(context.Context) (any, int, error)) *answer {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, there := o.asked[key]
	if !there {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		a = &answer{done: make(chan struct{}), cancel: cancel}
		o.asked[key] = a
		go o.run(ctx, key, a, fetch)
	}
	a.waiting++
	return a
}

func (o *once) run(ctx context.Context, key string, a *answer, fetch func(context.Context) (any, int, error)) {
	bytes := 0
	defer func() {
		if p := recover(); p != nil {
			a.err = fmt.Errorf("asking for %s ended in a panic: %v", key, p)
		}
		a.cancel()
		o.keep(key, a, bytes)
		close(a.done)
	}()
	a.value, bytes, a.err = fetch(ctx)
}

// keep forgets what is too large.
func (o *once) keep(key string, a *answer, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.asked[key] != a:
	case bytes > min(o.left, onceLargest):
		delete(o.asked, key)
	default:
		o.left -= bytes
	}
}

// leave ends a request for which nobody waits any more.
func (o *once) leave(key string, a *answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.waiting--; a.waiting > 0 {
		return
	}
	a.cancel()
	select {
	case <-a.done: // it came just now, and may be of use to others
	default:
		if o.asked[key] == a {
			delete(o.asked, key)
		}
	}
}
