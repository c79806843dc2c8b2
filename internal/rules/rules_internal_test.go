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
	if got, ok := errors.AsType[*pipeline.Terminal](err); !ok || got.Reason != pipeline.ReasonPolicyBudgetExceeded {
		t.Errorf("got %v", err)
	}
	if _, err := base.Evaluate(t.Context(), Input{Document: []any{}}); err != nil {
		t.Errorf("our own rules are not evaluated: %v", err)
	}
}
