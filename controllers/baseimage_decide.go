package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// state is what a decision is made from.
type state struct {
	image *v1alpha1.BaseImage
	// builds of the image, oldest first.
	builds []v1alpha1.BaseImageBuild
	// last is the newest build that was ever started; nil before the first.
	last *v1alpha1.BuildSummary
	set  settings
	now  time.Time
}

// running returns the newest build while it has not finished.
func (s *state) running() *v1alpha1.BaseImageBuild {
	if newest := s.newest(); newest != nil && !over(newest) {
		return newest
	}
	return nil
}

func (s *state) newest() *v1alpha1.BaseImageBuild {
	if len(s.builds) == 0 {
		return nil
	}
	return &s.builds[len(s.builds)-1]
}

// retryAt is when the newest build is attempted again; ok is false if it is not, or not any more.
func (s *state) retryAt() (when time.Time, ok bool) {
	newest := s.newest()
	if newest == nil || newest.Status.Phase != v1alpha1.PhaseFailed || !newest.Status.Retryable ||
		newest.Status.CompletedAt == nil || newest.Spec.Retry >= s.set.retries {
		return time.Time{}, false
	}
	return newest.Status.CompletedAt.Add(retryDelay(newest.Spec.Retry, string(s.image.UID))), true
}

// retryDelay is the pause before the attempt after n retries: 1, 4, 16, then 60 minutes, and up to a quarter more, by
// which images that failed together come apart.
func retryDelay(n int32, id string) time.Duration {
	delay := time.Hour
	if n < 3 {
		delay = time.Minute << (2 * n)
	}
	return delay + share(id, delay/4)
}

// deleted reports whether somebody has deleted the newest build, or is about to.
func (s *state) deleted() bool {
	return s.last != nil && !slices.ContainsFunc(s.builds, func(b v1alpha1.BaseImageBuild) bool {
		return b.Name == s.last.Name && b.DeletionTimestamp.IsZero()
	})
}

// lastInputs are those of the newest build; zero before the first.
func (s *state) lastInputs() v1alpha1.BuildInputs {
	if s.last == nil {
		return v1alpha1.BuildInputs{}
	}
	return s.last.Inputs
}

