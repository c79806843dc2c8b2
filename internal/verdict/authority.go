package verdict

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

// testimony is what is said of an image. Without findings, and without an error beside it, it is evidence.
type testimony struct {
	findings []Finding
	// oldest of the evidence; undated if nobody says when one of them was made.
	oldest  time.Time
	undated bool
	until   time.Time
	shells  rules.Shells
}

// when the image was signed, zero if nobody says so.
func (t testimony) when() time.Time {
	if t.undated {
		return time.Time{}
	}
	return t.oldest
}

func (t testimony) and(o testimony) testimony {
	t.findings = append(t.findings, o.findings...)
	t.oldest, t.until = earlier(t.oldest, o.oldest), earlier(t.until, o.until)
	t.undated = t.undated || o.undated
	return t
}

// earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// all of what is waited for has to be evidence. What is wrong for sure is told, also if not everything could be read.
func all(pending []func() (testimony, error)) (testimony, error) {
	var sum testimony
	var outage error
	for _, wait := range pending {
		t, err := wait()
		if outage == nil {
			outage = err
		}
		sum = sum.and(t)
	}
	if len(sum.findings) > 0 {
		return testimony{findings: sum.findings}, nil
	}
	return sum, outage
}

// vouched asks authorities at the same time. The first whose word holds suffices; if there is none, all have to have said so.
func (r *request) vouched(ctx context.Context, authorities []imagepolicy.Authority, look func() (*image, error)) (testimony, error) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	type word struct {
		testimony
		err error
		of  int
	}
	words := make(chan word, len(authorities))
	for i, a := range authorities {
		wait := beside(func() (testimony, error) { return r.vouch(ctx, a, look) })
		go func() {
			t, err := wait()
			words <- word{t, err, i}
		}()
	}
	var against testimony
	outages := make([]error, len(authorities))
	for range authorities {
		w := <-words
		if w.err == nil && len(w.findings) == 0 {
			return w.testimony, nil
		}
		against.findings = append(against.findings, w.findings...)
		outages[w.of] = w.err
	}
	if i := slices.IndexFunc(outages, func(err error) bool { return err != nil }); i >= 0 {
		return testimony{}, outages[i]
	}
	return against, nil
}

// vouch asks one authority for everything that it has to say: of an index, also of each image that a node can run.
func (r *request) vouch(ctx context.Context, a imagepolicy.Authority, look func() (*image, error)) (testimony, error) {
	whole := child{ref: r.Image}
	var pending, statements []func() (testimony, error)
	signature := !a.AttestationsSuffice || len(a.Attestations) == 0
	if signature {
		pending = append(pending, beside(func() (testimony, error) { return r.signed(ctx, a, whole) }))
	}
	for _, want := range a.Attestations {
		statements = append(statements, beside(func() (testimony, error) { return r.attested(ctx, a, want, whole) }))
	}
	im, err := look()
	if err != nil {
		return testimony{}, err
	}
	shells := beside(func() (rules.Shells, error) { return r.shells(ctx, a, im) })
	if signature && len(im.children) > 0 {
		index := pending[0]
		pending[0] = beside(func() (testimony, error) { return r.allSigned(ctx, a, index, im) })
	}
	for i, want := range a.Attestations {
		pending = append(pending, beside(func() (testimony, error) { return r.covered(ctx, a, want, statements[i], im) }))
	}
	t, err := all(pending)
	if err != nil || len(t.findings) > 0 {
		return t, err
	}
	t.shells, err = shells()
	return t, err
}

// allSigned asks for a signature of each image that a node can run, beside that of their index. An index that is not signed
// says it for all.
func (r *request) allSigned(ctx context.Context, a imagepolicy.Authority, index func() (testimony, error), im *image) (testimony, error) {
	parts := []func() (testimony, error){index}
	for _, c := range im.children {
		parts = append(parts, beside(func() (testimony, error) { return r.signed(ctx, a, c) }))
	}
	whole, err := index()
	if err == nil && len(whole.findings) > 0 {
		return whole, nil
	}
	return all(parts)
}

// signed asks for a signature.
func (r *request) signed(ctx context.Context, a imagepolicy.Authority, c child) (testimony, error) {
	if a.Verifier == nil {
		return testimony{}, fmt.Errorf("authority %q has nothing to verify with", a.Name)
	}
	e, err := r.as(a.Verifier).Signature(ctx, r.source, c.ref)
	if err != nil {
		return against(err, command(c.ref, a.Flags, "verify"), r.who(a), c.platform)
	}
	return evidence(e, c)
}

// covered asks for an attestation of the whole, which speaks for its parts, or of each part.
func (r *request) covered(ctx context.Context, a imagepolicy.Authority, want imagepolicy.Attestation, whole func() (testimony, error), im *image) (testimony, error) {
	t, err := whole()
	if err != nil || len(t.findings) == 0 || !im.index {
		return t, err
	}
	var pending []func() (testimony, error)
	for _, c := range im.children {
		pending = append(pending, beside(func() (testimony, error) { return r.attested(ctx, a, want, c) }))
	}
	parts, err := all(pending)
	if none := count(parts.findings, pipeline.ReasonAttestationMissing); none == len(im.children) {
		return t, nil // that the whole has none, or a bad one, says it shorter
	}
	return parts, err
}

