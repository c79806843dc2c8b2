package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

const (
	// maxFindings of one gate are kept in the status, and maxShown of them in a condition.
	maxFindings = 20
	maxShown    = 5
	// maxFinding is the limit of one of them.
	maxFinding = 1024
)

// checkPolicy judges the Dockerfile, with the arguments of each platform, before anything is built from it.
func (run *buildRun) checkPolicy(ctx context.Context) (done, error) {
	policy, err := run.policy(ctx)
	if err != nil {
		return done{}, err
	}
	findings, err := run.policyFindings(ctx, policy)
	if err != nil {
		return done{}, err
	}
	spec := &run.build.Spec.DockerfilePolicy
	if err := knownRules(policy, spec.Exceptions); err != nil {
		return done{}, err
	}
	verdict := rules.Judge(findings, policyExceptions(spec.Exceptions), rules.Severity(spec.FailOn), run.Clock.Now())
	result := policyResult(verdict)
	run.build.Status.DockerfilePolicy = result
	if len(verdict.Refused) > 0 {
		return done{}, pipeline.Terminalf(pipeline.ReasonDockerfilePolicyDenied, "the Dockerfile policy refuses the Dockerfile: %s%s",
			summed(result.Findings[:min(len(verdict.Refused), maxFindings)], len(verdict.Refused)), suffix(result.Expired))
	}
	return done{message: truncate(policyMessage(verdict, result), maxMessage)}, nil
}

// policyMessage is for a Dockerfile that no rule refuses.
func policyMessage(v rules.Verdict, result *v1alpha1.PolicyResult) string {
	parts := []string{"No rule refuses the Dockerfile"}
	if n := len(v.Warned); n > 0 {
		parts = append(parts, fmt.Sprintf("%s: %s", plural(n, "warning"), summed(result.Findings[:min(n, maxFindings)], n)))
	}
	if n := len(v.Excepted); n > 0 {
		parts = append(parts, plural(n, "finding")+" excepted")
	}
	for _, e := range v.Unused {
		parts = append(parts, "nothing needs the exception for "+e.Rule)
	}
	return strings.Join(parts, "; ")
}

// knownRules refuses an exception for a rule that is none: it would do nothing, and look as if it did.
func knownRules(policy *rules.Policy, exceptions []v1alpha1.PolicyException) error {
	for _, e := range exceptions {
		if !slices.Contains(policy.Rules(), e.Rule) {
			return pipeline.Terminalf(pipeline.ReasonPolicyInvalid, "spec.dockerfilePolicy.exceptions: there is no rule %q: the rules are %s", e.Rule, strings.Join(policy.Rules(), ", "))
		}
	}
	return nil
}

// policy compiles the rules, those of the team included. The operator's own are compiled once.
func (run *buildRun) policy(ctx context.Context) (*rules.Policy, error) {
	files, err := fileReader{live: run.Live}.policyFiles(ctx, run.build.Namespace, fieldExtraRules, run.build.Spec.DockerfilePolicy.ExtraRules)
	if err != nil {
		return nil, err
	}
	if err := asDecided(fieldExtraRules, filesDigest(files), run.build.Spec.Inputs.Rules); err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return run.rules.compiled()
	}
	var extra []rules.Module
	for _, name := range slices.Sorted(maps.Keys(files)) {
		extra = append(extra, rules.Module{Name: name, Source: string(files[name])})
	}
	return rules.Compile(extra)
}

// baseRules are the operator's own, compiled when they are first needed.
type baseRules struct {
	once   sync.Once
	policy *rules.Policy
	err    error
}

func (b *baseRules) compiled() (*rules.Policy, error) {
	b.once.Do(func() { b.policy, b.err = rules.Compile(nil) })
	return b.policy, b.err
}

// asDecided refuses a ConfigMap that has changed since the build was decided: the image's next look starts another.
func asDecided(field, now, then string) error {
	if now == then {
		return nil
	}
	return pipeline.Retryablef(pipeline.ReasonPolicyChanged, "%s: the ConfigMap has changed since the build was decided (%s is now %s)", field, shorten(then), shorten(now))
}

// policyFindings are those of all platforms together: most Dockerfiles are the same on each.
func (run *buildRun) policyFindings(ctx context.Context, policy *rules.Policy) ([]rules.Finding, error) {
	spec := &run.build.Spec
	document, lines, err := dockerfile.Document([]byte(spec.Dockerfile))
	if err != nil {
		return nil, err
	}
	var all []rules.Finding
	for _, p := range spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			return nil, err
		}
		args := platform.BuildArgs()
		for _, a := range spec.BuildArgs {
			args[a.Name] = a.Value
		}
		found, err := policy.Evaluate(ctx, rules.Input{Document: document, Lines: lines, BuildArgs: args, Target: spec.Target})
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	return all, nil
}

func policyExceptions(exceptions []v1alpha1.PolicyException) []rules.Exception {
	var out []rules.Exception
	for _, e := range exceptions {
		out = append(out, rules.Exception{Rule: e.Rule, Reason: e.Reason, Expires: e.Expires.Time})
	}
	return out
}

// summed joins the first of some findings, of which there are n.
func summed(findings []string, n int) string {
	text := strings.Join(findings[:min(len(findings), maxShown)], "; ")
	if more := n - min(len(findings), maxShown); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// suffix adds sentences to a message.
func suffix(sentences []string) string {
	if len(sentences) == 0 {
		return ""
	}
	return " (" + summed(sentences, len(sentences)) + ")"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func policyResult(v rules.Verdict) *v1alpha1.PolicyResult {
	result := &v1alpha1.PolicyResult{Excepted: int32(len(v.Excepted))}
	for _, f := range slices.Concat(v.Refused, v.Warned) {
		if f.Severity == rules.Deny {
			result.Denied++
		} else {
			result.Warned++
		}
		result.Findings = append(result.Findings, truncate(f.String(), maxFinding))
	}
	for _, f := range v.Excepted {
		result.Findings = append(result.Findings, truncate(fmt.Sprintf("excepted (%s): %s", f.Reason, f.Finding), maxFinding))
	}
	result.Findings = result.Findings[:min(len(result.Findings), maxFindings)]
	for _, e := range v.Expired {
		result.Expired = append(result.Expired, truncate(fmt.Sprintf("the exception for %s has expired on %s: %s", e.Rule, timestamp(e.Expires), e.Reason), maxFinding))
	}
	return result
}
