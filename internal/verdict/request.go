package verdict

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

// request is one question for which nothing is remembered.
type request struct {
	Question
	// source of all that is read; everything is asked for once.
	source verify.Source
	// now is when it was asked.
	now time.Time
	// attesting are the places of those who look for attestations.
	attesting []room
	steps     *steps
	// as is a Verifier, or what stands in for one in a test.
	as func(*verify.Verifier) verifier
}

// verifier is what is asked of a verify.Verifier.
type verifier interface {
	Signature(context.Context, verify.Source, name.Digest) (verify.Evidence, error)
	Attestation(ctx context.Context, s verify.Source, ref name.Digest, predicateType string, accept func(verify.Attestation) error) (verify.Attestation, error)
}

// judge looks at the image, at what authorities say of it and at what it is like, all at the same time.
func (r *request) judge(ctx context.Context) (Verdict, error) {
	passed, refused, asked := r.authorities()
	switch {
	case passed && r.Policy.Runtime == nil:
		return Verdict{proven: true}, nil
	case !passed && len(asked) == 0:
		return Verdict{Findings: bounded(refused)}, nil
	}
	look := beside(func() (*image, error) { return r.look(ctx, r.Image) })
	facts := beside(func() (rules.ImageFacts, error) { return r.wanted(ctx, look) })
	var said testimony
	var unsaid error
	if !passed {
		said, unsaid = r.vouched(ctx, asked, look)
	}
	if _, err := look(); err != nil {
		return r.refused(ctx, err)
	}
	known, unknown := facts()
	switch {
	case len(said.findings) > 0:
		return found(ctx, r.steps, append(said.findings, refused...), known)
	case unsaid != nil:
		return Verdict{}, unsaid
	case unknown != nil:
		return r.refused(ctx, unknown)
	}
	known.SignedAt, known.Shells = said.when(), said.shells
	return Verdict{Facts: known, Until: said.until, proven: true}, nil
}

// who says which authority a finding is of, if there are several.
func (r *request) who(a imagepolicy.Authority) string {
	if len(r.Policy.Authorities) == 1 {
		return ""
	}
	return a.Name
}

// authorities are those that are asked for evidence, and what the others say without: that the image may pass, or not.
func (r *request) authorities() (passed bool, refused []Finding, asked []imagepolicy.Authority) {
	for _, a := range r.Policy.Authorities {
		switch {
		case a.Static == nil:
			asked = append(asked, a)
		case a.Static.Pass:
			passed = true
		default:
			f := Finding{Reason: pipeline.ReasonImageRefused, Message: a.Static.Message, Fix: fixes[pipeline.ReasonImageRefused]}
			refused = append(refused, f.by("", r.who(a)))
		}
	}
	return passed, refused, asked
}

// look at what ref is.
func (r *request) look(ctx context.Context, ref name.Digest) (*image, error) {
	m, err := r.source.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	return parse(ref, m, r.Platforms)
}

// wanted are the facts that the policy's rules ask for.
func (r *request) wanted(ctx context.Context, look func() (*image, error)) (rules.ImageFacts, error) {
	if r.Policy.Runtime == nil {
		return rules.ImageFacts{}, nil
	}
	return r.facts(ctx, look)
}

// refused is the verdict on an image that is wrong by itself, or an outage.
func (r *request) refused(ctx context.Context, err error) (Verdict, error) {
	f, ok := violation(err)
	if !ok {
		return Verdict{}, err
	}
	return found(ctx, r.steps, []Finding{f}, rules.ImageFacts{})
}

// found is the verdict on an image with findings, unless what is missing may be missing because the time is over.
func found(ctx context.Context, s *steps, all []Finding, known rules.ImageFacts) (Verdict, error) {
	if ctx.Err() != nil {
		return Verdict{}, s.late(ctx)
	}
	return Verdict{Findings: bounded(all), Facts: known}, nil
}

// beside runs f beside what goes on. What panics, or ends its goroutine, is an error for those who wait.
func beside[T any](f func() (T, error)) (wait func() (T, error)) {
	done := make(chan struct{})
	var value T
	err := errVanished
	go func() {
		defer close(done)
		value, err = guarded(f)
	}()
	return func() (T, error) {
		<-done
		return value, err
	}
}