// since is the time after which a scheduled run counts: that of the newest build, or the run it was for if that is later, because the
// clocks of operator and apiserver differ and no run is to be built twice. A schedule that was edited starts nothing
// for times that have passed, and one whose delay alone has changed nothing for a run that was built.
func (s *state) since(times *timetable) time.Time {
	since := s.image.CreationTimestamp.Time
	if s.last != nil && s.last.CreatedAt != nil {
		since = s.last.CreatedAt.Time
	}
	old, known := parseObserved(s.image.Status.ObservedSchedule)
	if known && old.name != times.observed().name {
		return later(since, s.now.Add(-time.Second))
	}
	run, err := time.Parse(time.RFC3339, s.lastInputs().ScheduledFor)
	if err != nil {
		return since
	}
	since = later(since, run)
	if known {
		since = later(since, run.Add(times.offset-old.offset))
	}
	return since
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// plan is what to do about an image now.
type plan struct {
	// reasons to build; none if nothing is due.
	reasons []v1alpha1.BuildReason
	// inputs of a build that starts now, as far as the spec decides them.
	inputs v1alpha1.BuildInputs
	// retry is how many attempts have failed before this one for causes that may pass.
	retry int32
	// schedule is what next was computed from.
	schedule string
	// next is when a build starts if nothing changes, and why; zero if there is no such time.
	next       time.Time
	nextReason v1alpha1.BuildReasonType
	// look is what was seen of source and upstream in this pass; nil if nobody looked.
	look *look
	// again is when to look at what nobody tells of: source, upstreams, the push Secret; zero for never.
	again time.Time
}

// look is what was seen of an image's source and upstream.
type look struct {
	revision  string
	upstreams int
	// failure says why they could not be seen.
	failure error
}

// decide says whether a build is due and why. It is pure: the same state gives the same plan,
// so that a restart starts nothing. A schedule that can't be read is a Terminal.
func decide(s *state) (plan, error) {
	times, err := newTimetable(s.image, s.set)
	if err != nil {
		return plan{}, err
	}
	last := s.lastInputs()
	p := plan{schedule: times.observed().String(), inputs: v1alpha1.BuildInputs{
		Spec:         specDigest(&s.image.Spec),
		Policy:       gatesDigest(&s.image.Spec),
		ScheduledFor: last.ScheduledFor,
		RequestedAt:  truncate(s.image.Annotations[v1alpha1.BuildRequestedAtAnnotation], 256),
	}}
	if s.deleted() && !isFinal(s.last.Phase) {
		p.because(v1alpha1.BuildReasonBuildDeleted, s.last.Name, "")
	}
	if p.inputs.Spec != last.Spec {
		p.because(v1alpha1.BuildReasonSpecChanged, last.Spec, p.inputs.Spec)
	}
	if s.last != nil && p.inputs.Policy != last.Policy {
		p.because(v1alpha1.BuildReasonPolicyChanged, last.Policy, p.inputs.Policy)
	}
	if p.inputs.RequestedAt != "" && p.inputs.RequestedAt != last.RequestedAt {
		p.because(v1alpha1.BuildReasonRequested, last.RequestedAt, p.inputs.RequestedAt)
	}
	if run, ok := times.due(s.since(times), s.now); ok && !s.image.Spec.Suspend {
		p.inputs.ScheduledFor = timestamp(run)
		p.because(v1alpha1.BuildReasonScheduled, last.ScheduledFor, p.inputs.ScheduledFor)
	}
	if p.next, _ = times.next(s.now); !p.next.IsZero() {
		p.nextReason = v1alpha1.BuildReasonScheduled
	}
	p.considerRetry(s)
	return p, nil
}

// considerRetry adds another attempt after one that failed for a cause that may pass. A reason of its own makes the
// attempts count from the start.
func (p *plan) considerRetry(s *state) {
	when, ok := s.retryAt()
	if !ok || len(p.reasons) > 0 {
		return
	}
	if when.After(s.now) {
		if p.next.IsZero() || when.Before(p.next) {
			p.next, p.nextReason = when, v1alpha1.BuildReasonRetried
		}
		return
	}
	p.retry = s.newest().Spec.Retry + 1
	p.because(v1alpha1.BuildReasonRetried, s.newest().Name, fmt.Sprintf("retry %d of %d", p.retry, s.set.retries))
}

// mayStart reports whether the reasons let a build start now: there are some, and no build runs that is to end first.
func (p *plan) mayStart(s *state) bool {
	running := s.running()
	return len(p.reasons) > 0 && (running == nil || p.supersedes(running))
}

// supersedes reports whether a build that runs is to be cancelled in favour of a new one: its inputs are old. A
// build that has itself taken the place of another runs to its end against new commits, upstream images and rules: inputs
// that change faster than they are built must not keep every build from ending.
func (p *plan) supersedes(running *v1alpha1.BaseImageBuild) bool {
	if p.has(v1alpha1.BuildReasonSpecChanged) || p.inputs.Policy != running.Spec.Inputs.Policy {
		return true
	}
	return running.Spec.Supersedes == "" && p.hasNews()
}

// hasNews reports whether something that the spec names has changed.
func (p *plan) hasNews() bool {
	return p.has(v1alpha1.BuildReasonSourceChanged) || p.has(v1alpha1.BuildReasonUpstreamChanged) || p.has(v1alpha1.BuildReasonPolicyChanged)
}

func (p *plan) because(t v1alpha1.BuildReasonType, before, after string) {
	p.reasons = append(p.reasons, v1alpha1.BuildReason{Type: t, Old: before, New: after})
}

// comeBack asks for another look at t, unless there is one before; zero asks for none.
func (p *plan) comeBack(t time.Time) {
	if !t.IsZero() && (p.again.IsZero() || t.Before(p.again)) {
		p.again = t
	}
}

func (p *plan) has(t v1alpha1.BuildReasonType) bool {
	return slices.ContainsFunc(p.reasons, func(r v1alpha1.BuildReason) bool { return r.Type == t })
}

// specDigest covers the fields that decide what is built and where it goes, so that a new
// schedule or history limit builds nothing. What it gives for a spec must never change, nor may a field that is
// new in the API be covered where it is not set: an upgrade would build every image.
func specDigest(spec *v1alpha1.BaseImageSpec) string {
	built := v1alpha1.BaseImageSpec{
		Source:     spec.Source,
		Dockerfile: spec.Dockerfile,
		Target:     spec.Target,
		BuildArgs:  spec.BuildArgs,
		Platforms:  spec.Platforms,
		Output:     spec.Output,
		Upstream:   spec.Upstream,
	}
	built.Source.PollInterval, built.Upstream.PollInterval = nil, nil
	raw, err := json.Marshal(built)
	if err != nil {
		// Unreachable: the type holds only strings, lists and maps of strings.
		panic(fmt.Sprintf("encoding a spec: %v", err))
	}
	return digestOf(raw)
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// truncate keeps at most limit bytes of whole characters: half of one would come back changed from the apiserver.
func truncate(s string, limit int) string {
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
