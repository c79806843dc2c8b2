package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

// inputs stand for a git server and a registry.
type inputs struct {
	commit, digest    string
	gitErr, pollErr   error
	resolved, polled  int
	dockerfile        string
	resolvedUpstreams int
}

func (i *inputs) ResolveGit(context.Context, source.Git, string) (pipeline.Revision, error) {
	i.resolved++
	return pipeline.Revision{ID: i.commit, Time: time.Unix(1, 0), Dockerfile: []byte(i.dockerfile)}, i.gitErr
}

func (i *inputs) Resolve(_ context.Context, requests []upstream.Request, _ upstream.Refresh) ([]pipeline.Upstream, error) {
	i.resolvedUpstreams++
	return i.answer(requests)
}

func (i *inputs) Poll(_ context.Context, requests []upstream.Request, _ upstream.Refresh) ([]pipeline.Upstream, error) {
	i.polled++
	return i.answer(requests)
}

func (i *inputs) answer(requests []upstream.Request) ([]pipeline.Upstream, error) {
	var out []pipeline.Upstream
	for _, r := range requests {
		out = append(out, pipeline.Upstream{Ref: r.Ref, Name: r.Ref, Digest: i.digest, Pull: r.Ref + "@" + i.digest})
	}
	return out, i.pollErr
}

func TestInputsAreLookedAtWhenThatIsDue(t *testing.T) {
	tests := map[string]struct {
		change   func(*inputs)
		after    time.Duration
		running  bool
		resolved int // looks at the source
		polled   int // looks at the upstreams
		changed  bool
		failure  string // reason in the condition Resolved
	}{
		"not before the interval has passed":              {after: time.Second},
		"the source every five minutes":                   {after: 5 * time.Minute, resolved: 1},
		"the upstreams every hour, with the source":       {after: time.Hour, resolved: 1, polled: 1},
		"a new commit is seen":                            {after: 5 * time.Minute, change: func(i *inputs) { i.commit = "new" }, resolved: 1, changed: true},
		"a new commit makes the upstreams another matter": {after: time.Hour, change: func(i *inputs) { i.commit = "new" }, resolved: 1, changed: true},
		"a new upstream digest is seen":                   {after: time.Hour, change: func(i *inputs) { i.digest = "sha256:2" }, resolved: 1, polled: 1, changed: true},
		"a source that is away is no change":              {after: 5 * time.Minute, change: gitAway, resolved: 1, failure: pipeline.ReasonSourceUnavailable},
		"a registry that is away is no change": {after: time.Hour, change: func(i *inputs) { i.pollErr = pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "503") },
			resolved: 1, polled: 1, failure: pipeline.ReasonRegistryUnavailable},
		"a change that has to wait for a running build is not looked at again before its end": {after: 5 * time.Minute, running: true,
			change: func(i *inputs) { i.commit = "new" }, resolved: 1, changed: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
			r := &BaseImageReconciler{Git: in, Upstreams: in, Config: &config.Operator{Defaults: *defaults()}}
			s := restingState(t, in)
			if tc.running {
				s.builds = []v1alpha1.BaseImageBuild{attempt(1, v1alpha1.PhaseBuilding, "SpecChanged")}
			}
			if r.inputsChanged(t.Context(), s, &plan{}) || in.resolved > 0 {
				t.Fatalf("the first pass after a start looked %d times", in.resolved)
			}
			if tc.change != nil {
				tc.change(in)
			}
			s.now = s.now.Add(tc.after)
			p := &plan{}
			changed := r.inputsChanged(t.Context(), s, p)
			if changed != tc.changed || in.resolved != tc.resolved || in.polled != tc.polled {
				t.Errorf("changed = %t after %d and %d looks, want %t after %d and %d", changed, in.resolved, in.polled, tc.changed, tc.resolved, tc.polled)
			}
			if got := failureOf(p); got != tc.failure {
				t.Errorf("Resolved says %q, want %q", got, tc.failure)
			}
			if !p.again.After(s.now) || p.again.Sub(s.now) > 5*time.Minute {
				t.Errorf("the next look is at %s, it is %s", p.again, s.now)
			}
			in.resolved = 0
			if r.inputsChanged(t.Context(), s, &plan{}); (in.resolved > 0) != (tc.changed && !tc.running) {
				t.Errorf("another pass at once looked %d times: it should if no build was made of a change", in.resolved)
			}
			s.builds, in.gitErr, in.pollErr = nil, nil, nil
			s.now = s.now.Add(resolveAgain)
			if r.inputsChanged(t.Context(), s, &plan{}); in.resolved == 0 {
				t.Error("there was no look five minutes later")
			}
		})
	}
}

func gitAway(i *inputs) {
	i.gitErr = pipeline.Transientf(pipeline.ReasonSourceUnavailable, "reading: %w", errors.New("connection refused"))
}

func failureOf(p *plan) string {
	if p.look == nil || p.look.failure == nil {
		return ""
	}
	return p.look.condition(1).Reason
}

