package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestNoFunctionReachesOutOrChanges(t *testing.T) {
	t.Parallel()
	for _, name := range allowed {
		for _, prefix := range []string{"http.", "net.", "opa.", "rand.", "uuid.", "time.", "crypto.", "io.", "providers.", "rego.", "trace", "internal.print"} {
			if strings.HasPrefix(name, prefix) {
				t.Errorf("%s is allowed", name)
			}
		}
	}
	for _, name := range allowed {
		if !slices.ContainsFunc(capabilities.Builtins, func(b *ast.Builtin) bool { return b.Name == name }) {
			t.Errorf("OPA has no function %s", name)
		}
	}
	if len(capabilities.Builtins) != len(allowed) || capabilities.AllowNet == nil || len(capabilities.AllowNet) != 0 {
		t.Errorf("there are %d functions, %d are allowed; hosts are %v", len(capabilities.Builtins), len(allowed), capabilities.AllowNet)
	}
}

// Not parallel: others would be refused meanwhile.
func TestNothingAddedIsEvaluatedWhileTooMuchRunsOn(t *testing.T) {
	p, err := Compile([]Module{{Name: "a.rego", Source: "package team\n\ndeny contains \"x\"\n"}})
	if err != nil {
		t.Fatal(err)
	}
	base, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	abandoned.Store(maxAbandoned)
	defer abandoned.Store(0)
	_, err = p.Evaluate(t.Context(), Input{Document: []any{}})
	if got, ok := errors.AsType[*pipeline.Transient](err); !ok || got.Reason != pipeline.ReasonPolicyBudgetExceeded {
		t.Errorf("got %v", err)
	}
	if _, err := base.Evaluate(t.Context(), Input{Document: []any{}}); err != nil {
		t.Errorf("our own rules are not evaluated: %v", err)
	}
}

// What a call would make is known before it is made: afterwards is too late.
func TestEstimates(t *testing.T) {
	t.Parallel()
	thousand := strings.Repeat("a", 1000)
	tests := map[string]struct {
		function string
		operands string
		least    int
	}{
		"a long separator":                {"concat", `["` + thousand + `", ["", "", "", "", "", "", "", "", "", ""]]`, 9_000},
		"a long replacement":              {"replace", `["` + thousand + `", "a", "` + thousand + `"]`, 1_000_000},
		"a replacement of nothing":        {"replace", `["` + thousand + `", "", "` + thousand + `"]`, 1_000_000},
		"one of many replacements":        {"strings.replace_n", `[{"b": "", "a": "` + thousand + `"}, "` + thousand + `"]`, 1_000_000},
		"a long replacement in a pattern": {"regex.replace", `["` + thousand + `", "", "` + thousand + `"]`, 1_000_000},
		"many verbs for one argument":     {"sprintf", `["` + strings.Repeat("%[1]s", 1000) + `", ["` + thousand + `"]]`, 1_000_000},
		"a wide verb":                     {"sprintf", `["%12345d", [1]]`, maxOperands + 1},
		"a precise verb":                  {"sprintf", `["%.12345f", [1]]`, maxOperands + 1},
		"a range downwards":               {"numbers.range", `[1000000, 1]`, 999_999},
		"a list":                          {"json.marshal", `[[["` + thousand + `"], {"` + thousand + `": 1}]]`, 2_000},
		"a number with many digits":       {"mul", `[` + strings.Repeat("1", maxDigits+1) + `, 1]`, maxOperands + 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			estimate := estimates[tc.function]
			if estimate == nil {
				estimate = deep
			}
			var operands []*ast.Term
			ast.MustParseTerm(tc.operands).Value.(*ast.Array).Foreach(func(o *ast.Term) { operands = append(operands, o) })
			if got := estimate(operands); got < tc.least {
				t.Errorf("the estimate is %d, at least %d are made", got, tc.least)
			}
		})
	}
}
