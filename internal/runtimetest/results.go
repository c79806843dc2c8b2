package runtimetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/probe"
)

const (
	// maxFailed and maxFailures bound what a status keeps.
	maxFailed   = 512
	maxFailures = 32
	// maxMessage of a condition.
	maxMessage = 900
)

// mayBeAbsent are the checks of what an image need not have.
var mayBeAbsent = []string{probe.CheckCABundle, probe.CheckTimeZones}

// Results reads a probe's report. Every check that tests asks for must have passed, or say that the image does not
// have what it looks at, where it need not: one that is missing has failed. A check that nobody has asked for can only
// fail.
func Results(report pipeline.ProbeReport, p pipeline.Platform, tests v1alpha1.TestPolicy) v1alpha1.PlatformTests {
	r := v1alpha1.PlatformTests{Platform: p.String(), Outcome: v1alpha1.TestPassed}
	found := map[string]pipeline.ProbeCheck{}
	for _, c := range report.Checks {
		found[c.Name] = c
	}
	expected := options(0, 0, tests).Names()
	for _, name := range expected {
		switch c, ok := found[name]; {
		case !ok:
			r.Failed = append(r.Failed, name+": the probe did not report on it: use a worker image of the operator's version")
		case c.Outcome == pipeline.ProbePassed:
			r.Passed = append(r.Passed, name)
		case c.Outcome != pipeline.ProbeAbsent || !slices.Contains(mayBeAbsent, name):
			r.Failed = append(r.Failed, failure(c))
		}
	}
	for _, c := range report.Checks {
		if !slices.Contains(expected, c.Name) && c.Outcome != pipeline.ProbePassed {
			r.Failed = append(r.Failed, failure(c))
		}
	}
	if len(r.Failed) > 0 {
		r.Outcome = v1alpha1.TestFailed
	}
	r.Failed = r.Failed[:min(len(r.Failed), maxFailures)]
	return r
}

func failure(c pipeline.ProbeCheck) string {
	if c.Message == "" {
		c.Message = "the probe says " + string(c.Outcome) + " and not why"
	}
	return pipeline.Clip(c.Name+": "+c.Message, maxFailed)
}

// Skipped is the result of a platform that no node can run.
func Skipped(p pipeline.Platform) v1alpha1.PlatformTests {
	return v1alpha1.PlatformTests{Platform: p.String(), Outcome: v1alpha1.TestSkipped, Failed: []string{fmt.Sprintf(
		"no node can run it, so nothing was tested: add a node of this architecture that fits spec.platforms[].nodeSelector, or install emulation on one and label it %s%s", EmulationLabel, p.Architecture)}}
}

// Summary says how many platforms passed, of all: 2/2, or 1/2, 1 skipped.
func Summary(results []v1alpha1.PlatformTests) string {
	passed, skipped := 0, 0
	for _, r := range results {
		switch r.Outcome {
		case v1alpha1.TestPassed:
			passed++
		case v1alpha1.TestSkipped:
			skipped++
		}
	}
	if skipped > 0 {
		return fmt.Sprintf("%d/%d, %d skipped", passed, len(results), skipped)
	}
	return fmt.Sprintf("%d/%d", passed, len(results))
}

// Message says for a condition which platforms failed which checks, and what to change; then what was skipped. Without
// either it counts what passed.
func Message(results []v1alpha1.PlatformTests) string {
	groups := grouped(results)
	if len(groups) == 0 {
		return fmt.Sprintf("%d of %d platforms passed all tests", len(results), len(results))
	}
	const separator = ". "
	share := (maxMessage - (len(groups)-1)*len(separator)) / len(groups)
	var parts []string
	for _, g := range groups {
		parts = append(parts, pipeline.Clip(g.sentence(), share))
	}
	return strings.Join(parts, separator)
}

// group has platforms of which the same is to be said.
type group struct {
	platforms []string
	outcome   v1alpha1.TestOutcome
	why       []string
}

// grouped leaves out what passed. Failures come first, and whatever is neither passed nor skipped is one.
func grouped(results []v1alpha1.PlatformTests) []*group {
	var groups []*group
	for _, outcome := range []v1alpha1.TestOutcome{v1alpha1.TestFailed, v1alpha1.TestSkipped} {
		for _, r := range results {
			skipped := r.Outcome == v1alpha1.TestSkipped
			if r.Outcome == v1alpha1.TestPassed || skipped != (outcome == v1alpha1.TestSkipped) {
				continue
			}
			same := slices.IndexFunc(groups, func(g *group) bool { return g.outcome == outcome && slices.Equal(g.why, r.Failed) })
			if same < 0 {
				same, groups = len(groups), append(groups, &group{outcome: outcome, why: r.Failed})
			}
			groups[same].platforms = append(groups[same].platforms, r.Platform)
		}
	}
	return groups
}

// sentence names all checks before it says more of each: the end may be cut.
func (g *group) sentence() string {
	who := strings.Join(g.platforms, ", ")
	switch {
	case g.outcome == v1alpha1.TestSkipped:
		return who + " skipped: " + strings.Join(g.why, "; ")
	case len(g.why) == 1:
		return who + " failed " + g.why[0]
	}
	return who + " failed " + strings.Join(names(g.why), ", ") + ": " + strings.Join(g.why, "; ")
}

// names are those of the checks that failed.
func names(failed []string) []string {
	var all []string
	for _, f := range failed {
		name, _, _ := strings.Cut(f, ":")
		all = append(all, name)
	}
	return all
}