// restingState is an image whose newest build was made from what in has now, just after one of its moments.
func restingState(t *testing.T, in *inputs) *state {
	t.Helper()
	image := decidable(t)
	image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
	s := &state{image: image, set: standard(image)}
	s.now = pollTime(string(image.UID), time.Hour, at(t, "2026-11-25T10:00:00Z")).Add(time.Second)
	ups, err := in.answer([]upstream.Request{{Ref: "alpine:3"}})
	if err != nil {
		t.Fatal(err)
	}
	s.last = &v1alpha1.BuildSummary{Name: "one-1", Attempt: 1, Phase: v1alpha1.PhaseSucceeded,
		Inputs: v1alpha1.BuildInputs{Spec: specDigest(&image.Spec), Revision: in.commit, Upstream: upstreamDigest(ups)}}
	return s
}

func TestAServerThatAsksForPatienceHasIt(t *testing.T) {
	in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
	s := restingState(t, in)
	in.pollErr = &pipeline.Transient{Reason: pipeline.ReasonRegistryThrottled, After: 6 * time.Hour, Err: errors.New("429")}
	r := &BaseImageReconciler{Git: in, Upstreams: in, Config: &config.Operator{Defaults: *defaults()}}
	r.inputsChanged(t.Context(), s, &plan{})
	s.now = s.now.Add(time.Hour)
	for end := s.now.Add(6 * time.Hour); s.now.Before(end); {
		p := &plan{}
		r.inputsChanged(t.Context(), s, p)
		s.now = p.again.Add(time.Second)
	}
	if in.polled != 1 {
		t.Errorf("the registry was asked %d times in the six hours for which it wanted to be left alone, want once", in.polled)
	}
}

func TestUpstreamsArePolledWithoutTheSourceWhereThatIsLeftAlone(t *testing.T) {
	in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
	s := restingState(t, in)
	s.set.pollSource = 0
	build := attempt(1, v1alpha1.PhaseSucceeded, "SpecChanged")
	build.Spec.Dockerfile = in.dockerfile
	s.builds = []v1alpha1.BaseImageBuild{build}
	r := &BaseImageReconciler{Git: in, Upstreams: in, Config: &config.Operator{Defaults: *defaults()}}
	for range 2 {
		in.commit = "a commit that nobody asked for"
		if r.inputsChanged(t.Context(), s, &plan{}) || in.resolved != 0 {
			t.Errorf("a change after %d looks at the source", in.resolved)
		}
		s.now = s.now.Add(time.Hour)
	}
	if in.polled != 1 {
		t.Errorf("the upstreams were looked at %d times, want once", in.polled)
	}
}

func TestAfterAStartEvenARarelyPolledImageIsLookedAtWithinAnHour(t *testing.T) {
	in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
	s := restingState(t, in)
	s.set.pollSource, s.set.pollUpstream = 168*time.Hour, 168*time.Hour
	r := &BaseImageReconciler{Git: in, Upstreams: in, Config: &config.Operator{Defaults: *defaults()}}
	for range 2 { // The second hour there is no need any more.
		r.inputsChanged(t.Context(), s, &plan{})
		s.now = s.now.Add(time.Hour)
	}
	if r.inputsChanged(t.Context(), s, &plan{}); in.resolved != 1 || in.polled != 1 {
		t.Errorf("%d and %d looks in the first hours, want one", in.resolved, in.polled)
	}
}

func TestPollTimesAreEachObjectsOwnAndEvenlySpaced(t *testing.T) {
	now := at(t, "2026-11-25T10:00:00Z")
	seen := map[time.Time]bool{}
	for i := range 100 {
		id := time.Duration(i).String()
		point := pollTime(id, time.Hour, now)
		if point.After(now) || now.Sub(point) >= time.Hour {
			t.Fatalf("poll time of %s is %s", id, point)
		}
		if next := pollTime(id, time.Hour, point.Add(time.Hour)); !next.Equal(point.Add(time.Hour)) {
			t.Fatalf("an hour after %s comes %s", point, next)
		}
		seen[point] = true
	}
	if len(seen) < 90 {
		t.Errorf("100 objects are polled at %d times", len(seen))
	}
}

func TestPollsForgetAnImageThatIsGone(t *testing.T) {
	var p polls
	image := decidable(t)
	image.Namespace, image.Name = "images", "one"
	s := &state{image: image, now: at(t, "2026-11-25T10:00:00Z")}
	p.last(s)
	s.now = s.now.Add(time.Hour)
	s.image = image.DeepCopy()
	s.image.UID = "another"
	if got := p.last(s); !got.source.Equal(s.now) {
		t.Errorf("an image of the same name has the times of the one before: %+v", got)
	}
	p.forget(types.NamespacedName{Namespace: "images", Name: "one"})
	if len(p.seen) != 0 {
		t.Errorf("it remembers %v", p.seen)
	}
}
