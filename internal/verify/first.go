package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Signature returns the first signature of ref that is good and by who was asked for. Both formats are searched at the same
// time, and neither longer than until the other has one; bundles are opened after the tag was looked at, or took long. If there is none, errors are those of Signatures; an outage in
// one format is an error only if the other has nothing good.
func (v *Verifier) Signature(ctx context.Context, s Source, ref name.Digest) (Evidence, error) {
	found, err := v.first(ctx, s, ref, want{predicateType: pipeline.PredicateSignature, simple: true}, nil)
	return found.Evidence, err
}

// Attestation returns the first attestation of ref of exactly this predicate type that is good, by who was asked for, and
// that accept takes, as Signature does; nil takes all. In each format newer ones are tried before older ones. accept is not called by
// two goroutines at a time, and its error says why it does not take one: if there are good ones and it takes none, that
// of the newest is in the error, Terminal with reason AttestationRejected. A Transient error, and one that it returns after ctx has
// ended, mean that nobody knows.
func (v *Verifier) Attestation(ctx context.Context, s Source, ref name.Digest, predicateType string, accept func(Attestation) error) (Attestation, error) {
	return v.first(ctx, s, ref, want{predicateType: predicateType}, accept)
}

func (v *Verifier) first(ctx context.Context, s Source, ref name.Digest, w want, accept func(Attestation) error) (Attestation, error) {
	legacy, bundles, err := v.searches(s, ref, w)
	if err != nil {
		return Attestation{}, err
	}
	searching, enough := context.WithCancel(ctx)
	defer enough()
	c := &choice{ctx: searching, accept: accept, enough: enough}
	legacy.take, bundles.take = c.take, c.take
	var failed [2]error
	var both sync.WaitGroup
	ahead := make(chan struct{})
	bundles.ahead = ahead
	both.Go(func() {
		defer close(ahead)
		failed[0] = unpanicked(searching, legacy.tags)
	})
	both.Go(func() { failed[1] = unpanicked(searching, bundles.referrers) })
	both.Wait()
	if c.found != nil {
		return *c.found, nil
	}
	if err := outage(failed[:]); err != nil {
		return Attestation{}, err
	}
	return Attestation{}, v.report(ref, w, c.refused, legacy, bundles)
}

// unpanicked makes an error of a panic: what panics is in a goroutine of its own, and would take the process with it.
func unpanicked(ctx context.Context, search func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("looking for signatures ended in a panic: %v", p)
		}
	}()
	return search(ctx)
}

// outage is one of the errors, and rather one that passes.
func outage(failed []error) (worst error) {
	for _, err := range failed {
		if pipeline.IsTransient(err) {
			return err
		}
		if worst == nil {
			worst = err
		}
	}
	return worst
}

// choice is what two searches have found together.
type choice struct {
	ctx    context.Context //nolint:containedctx // It lives as long as the searches, which it ends.
	accept func(Attestation) error
	enough func()

	mu      sync.Mutex
	found   *Attestation
	refused *refusal
}

// refusal is the newest of those that are good and not accepted.
type refusal struct {
	at  time.Time
	err error
}

// take ends the search with errEnough, or lets it go on.
func (c *choice) take(a Attestation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil { // also because there is one
		return context.Cause(c.ctx)
	}
	err := c.judge(a)
	switch {
	case err == nil:
		c.found = &a
		c.enough()
		return errEnough
	case c.ctx.Err() != nil, pipeline.IsTransient(err), pipeline.IsWaiting(err):
		return fmt.Errorf("judging an attestation: %w", err)
	case c.refused == nil || a.SignedAt.After(c.refused.at):
		c.refused = &refusal{a.SignedAt, err}
	}
	return nil
}

func (c *choice) judge(a Attestation) (err error) {
	if c.accept == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(errPanicked, fmt.Errorf("%v", p))
		}
	}()
	return c.accept(a)
}

var errPanicked = errors.New("judging it ended in a panic")

// rejected says that what is good is not accepted.
func (r *refusal) rejected(ref name.Digest, w want) error {
	return pipeline.Terminalf(pipeline.ReasonAttestationRejected, "verifying the attestations %q of %s: there are good ones, and none is accepted; the newest: %w",
		clip(w.predicateType), registry.Name(ref), r.err)
}
