package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

// runtime asks every policy that is for one of the images how containers may run. What is remembered of images changes
// nothing about that.
func (rv *reviewing) runtime(ctx context.Context) {
	for _, p := range rv.policies() {
		switch {
		case p.NotReady != nil && !rv.fresh(p):
			rv.findings = append(rv.findings, outage(rv.object.Path, notReady(p)).of(p))
		case p.NotReady == nil && p.Runtime != nil:
			rv.findings = append(rv.findings, rv.rules(ctx, p)...)
		}
	}
}

// fresh reports whether p was asked about an image.
func (rv *reviewing) fresh(p *imagepolicy.Policy) bool {
	return slices.ContainsFunc(rv.candidates, func(c *candidate) bool { return c.fresh && slices.Contains(c.policies, p) })
}

func notReady(p *imagepolicy.Policy) error {
	return fmt.Errorf("%s %s is not ready: %w", p.Kind, p.Name, p.NotReady)
}

// rules evaluates them, first with what is known of the images. Of images that were there before nobody has asked: only if
// something is wrong it may be because of that.
func (rv *reviewing) rules(ctx context.Context, p *imagepolicy.Policy) []finding {
	out := rv.evaluate(ctx, p)
	if len(out) == 0 {
		return nil
	}
	asked, err := rv.askFacts(ctx, p)
	if asked {
		out = rv.evaluate(ctx, p)
	}
	out = slices.DeleteFunc(out, rv.unfounded(p))
	if err != nil {
		out = append(out, rv.failure(p, err))
	}
	return out
}

func (rv *reviewing) evaluate(ctx context.Context, p *imagepolicy.Policy) (out []finding) {
	found, err := p.Runtime.Rules.Evaluate(ctx, rv.podQuestion(p))
	if err != nil {
		return []finding{rv.failure(p, fmt.Errorf("evaluating the runtime rules: %w", err))}
	}
	for _, f := range found {
		out = append(out, finding{reason: pipeline.ReasonRuntimeRule, rule: f.Rule, field: f.Field, message: f.Message, fix: f.Fix}.of(p))
	}
	return out
}

// failure is a violation if it would be the same another time: a rule that can't be evaluated on this object, an image that is
// not there.
func (rv *reviewing) failure(p *imagepolicy.Policy, err error) finding {
	f := outage(rv.object.Path, err).of(p)
	f.unknown = !pipeline.IsTerminal(err)
	return f
}

// ofImages are rules that depend on what is known of the image.
var ofImages = []string{"user", "image-shell", "image-label", "image-age"}

// ofEvidence are those among them that only who vouches for the image can answer.
var ofEvidence = []string{"image-shell", "image-age"}

// unfounded are findings that nothing is known of an image, where something else says why: they are no violation of their own.
func (rv *reviewing) unfounded(p *imagepolicy.Policy) func(finding) bool {
	lacking := map[string][]string{}
	for _, c := range rv.candidates {
		if !c.lacksFacts[p] && !rv.says(p, c) {
			continue
		}
		rulesOf := ofEvidence
		if !c.facts[p].Known {
			rulesOf = ofImages
		}
		for _, place := range c.places {
			lacking[place.Field] = rulesOf
		}
	}
	return func(f finding) bool {
		return slices.Contains(lacking[f.field], f.rule) || slices.Contains(lacking[imageOf(f.field)], f.rule)
	}
}

// says reports whether there is a finding of p about the image of c, or about all images.
func (rv *reviewing) says(p *imagepolicy.Policy, c *candidate) bool {
	return slices.ContainsFunc(rv.findings, func(f finding) bool {
		return f.policy == p && f.rule == "" && (f.image == c.reference || f.image == "")
	})
}

// imageOf is the field of the image of the container that a field belongs to.
func imageOf(field string) string {
	container, _, _ := strings.Cut(field, "].")
	return container + "].image"
}

func (rv *reviewing) podQuestion(p *imagepolicy.Policy) rules.PodQuestion {
	q := rules.PodQuestion{
		Kind: rv.object.Kind, Namespace: rv.namespace, Meta: rv.object.Meta, Spec: rv.object.Spec, Path: rv.object.Path,
		Profile: string(p.Runtime.Profile), Parameters: p.Runtime.Parameters, Version: rv.Cluster.Version(), Now: rv.Clock.Now(),
		Automount: rv.Cluster.Automount(rv.namespace, rv.object.Spec),
		Fields:    map[string]bool{}, Images: map[string]rules.ImageFacts{},
	}
	for _, c := range rv.candidates {
		if !slices.Contains(c.policies, p) {
			continue
		}
		for _, place := range c.places {
			q.Fields[place.Field] = true
			q.Images[place.Field] = c.facts[p]
		}
	}
	return q
}

// askFacts asks about images that were there before. The error is about the first that can't be looked at.
func (rv *reviewing) askFacts(ctx context.Context, p *imagepolicy.Policy) (asked bool, failed error) {
	for _, c := range rv.candidates {
		if c.fresh || !slices.Contains(c.policies, p) {
			continue
		}
		var err error
		if c.facts[p], err = rv.factsOf(ctx, c, p); err != nil {
			c.lacksFacts[p], failed = true, errors.Join(failed, err)
		}
		asked = true
	}
	return asked, failed
}

// factsOf an image that is not judged. When it was signed, and whether it has a shell, is known of those who vouch for it alone.
func (rv *reviewing) factsOf(ctx context.Context, c *candidate, p *imagepolicy.Policy) (rules.ImageFacts, error) {
	if err := rv.login(ctx); err != nil {
		return rules.ImageFacts{}, err
	}
	if err := rv.resolve(ctx, c); err != nil {
		return rules.ImageFacts{}, fmt.Errorf("looking for the digest of %s: %w", clip(c.reference), err)
	}
	q := rv.ofPolicy(c, p)
	if p.Runtime.Parameters.ImageMaxAge == 0 && !p.Runtime.Parameters.NoImageShells {
		facts, err := rv.Judge.Facts(ctx, q)
		if err != nil {
			return rules.ImageFacts{}, fmt.Errorf("looking at the configuration of %s: %w", clip(c.reference), err)
		}
		return facts, nil
	}
	v, err := rv.Judge.Judge(ctx, q)
	return v.Facts, err
}

// policies of all images, each once, by name.
func (rv *reviewing) policies() []*imagepolicy.Policy {
	var all []*imagepolicy.Policy
	for _, c := range rv.candidates {
		for _, p := range c.policies {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b *imagepolicy.Policy) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return all
}

// ruling is complete: every step has left what it found, or that it could not find out.
func (rv *reviewing) ruling() ruling {
	out := ruling{complete: true, findings: rv.findings, policies: rv.policies(), pins: map[string]string{}}
	slices.SortFunc(out.findings, finding.compare)
	for _, c := range rv.candidates {
		if pinned := pin(c.reference, c.digest); c.pinned && pinned != c.reference {
			for _, place := range c.places {
				if place.fresh {
					out.pins[place.Pointer] = pinned
				}
			}
		}
	}
	return out
}
