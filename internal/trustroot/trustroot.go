// Package trustroot keeps the trust root of Sigstore: the certificate authorities and logs by which signatures are
// verified. Who asks gets a snapshot at once, and never waits for a network; a new one is fetched in the background, and
// the last good one stays until it is there.
package trustroot

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxBytes of a trust root. That of the public good instance has 7 KB.
	maxBytes = 1 << 20
	// refreshTimeout of looking for a new one, with all requests that it takes.
	refreshTimeout = time.Minute
)

// Snapshot is a trust root as it was at one time. It does not change: what it returns must not be changed either.
type Snapshot struct {
	// Material verifies signatures.
	Material root.TrustedMaterial
	// Version is the digest of the trust root, sha256:….
	Version string
	// LoadedAt is when it took the place of another version.
	LoadedAt time.Time
}

// Refresh says how looking for a new trust root has ended.
type Refresh struct {
	// Version that is in force now. Empty: there is none yet.
	Version string
	// Changed: it was another one before.
	Changed bool
	// Err says why the last good one stays.
	Err error
	// Again: the last time ended with the same error.
	Again bool
}

// Options of every trust root.
type Options struct {
	// Clock by which it is refreshed. Default: that of the machine.
	Clock clock.Clock
	// Observe is told of each refresh, one at a time. Default: nobody is.
	Observe func(Refresh)
}

// source is where trust roots come from.
type source interface {
	// read returns at most maxBytes. Its errors are faults of package pipeline.
	read(context.Context) ([]byte, error)
	// pause until the next look, after as many failures in a row.
	pause(failures int) time.Duration
	// String names it in messages.
	String() string
}

// Root is a trust root that is kept up to date while Run runs.
type Root struct {
	source  source
	clock   clock.Clock
	observe func(Refresh)
	state   atomic.Pointer[state]
}

// state is what the last refresh has left. It is replaced, never changed.
type state struct {
	// snapshot is the last good one, or nil.
	snapshot *Snapshot
	// failure of the last refresh, or nil.
	failure error
}

func newRoot(s source, o Options) *Root {
	r := &Root{source: s, clock: o.Clock, observe: o.Observe}
	if r.clock == nil {
		r.clock = clock.RealClock{}
	}
	if r.observe == nil {
		r.observe = func(Refresh) {}
	}
	r.state.Store(&state{failure: pipeline.Transientf(pipeline.ReasonTrustRootUnavailable, "%s has not been read yet", s)})
	return r
}

// Current returns the last good trust root, without waiting for anything. If there is none yet, the error is Transient
// and says why.
func (r *Root) Current() (Snapshot, error) {
	s := r.state.Load()
	if s.snapshot == nil {
		return Snapshot{}, s.failure
	}
	return *s.snapshot, nil
}

// Material is that of Current.
func (r *Root) Material() (root.TrustedMaterial, error) {
	s, err := r.Current()
	return s.Material, err
}

// Run refreshes the trust root, at once and then from time to time, until ctx ends. Its error is always nil: without a
// trust root nothing is verified, and everything else goes on. It must run once.
func (r *Root) Run(ctx context.Context) error {
	for failures := 0; ; {
		if err := r.refresh(ctx); err != nil {
			failures++
		} else {
			failures = 0
		}
		timer := r.clock.NewTimer(r.source.pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

// refresh takes over what the source has, if it is good.
func (r *Root) refresh(ctx context.Context) error {
	next, err := r.load(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // That we end says nothing of the source.
	}
	before := r.state.Load()
	after, result := before.next(next, err)
	r.state.Store(after)
	r.observe(result)
	return err
}

// next is the state after a refresh, and what there is to say of it.
func (s *state) next(snapshot *Snapshot, failure error) (*state, Refresh) {
	after := &state{snapshot: s.snapshot, failure: failure}
	result := Refresh{Err: failure, Again: failure != nil && s.failure != nil && failure.Error() == s.failure.Error()}
	if failure == nil && (s.snapshot == nil || s.snapshot.Version != snapshot.Version) {
		after.snapshot, result.Changed = snapshot, true
	}
	if after.snapshot != nil {
		result.Version = after.snapshot.Version
	}
	return after, result
}

func (r *Root) load(ctx context.Context) (*Snapshot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, refreshTimeout, errTooLong)
	defer cancel()
	data, err := r.source.read(ctx)
	if err != nil {
		return nil, err
	}
	return parse(data, r.source.String(), r.clock.Now())
}

var errTooLong = errors.New("it took more than a minute")
