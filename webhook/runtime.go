package webhook

import (
	"context"
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
		if p.NotReady != nil && !rv.fresh(p) {
			rv.findings = append(rv.findings, outage(rv.object.Path, notReady(p)).of(p))
		}
		if p.Runtime == nil || p.NotReady != nil {
			continue
		}
		found, err := rv.rules(ctx, p)
		if err != nil {
			rv.findings = append(rv.findings, outage(rv.object.Path, fmt.Errorf("evaluating the runtime rules of policy %s: %w", p.Name, err)).of(p))
			continue
		}
		for _, f := range found {
			rv.findings = append(rv.findings, finding{reason: pipeline.ReasonRuntimeRule, rule: f.Rule, field: f.Field, message: f.Message, fix: f.Fix}.of(p))
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
func (rv *reviewing) rules(ctx context.Context, p *imagepolicy.Policy) ([]rules.PodFinding, error) {
	q := rv.podQuestion(p)
	found, err := p.Runtime.Rules.Evaluate(ctx, q)
	if err != nil || len(found) == 0 {
		return found, err
	}
	asked, err := rv.askFacts(ctx, p)
	if err != nil || !asked {
		return found, err
	}
	return p.Runtime.Rules.Evaluate(ctx, rv.podQuestion(p))
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

// askFacts asks about images that were there before.
func (rv *reviewing) askFacts(ctx context.Context, p *imagepolicy.Policy) (asked bool, err error) {
	for _, c := range rv.candidates {
		if c.fresh || !slices.Contains(c.policies, p) {
			continue
		}
		if err := rv.resolve(ctx, c); err != nil {
			return asked, fmt.Errorf("looking for the digest of %s: %w", clip(c.reference), err)
		}
		if c.facts[p], err = rv.factsOf(ctx, c, p); err != nil {
			return asked, fmt.Errorf("looking at the configuration of %s: %w", clip(c.reference), err)
		}
		asked = true
	}
	return asked, nil
}

// factsOf an image that is not judged. When it was signed, and whether it has a shell, is known of those who vouch for it alone.
func (rv *reviewing) factsOf(ctx context.Context, c *candidate, p *imagepolicy.Policy) (rules.ImageFacts, error) {
	q := rv.ofPolicy(c, p)
	if p.Runtime.Parameters.ImageMaxAge == 0 && !p.Runtime.Parameters.NoImageShells {
		return rv.Judge.Facts(ctx, q)
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
		if pinned := pin(c.reference, c.digest); c.fresh && c.pinned && pinned != c.reference {
			for _, place := range c.places {
				out.pins[place.Pointer] = pinned
			}
		}
	}
	return out
}
