package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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

// RuleEvaluator evaluates the rules of the Dockerfile policy: a rules.Apart, since those of a team are not to be trusted.
type RuleEvaluator interface {
	Evaluate(ctx context.Context, task rules.Task) (rules.Answer, error)
}

// checkPolicy judges the Dockerfile, with the arguments of each platform, before anything is built from it.
func (run *buildRun) checkPolicy(ctx context.Context) (done, error) {
	modules, err := run.teamRules(ctx)
	if err != nil {
		return done{}, err
	}
	inputs, err := run.policyInputs()
	if err != nil {
		return done{}, err
	}
	answer, err := run.Rules.Evaluate(ctx, rules.Task{Modules: modules, Inputs: inputs})
	if err != nil {
		return done{}, err
	}
	spec := &run.build.Spec.DockerfilePolicy
	if err := knownRules(answer.Rules, spec.Exceptions); err != nil {
		return done{}, err
	}
	verdict := rules.Judge(answer.Findings, policyExceptions(spec.Exceptions), rules.Severity(spec.FailOn), run.Clock.Now())
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
func knownRules(known []string, exceptions []v1alpha1.PolicyException) error {
	for i, e := range exceptions {
		if !slices.Contains(known, e.Rule) {
			return pipeline.Terminalf(pipeline.ReasonPolicyInvalid, "spec.dockerfilePolicy.exceptions[%d].rule: there is no rule %q: the rules are %s", i, e.Rule, strings.Join(known, ", "))
		}
	}
	return nil
}

// rulesSuffix is of the keys of a ConfigMap that hold rules. Others are for people.
const rulesSuffix = ".rego"

// teamRules are those of spec.dockerfilePolicy.extraRules; none without it. One that has become empty is no policy.
func (run *buildRun) teamRules(ctx context.Context) ([]rules.Module, error) {
	ref := run.build.Spec.DockerfilePolicy.ExtraRules
	files, err := fileReader{live: run.Live}.policyFiles(ctx, run.build.Namespace, fieldExtraRules, ref)
	if err != nil || ref == nil {
		return nil, err
	}
	if err := asDecided(fieldExtraRules, filesDigest(files), run.build.Spec.Inputs.Rules); err != nil {
		return nil, err
	}
	var modules []rules.Module
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, rulesSuffix) {
			modules = append(modules, rules.Module{Name: name, Source: string(files[name])})
		}
	}
	if len(modules) == 0 {
		return nil, pipeline.Terminalf(pipeline.ReasonPolicyInvalid, "%s: ConfigMap %q has no key that ends in %s: put a rule into one, or take the field out", fieldExtraRules, ref.Name, rulesSuffix)
	}
	return modules, nil
}

// asDecided refuses a ConfigMap that has changed since the build was decided: the image's next look starts another.
func asDecided(field, now, then string) error {
	if now == then {
		return nil
	}
	return pipeline.Retryablef(pipeline.ReasonPolicyChanged, "%s: the ConfigMap has changed since the build was decided (%s is now %s)", field, shorten(then), shorten(now))
}

// policyInputs are what rules see of the Dockerfile on each platform.
func (run *buildRun) policyInputs() ([]rules.Input, error) {
	spec := &run.build.Spec
	document, lines, err := dockerfile.Document([]byte(spec.Dockerfile))
	if err != nil {
		return nil, err
	}
	var inputs []rules.Input
	for _, p := range spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			return nil, err
		}
		args := platform.BuildArgs()
		for _, a := range spec.BuildArgs {
			args[a.Name] = a.Value
		}
		inputs = append(inputs, rules.Input{Document: document, Lines: lines, BuildArgs: args, Target: spec.Target})
	}
	return inputs, nil
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