func count(findings []Finding, reason string) (n int) {
	for _, f := range findings {
		if f.Reason == reason {
			n++
		}
	}
	return n
}

// attested asks for an attestation that says what is wanted.
func (r *request) attested(ctx context.Context, a imagepolicy.Authority, want imagepolicy.Attestation, c child) (testimony, error) {
	if want.Verifier == nil {
		return testimony{}, fmt.Errorf("%s of authority %q has nothing to verify with", want.Name, a.Name)
	}
	found, err := r.attestation(ctx, want.Verifier, c, want.PredicateType, func(found verify.Attestation) error { return r.accept(ctx, want, found) })
	if err != nil {
		return against(err, command(c.ref, want.Flags, "verify-attestation", "--type", want.PredicateType), r.who(a), want.Name, c.platform)
	}
	t, err := evidence(found.Evidence, c)
	if want.MaxAge > 0 {
		t.until = found.SignedAt.Add(want.MaxAge)
	}
	return t, err
}

// attestation is a good one of exactly this type. Few are looked for at the same time: their statements are large.
func (r *request) attestation(ctx context.Context, v *verify.Verifier, c child, predicateType string, accept func(verify.Attestation) error) (verify.Attestation, error) {
	release, err := queue(ctx, r.steps, "searches for attestations", r.attesting...)
	if err != nil {
		return verify.Attestation{}, err
	}
	defer release()
	found, err := r.as(v).Attestation(ctx, r.source, c.ref, predicateType, accept)
	if err == nil && found.PredicateType != predicateType {
		return verify.Attestation{}, fmt.Errorf("an attestation of type %q was asked for, and one of type %.200q was found", predicateType, found.PredicateType)
	}
	return found, err
}

// accept says what is wrong with an attestation that is good.
func (r *request) accept(ctx context.Context, want imagepolicy.Attestation, found verify.Attestation) error {
	if want.MaxAge > 0 {
		if err := aged(r.now, found.SignedAt, want.MaxAge); err != nil {
			return err
		}
	}
	if want.Rules == nil {
		return nil
	}
	says, err := want.Rules.Evaluate(ctx, found.Payload)
	switch {
	case err != nil && !pipeline.IsTerminal(err):
		return pipeline.Transientf(pipeline.ReasonInternalError, "judging what an attestation says: %w", err)
	case err != nil:
		return err
	case len(says) > 0:
		return errors.New(clip(strings.Join(says, "; ")))
	}
	return nil
}

func aged(now, signed time.Time, most time.Duration) error {
	if signed.IsZero() {
		return fmt.Errorf("nobody says when it was signed; it may be %s old", limits.Duration(most))
	}
	if age := now.Sub(signed); age > most {
		return fmt.Errorf("it was signed %s ago; it may be %s old", limits.Duration(age.Round(time.Second)), limits.Duration(most))
	}
	return nil
}

// shells are what the runtime tests of each platform say, by the word of the same authority.
func (r *request) shells(ctx context.Context, a imagepolicy.Authority, im *image) (rules.Shells, error) {
	if r.Policy.Runtime == nil || !r.Policy.Runtime.Parameters.NoImageShells || a.Verifier == nil {
		return rules.ShellsUnknown, nil
	}
	parts := im.children
	if !im.index {
		parts = []child{{ref: im.ref}}
	}
	var pending []func() (rules.Shells, error)
	for _, c := range parts {
		pending = append(pending, beside(func() (rules.Shells, error) {
			found, err := r.attestation(ctx, a.Verifier, c, pipeline.PredicateTestResult, nil)
			if _, ours := violation(err); ours {
				return rules.ShellsUnknown, nil
			}
			return shellsOf(found.Payload), err
		}))
	}
	out, failed := rules.ShellsNone, error(nil)
	for _, wait := range pending {
		s, err := wait()
		if out = worst(out, s); failed == nil {
			failed = err
		}
	}
	return out, failed
}

// evidence says that a part of an image is vouched for.
func evidence(e verify.Evidence, c child) (testimony, error) {
	if e.Subject == "" || e.Subject != c.ref.DigestStr() {
		return testimony{}, fmt.Errorf("evidence for %s was asked for, and was found for %.100q", c.ref.DigestStr(), e.Subject)
	}
	return testimony{oldest: e.SignedAt, undated: e.SignedAt.IsZero()}, nil
}

// against is what an error says against an image, or an outage.
func against(err error, command string, who ...string) (testimony, error) {
	f, ok := violation(err)
	if !ok {
		return testimony{}, err
	}
	return testimony{findings: []Finding{f.by(command, who...)}}, nil
}
