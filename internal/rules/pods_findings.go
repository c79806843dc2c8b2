package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

func ownFinding(v ast.Value) (PodFinding, error) {
	o, ok := v.(ast.Object)
	if !ok {
		return PodFinding{}, fmt.Errorf("a finding of our rules for pods is a %s", ast.ValueName(v))
	}
	f := PodFinding{Rule: textOf(o, "rule"), Field: textOf(o, "field"), Message: textOf(o, "message"), Fix: textOf(o, "fix")}
	if f.Rule == "" || f.Field == "" || f.Message == "" || f.Fix == "" {
		return f, fmt.Errorf("a finding of our rules for pods is not whole: %v", f)
	}
	return f, nil
}

func textOf(o ast.Object, name string) string {
	s, _ := member[ast.String](o, name)
	return bound(string(s), maxMessage)
}

// podFinding reads a message, or an object with message and perhaps field and fix.
func (s subject) podFinding(r rule, v ast.Value) (PodFinding, error) {
	f := PodFinding{Rule: r.id}
	switch v := v.(type) {
	case ast.String:
		f.Message = bound(string(v), maxMessage)
	case ast.Object:
		f.Field, f.Message, f.Fix = textOf(v, "field"), textOf(v, "message"), textOf(v, "fix")
	}
	if f.Message == "" {
		return f, s.invalid("the rule %s has a finding that is a %s without a message: use a string, or an object with message", r.id, ast.ValueName(v))
	}
	return f, nil
}

// tidyPod sorts findings by what they are about, and keeps each once. No rule is lost: of each there is at least one left.
func tidyPod(findings []PodFinding) []PodFinding {
	slices.SortFunc(findings, func(a, b PodFinding) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Fix, b.Fix))
	})
	findings = slices.Compact(findings)
	if len(findings) <= MaxPodFindings {
		return findings
	}
	return fewer(findings)
}

func fewer(findings []PodFinding) []PodFinding {
	rules := map[string]bool{}
	for _, f := range findings {
		rules[f.Rule] = true
	}
	each, seen := max(MaxPodFindings/len(rules), 1), map[string]int{}
	var kept []PodFinding
	for _, f := range findings {
		if seen[f.Rule]++; seen[f.Rule] <= each && len(kept) < MaxPodFindings {
			kept = append(kept, f)
		}
	}
	last := &kept[len(kept)-1]
	last.Message = bound(fmt.Sprintf("%s (and there are %d more findings)", bound(last.Message, maxMessage-50), len(findings)-len(kept)), maxMessage)
	return kept
}
