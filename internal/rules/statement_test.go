package rules_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

const provenance = `{"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
	"subject": [{"name": "x", "digest": {"sha256": "00"}}], "predicate": {"runDetails": {"builder": {"id": "https://example.com/builder"}}, "score": 9.8}}`

func statement(t testing.TB, source string) *rules.Statement {
	t.Helper()
	s, err := rules.CompileStatement(source)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRulesForAStatement(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		source string
		want   []string
	}{
		"nothing is wrong": {"package main\n\ndeny contains \"no\" if input.predicate.runDetails.builder.id != \"https://example.com/builder\"", nil},
		"something is wrong": {"package main\n\ndeny contains \"no\" if input.predicate.runDetails.builder.id != \"https://example.com/other\"",
			[]string{"no"}},
		"several rules":       {"package a.b\n\ndeny_z contains \"z\"\n\nviolation contains {\"message\": \"a\"}\n\ndeny contains \"z\"", []string{"a", "z"}},
		"a number":            {"package basewright\n\ndeny contains \"high\" if input.predicate.score > 9", []string{"high"}},
		"what is not there":   {"package a\n\ndeny contains \"no build type\" if not input.predicate.buildDefinition.buildType", []string{"no build type"}},
		"control characters":  {"package a\n\ndeny contains \"a\\nb\"", []string{"a b"}},
		"too many findings":   {"package a\n\ndeny contains sprintf(\"%04d\", [i]) if some i in numbers.range(1, 100)", nil},
		"too long a finding":  {"package a\n\ndeny contains concat(\"\", [\"é\" | some _ in numbers.range(1, 1000)])", nil},
		"a rule that is none": {"package a\n\ndeny contains \"x\" if input.nothing\n\nx := 1", nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := statement(t, tc.source).Evaluate(t.Context(), []byte(provenance))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "too") {
				if len(got) == 0 || len(got) > rules.MaxStatementFindings || len(strings.Join(got, "")) > 20*512 {
					t.Errorf("got %q", got)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCompileStatementRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		source  string
		mention []string
	}{
		"nothing":               {"", []string{"rego: "}},
		"what is not Rego":      {"package a\n\ndeny contains if {", []string{"line 3"}},
		"no rule":               {"package a\n\nallow := true", []string{"no module has a rule"}},
		"a warning":             {"package a\n\nwarn contains \"a\"", []string{"no warnings"}},
		"a rule that is no set": {"package a\n\ndeny := false", []string{"line 3", "contains"}},
		"the network":           {"package a\n\ndeny contains \"a\" if net.lookup_ip_addr(\"x\")", []string{"net.lookup_ip_addr"}},
		"the time":              {"package a\n\ndeny contains \"a\" if time.now_ns() > 1", []string{"time.now_ns"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := rules.CompileStatement(tc.source)
			terminal(t, err, pipeline.ReasonPolicyInvalid, tc.mention)
			if s != nil {
				t.Error("there are rules")
			}
		})
	}
}

func TestAStatementThatCantBeJudgedIsNoVerdict(t *testing.T) {
	t.Parallel()
	never := "package a\n\ndeny contains \"a\" if input.never"
	tests := map[string]struct {
		source, statement string
		reason            string
	}{
		"nothing":                       {never, ``, ""},
		"null":                          {never, `null`, ""},
		"a list":                        {never, `[]`, ""},
		"what is not JSON":              {never, `{"a": }`, ""},
		"something after it":            {never, `{} {}`, ""},
		"an end that is missing":        {never, `{"a": 1`, ""},
		"too many bytes":                {never, `{"a": "` + strings.Repeat("a", rules.MaxStatement) + `"}`, pipeline.ReasonPolicyBudgetExceeded},
		"too many elements":             {never, `{"a": [0` + strings.Repeat(",0", 600_000) + `]}`, pipeline.ReasonPolicyBudgetExceeded},
		"too deep":                      {never, strings.Repeat(`{"a":`, 200) + `1` + strings.Repeat(`}`, 200), pipeline.ReasonPolicyBudgetExceeded},
		"deep behind a quote":           {never, `{"\\": "\"", "b": ` + strings.Repeat(`[`, 200) + strings.Repeat(`]`, 200) + `}`, pipeline.ReasonPolicyBudgetExceeded},
		"a number without end":          {never, `{"a": 1` + strings.Repeat("0", 100) + `}`, pipeline.ReasonPolicyBudgetExceeded},
		"a number that is too large":    {never, `{"a": 1e999999999}`, pipeline.ReasonPolicyBudgetExceeded},
		"a number that is too small":    {never, `{"a": -1.5E-99999}`, pipeline.ReasonPolicyBudgetExceeded},
		"a rule that fails":             {"package a\n\ndeny contains \"a\" if to_number(input.a) > 1", `{"a": "b"}`, pipeline.ReasonPolicyInvalid},
		"a finding that is no message":  {"package a\n\ndeny contains input.a", `{"a": {"message": ""}}`, pipeline.ReasonPolicyInvalid},
		"a rule that takes all of it":   {"package a\n\ndeny contains json.marshal(input)", `{"a": "` + strings.Repeat("a", 2<<20) + `"}`, pipeline.ReasonPolicyBudgetExceeded},
		"a rule that looks at each two": {"package a\n\ndeny contains \"a\" if { some x in input.a; some y in input.a; x > y }", `{"a": [0` + strings.Repeat(",0", 10_000) + `]}`, pipeline.ReasonPolicyBudgetExceeded},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := statement(t, tc.source).Evaluate(t.Context(), []byte(tc.statement))
			if tc.reason != "" {
				terminal(t, err, tc.reason, nil)
			}
			if err == nil || got != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestNumbersAndTextsOfStatementsAreTold(t *testing.T) {
	t.Parallel()
	source := "package a\n\ndeny contains sprintf(\"%v\", [x]) if some x in input.a"
	content := fmt.Sprintf(`{"a": [1.5e10, -0.25, "1e999999999", "%s", true, "\\"]}`, strings.Repeat("1", 70))
	got, err := statement(t, source).Evaluate(t.Context(), []byte(content))
	if err != nil || len(got) != 6 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheEndOfTheContextIsNoVerdictOnAStatement(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"a small one": provenance, "a large one": `{"a": "` + strings.Repeat("a", 2<<20) + `"}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("the client has gone")
			cancel(gone)
			body := `deny contains "a" if count([1 | some x in numbers.range(1, 9000); some y in numbers.range(1, 9000); x == y]) > 5`
			got, err := statement(t, "package a\n\n"+body).Evaluate(ctx, []byte(content))
			if !errors.Is(err, gone) || pipeline.IsTerminal(err) || got != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func FuzzStatement(f *testing.F) {
	f.Add([]byte(provenance))
	f.Add([]byte(`{"a": [1, "\"{", {"b": 1e3}]}`))
	s := statement(f, "package a\n\ndeny contains \"x\"")
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := s.Evaluate(t.Context(), content)
		if (err == nil) != (len(got) == 1) {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}
