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
	now  time.Time
}

// running returns the newest build while it has not finished.
func (s *state) running() *v1alpha1.BaseImageBuild {
	if newest := s.newest(); newest != nil && !finished(newest) {
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

// deleted reports whether somebody has deleted the newest build.
func (s *state) deleted() bool {
	return s.last != nil && !slices.ContainsFunc(s.builds, func(b v1alpha1.BaseImageBuild) bool { return b.Name == s.last.Name })
}

// lastInputs are those of the newest build; zero before the first.
func (s *state) lastInputs() v1alpha1.BuildInputs {
	if s.last == nil {
		return v1alpha1.BuildInputs{}
	}
	return s.last.Inputs
}

// since is the time after which a scheduled run counts: that of the newest build, or the run it was for if that is later, because the
// clocks of operator and apiserver differ and no run is to be built twice.
func (s *state) since() time.Time {
	if s.last == nil || s.last.CreatedAt == nil {
		return s.image.CreationTimestamp.Time
	}
	run, err := time.Parse(time.RFC3339, s.last.Inputs.ScheduledFor)
	if err == nil && run.After(s.last.CreatedAt.Time) {
		return run
	}
	return s.last.CreatedAt.Time
}

// plan is what to do about an image now.
type plan struct {
	// reasons to build; none if nothing is due.
	reasons []v1alpha1.BuildReason
	// inputs of a build that starts now, as far as the spec decides them.
	inputs v1alpha1.BuildInputs
	// next scheduled run; zero if there is none.
	next time.Time
}

// decide says whether a build is due and why. It is pure: the same state gives the same plan,
// so that a restart starts nothing. A schedule that can't be read is a Terminal.
func decide(s *state) (plan, error) {
	times, err := newTimetable(s.image)
	if err != nil {
		return plan{}, err
	}
	last := s.lastInputs()
	p := plan{inputs: v1alpha1.BuildInputs{
		Spec:         specDigest(&s.image.Spec),
		ScheduledFor: last.ScheduledFor,
		RequestedAt:  truncate(s.image.Annotations[v1alpha1.BuildRequestedAtAnnotation], 256),
	}}
	if s.deleted() && s.last.Phase != v1alpha1.PhaseSucceeded && s.last.Phase != v1alpha1.PhaseFailed {
		p.because(v1alpha1.BuildReasonBuildDeleted, s.last.Name, "")
	}
	if p.inputs.Spec != last.Spec {
		p.because(v1alpha1.BuildReasonSpecChanged, last.Spec, p.inputs.Spec)
	}
	if p.inputs.RequestedAt != "" && p.inputs.RequestedAt != last.RequestedAt {
		p.because(v1alpha1.BuildReasonRequested, last.RequestedAt, p.inputs.RequestedAt)
	}
	if run, ok := times.due(s.since(), s.now); ok && !s.image.Spec.Suspend {
		p.inputs.ScheduledFor = timestamp(run)
		p.because(v1alpha1.BuildReasonScheduled, last.ScheduledFor, p.inputs.ScheduledFor)
	}
	p.next, _ = times.next(s.now)
	return p, nil
}

func (p *plan) because(t v1alpha1.BuildReasonType, before, after string) {
	p.reasons = append(p.reasons, v1alpha1.BuildReason{Type: t, Old: before, New: after})
}

func (p *plan) has(t v1alpha1.BuildReasonType) bool {
	return slices.ContainsFunc(p.reasons, func(r v1alpha1.BuildReason) bool { return r.Type == t })
}

// specDigest covers the fields that decide what is built and where it goes, so that a new
// schedule or history limit builds nothing.
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
