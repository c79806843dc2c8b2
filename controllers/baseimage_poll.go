package controllers

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/upstream"
)

// polls remembers when the inputs of each image were last looked at. It is not kept over a restart: the next look is at
// the image's next time, so that a restart makes no rush on git servers and registries.
type polls struct {
	mu   sync.Mutex
	seen map[types.NamespacedName]polled
}

// polled are the times of the last looks at one image.
type polled struct {
	uid              types.UID
	source, upstream time.Time
	// looked is false as long as the times are only that of the first pass over the image.
	looked bool
	// notBefore is until when a server that had failed is left alone.
	notBefore time.Time
	// pending says that there is more to see than the times tell: a running build kept a change from being built, or
	// a server had failed.
	pending bool
}

// firstLook is how long after a start each image is looked at, however rarely it is polled: changes that nobody was
// there to see are not to wait for a week.
const firstLook = time.Hour

// last returns when an image was last looked at: now, if nothing is known of it.
func (p *polls) last(s *state) polled {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := nameOf(s.image)
	seen, ok := p.seen[key]
	if ok && seen.uid == s.image.UID {
		return seen
	}
	if p.seen == nil {
		p.seen = map[types.NamespacedName]polled{}
	}
	seen = polled{uid: s.image.UID, source: s.now, upstream: s.now}
	p.seen[key] = seen
	return seen
}

// done notes a look at the source, at the upstream images, or at both.
func (p *polls) done(s *state, source, upstream bool) {
	p.note(s, func(seen *polled) {
		seen.looked, seen.pending, seen.notBefore = true, false, time.Time{}
		if source {
			seen.source = s.now
		}
		if upstream {
			seen.upstream = s.now
		}
	})
}

// note changes what is remembered of an image.
func (p *polls) note(s *state, change func(*polled)) {
	seen := p.last(s)
	change(&seen)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[nameOf(s.image)] = seen
}

func (p *polls) forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, key)
}

// pollTime is the last time up to now at which an object is to be polled: its own moment in each interval, counted
// from the epoch, so that objects spread out and each stays predictable.
func pollTime(id string, interval time.Duration, now time.Time) time.Time {
	offset := share(id, interval)
	return now.Add(-offset).Truncate(interval).Add(offset)
}

// pollsDue says what is to be looked at now, and when to come back for the next look; zero for never.
func (s *state) pollsDue(last polled) (source, upstream bool, again time.Time) {
	if s.now.Before(last.notBefore) {
		return false, false, last.notBefore
	}
	id := string(s.image.UID)
	for _, poll := range []struct {
		interval time.Duration
		last     time.Time
		due      *bool
	}{{s.set.pollSource, last.source, &source}, {s.set.pollUpstream, last.upstream, &upstream}} {
		if poll.interval <= 0 {
			continue
		}
		if !last.looked {
			poll.interval = min(poll.interval, firstLook)
		}
		point := pollTime(id, poll.interval, s.now)
		*poll.due = poll.last.Before(point) || last.pending && s.running() == nil
		if next := point.Add(poll.interval); again.IsZero() || next.Before(again) {
			again = next
		}
	}
	return source, upstream, again
}

// inputsChanged looks at source and upstreams if that is due, and reports whether one is not what the newest build was
// made from. What it has seen is noted in the plan.
func (r *BaseImageReconciler) inputsChanged(ctx context.Context, s *state, p *plan) bool {
	source, upstreams, again := s.pollsDue(r.polls.last(s))
	p.comeBack(again)
	if s.last == nil || (!source && !upstreams) {
		return false
	}
	p.look = &look{}
	changed, err := r.lookAt(ctx, s, p.look, source, upstreams)
	p.look.failure = err
	switch {
	case err != nil:
		r.leaveAlone(s, p, err)
	default:
		r.polls.done(s, source, upstreams)
		// Until a build has been made of it: one may run that has to end first, or making it may fail.
		r.polls.note(s, func(seen *polled) { seen.pending = changed })
	}
	return changed
}

// lookAt looks at the source if that is due, and at the upstream images of the Dockerfile: that of the newest build, if
// the source is left alone.
func (r *BaseImageReconciler) lookAt(ctx context.Context, s *state, seen *look, source, upstreams bool) (changed bool, err error) {
	var requests []upstream.Request
	if newest := s.newest(); newest != nil && !source {
		seen.revision = newest.Spec.Inputs.Revision
		requests, err = upstreamRequests(&s.image.Spec, []byte(newest.Spec.Dockerfile))
	} else {
		requests, changed, err = r.lookAtSource(ctx, s, seen)
		r.Metrics.Polled(metrics.Source, changed, err)
	}
	seen.upstreams = len(requests)
	if err != nil || changed || !upstreams {
		return changed, err
	}
	changed, err = r.lookAtUpstreams(ctx, s, requests)
	r.Metrics.Polled(metrics.Upstream, changed, err)
	return changed, err
}

// leaveAlone has a server that failed not asked again before it has had time, or says itself when.
func (r *BaseImageReconciler) leaveAlone(s *state, p *plan, failure error) {
	after := resolveAgain
	if t, ok := errors.AsType[*pipeline.Transient](failure); ok {
		after = max(after, t.After)
	}
	r.polls.note(s, func(seen *polled) { seen.notBefore, seen.pending = s.now.Add(after), true })
	p.comeBack(s.now.Add(after))
}

func (r *BaseImageReconciler) lookAtSource(ctx context.Context, s *state, seen *look) ([]upstream.Request, bool, error) {
	revision, err := r.resolveSource(ctx, s.image)
	if err != nil {
		return nil, false, err
	}
	seen.revision = revision.ID
	requests, err := upstreamRequests(&s.image.Spec, revision.Dockerfile)
	if err != nil || revision.ID != s.lastInputs().Revision {
		return requests, err == nil, err
	}
	by, err := fileReader{live: r.Live}.judgedBy(ctx, s.image.Namespace, &s.image.Spec.DockerfilePolicy, &s.image.Spec.Scan)
	return requests, err == nil && by != judgedBy{rules: s.lastInputs().Rules, vex: s.lastInputs().VEX}, err
}

func (r *BaseImageReconciler) lookAtUpstreams(ctx context.Context, s *state, requests []upstream.Request) (bool, error) {
	now, err := r.Upstreams.Poll(ctx, requests, upstream.Refresh(s.image.Spec.Upstream.Refresh))
	if err != nil {
		return false, err
	}
	return upstreamDigest(now) != s.lastInputs().Upstream, nil
}
