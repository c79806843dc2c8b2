package rules_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

func TestRulesOfAConfigMap(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want []rules.PodFinding
	}{
		"a message": {`deny_x contains "no"`, []rules.PodFinding{{Rule: "team.x.deny_x", Message: "no"}}},
		"an object": {`deny_x contains {"message": "no", "field": "spec.a", "fix": "yes"}`,
			[]rules.PodFinding{{Rule: "team.x.deny_x", Message: "no", Field: "spec.a", Fix: "yes"}}},
		"the pod":      {`violation contains sprintf("%s %s", [input.metadata.labels.app, input.spec.containers[0].image])`, []rules.PodFinding{{Rule: "team.x.violation", Message: "app registry.example/app@sha256:0"}}},
		"the question": {`deny contains concat(" ", [input.kind, input.namespace, input.profile, input.version])`, []rules.PodFinding{{Rule: "team.x.deny", Message: "Pod team Restricted 1.37"}}},
		"containers":   {`deny contains c.field if { some c in input.containers; c.kind == "regular"; c.limits.cpu }`, []rules.PodFinding{{Rule: "team.x.deny", Message: "spec.containers[0]"}}},
		"images":       {`deny contains i.user if { some i in input.images; i.known; i.age == 86400; i.shells == "None" }`, []rules.PodFinding{{Rule: "team.x.deny", Message: "65532:65532"}}},
		"parameters":   {`deny contains sprintf("%d", [input.parameters.users[0].min])`, []rules.PodFinding{{Rule: "team.x.deny", Message: "65532"}}},
		"nothing":      {`deny contains "a" if input.spec.hostPID`, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := compilePods(t, module(tc.body)).Evaluate(t.Context(), question(1))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, found); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRulesOfAConfigMapComeBesideOurs(t *testing.T) {
	t.Parallel()
	q := question(1)
	q.Spec.HostPID = true
	found, err := compilePods(t, module(`deny contains {"message": "a", "field": "spec.hostPID"}`)).Evaluate(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"host-namespaces spec.hostPID", "team.x.deny spec.hostPID"}, places(found)); diff != "" {
		t.Error(diff)
	}
}

func TestCompilePodsRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		module  rules.Module
		mention []string
	}{
		"what is not Rego":           {module(`deny contains if {`), []string{"team.rego line 3"}},
		"our package":                {rules.Module{Name: "a.rego", Source: "package basewright.runtime\n\ndeny contains \"x\""}, []string{"a.rego", "basewright.runtime"}},
		"the package of Dockerfiles": {rules.Module{Name: "a.rego", Source: "package main\n\ndeny contains \"x\""}, []string{"package main"}},
		"a warning":                  {module(`warn_x contains "a"`), []string{"team.x.warn_x", "no warnings"}},
		"no rule":                    {module(`x := 1`), []string{"no module has a rule"}},
		"the network":                {module(`deny contains "a" if http.send({"method": "get", "url": "http://x"})`), []string{"team.rego line 3", "http.send"}},
		"the time":                   {module(`deny contains "a" if time.now_ns() > 0`), []string{"time.now_ns"}},
		"the environment":            {module(`deny contains "a" if opa.runtime().env.HOME`), []string{"opa.runtime"}},
		"a module that is too large": {module(strings.Repeat("# ", rules.MaxModuleSize)), []string{"65536"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := rules.CompilePods([]rules.Module{tc.module})
			terminal(t, err, pipeline.ReasonPolicyInvalid, append(tc.mention, "spec.runtime.extraRules"))
			if p != nil || strings.Contains(err.Error(), "dockerfile") {
				t.Errorf("got %v, %v", p, err)
			}
		})
	}
}

func TestRulesOfAConfigMapThatCantBeEvaluatedAreNoVerdict(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body, reason string
		mention      []string
	}{
		"a number":                {`deny contains 1`, pipeline.ReasonPolicyInvalid, []string{"team.x.deny", "number"}},
		"an object without words": {`deny contains {"msg": "a"}`, pipeline.ReasonPolicyInvalid, []string{"message"}},
		"an empty message":        {`deny contains ""`, pipeline.ReasonPolicyInvalid, []string{"message"}},
		"a function that fails":   {`deny contains "a" if to_number(input.kind) > 1`, pipeline.ReasonPolicyInvalid, []string{"team.rego line 3", "to_number"}},
		"steps without end":       {`deny contains "a" if count([1 | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); x == y]) > 5`, pipeline.ReasonPolicyBudgetExceeded, []string{"spec.runtime.extraRules"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question(1)
			q.Spec.HostPID = true
			found, err := compilePods(t, module(tc.body)).Evaluate(t.Context(), q)
			terminal(t, err, tc.reason, tc.mention)
			if found != nil {
				t.Error(found)
			}
		})
	}
}
