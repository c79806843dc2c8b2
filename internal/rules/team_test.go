package rules_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

const good = `FROM example.com/base:1
LABEL org.opencontainers.image.title=x org.opencontainers.image.description=x org.opencontainers.image.source=x
USER 65532
`

func module(body string) rules.Module {
	return rules.Module{Name: "team.rego", Source: "package team.x\n\n" + body}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	many := make([]rules.Module, rules.MaxModules+1)
	for i := range many {
		many[i] = rules.Module{Name: fmt.Sprint(i), Source: fmt.Sprintf("package team.p%d\n\ndeny contains \"x\"\n", i)}
	}
	large := strings.Repeat("# ", rules.MaxModuleSize/2)
	tests := map[string]struct {
		modules []rules.Module
		mention []string
	}{
		"what is not Rego":                            {[]rules.Module{module("deny contains if {")}, []string{"team.rego line"}},
		"Rego of before version 1":                    {[]rules.Module{module(`deny[msg] { msg := "x" }`)}, []string{"team.rego line 3", "contains"}},
		"our package":                                 {[]rules.Module{{Name: "a.rego", Source: "package main\n\ndeny_add contains \"x\"\n"}}, []string{"a.rego", "package main"}},
		"a package below ours":                        {[]rules.Module{{Name: "a.rego", Source: "package main.other\n\ndeny contains \"x\"\n"}}, []string{"main.other"}},
		"the package of what the operator tells":      {[]rules.Module{{Name: "a.rego", Source: "package basewright\n\ntarget := \"x\"\n\ndeny contains \"x\"\n"}}, []string{"basewright"}},
		"a package with a strange name":               {[]rules.Module{{Name: "a.rego", Source: "package a[\"b c\"]\n\ndeny contains \"x\"\n"}}, []string{"a.rego", "package"}},
		"no rule at all":                              {[]rules.Module{module("x := 1")}, []string{"no module has a rule"}},
		"a rule that is not a set":                    {[]rules.Module{module(`deny_x := "no"`)}, []string{"line 3", "deny_x contains msg"}},
		"a rule that is a function":                   {[]rules.Module{module(`deny_x(y) := y`)}, []string{"deny_x contains msg"}},
		"a rule below a name":                         {[]rules.Module{module(`deny.x contains "a"`)}, []string{"deny contains msg"}},
		"a rule that conftest would not run":          {[]rules.Module{module(`deny__x contains "a"`)}, []string{"deny__x", "underscores"}},
		"http.send":                                   {[]rules.Module{module(`deny_x contains "a" if http.send({"method": "get", "url": "http://x"})`)}, []string{"team.rego line 3", "http.send", "network"}},
		"a look-up of a name":                         {[]rules.Module{module(`deny_x contains "a" if net.lookup_ip_addr("x")`)}, []string{"net.lookup_ip_addr"}},
		"the environment":                             {[]rules.Module{module(`deny_x contains "a" if opa.runtime().env.HOME`)}, []string{"opa.runtime"}},
		"the time":                                    {[]rules.Module{module(`deny_x contains "a" if time.now_ns() > 0`)}, []string{"time.now_ns"}},
		"chance":                                      {[]rules.Module{module(`deny_x contains "a" if rand.intn("x", 2) == 0`)}, []string{"rand.intn"}},
		"a unique identifier":                         {[]rules.Module{module(`deny_x contains uuid.rfc4122("x")`)}, []string{"uuid.rfc4122"}},
		"recursion":                                   {[]rules.Module{module(`deny_x contains msg if some msg in deny_x`)}, []string{"line 3", "itself"}},
		"an unused variable":                          {[]rules.Module{module("deny_x contains \"a\" if {\n\ty := 1\n}")}, []string{"line 4", "y"}},
		"a variable without a value":                  {[]rules.Module{module(`deny_x contains y`)}, []string{"line 3", "unsafe"}},
		"two modules of one name":                     {[]rules.Module{module(`deny contains "a"`), module(`deny contains "b"`)}, []string{"two modules team.rego"}},
		"modules that define a name as two things":    {[]rules.Module{module(`x(_) := 1`), {Name: "b.rego", Source: "package team.x\n\nx := 2\n\ndeny contains \"a\"\n"}}, []string{"rego line 3"}},
		"a module that is too large":                  {[]rules.Module{module(large)}, []string{"65536"}},
		"modules that are too large together":         {[]rules.Module{{"1", large}, {"2", large}, {"3", large}, {"4", large}, {"5", "x"}}, []string{"262144"}},
		"too many modules":                            {many, []string{"16"}},
		"no name":                                     {[]rules.Module{{Source: "package x"}}, []string{"name"}},
		"brackets without end":                        {[]rules.Module{module("deny contains " + strings.Repeat("[", 30000) + strings.Repeat("]", 30000))}, []string{"team.rego line 3"}},
		"a list that is nested in itself":             {[]rules.Module{module(doubling(`["aaaa"]`, `NEXT := [LAST, LAST]`))}, []string{"team.rego line 3", "nests"}},
		"an object that is nested in itself":          {[]rules.Module{module(doubling(`["aaaa"]`, `NEXT := {"a": LAST, "b": LAST}`))}, []string{"nests"}},
		"a list that is nested under another name":    {[]rules.Module{module(doubling(`["aaaa"]`, "y_NEXT := LAST\n\tNEXT := [y_NEXT, y_NEXT]"))}, []string{"nests"}},
		"a list that is nested by a pattern":          {[]rules.Module{module(doubling(`["aaaa"]`, `[NEXT, "a"] = [[LAST, LAST], "a"]`))}, []string{"nests"}},
		"a list that is nested in a function":         {[]rules.Module{module(strings.Replace(doubling(`["aaaa"]`, `NEXT := [LAST, LAST]`), "deny contains msg", "f(_) := msg", 1))}, []string{"nests"}},
		"a list that is nested in a comprehension":    {[]rules.Module{module("deny contains \"a\" if count([msg |" + strings.TrimSuffix(strings.TrimPrefix(doubling(`["aaaa"]`, `NEXT := [LAST, LAST]`), "deny contains msg if {"), "}\n") + "]) > 0")}, []string{"nests"}},
		"too many rules":                              {[]rules.Module{module(manyRules(rules.MaxRules + 1))}, []string{"101 rules", "100"}},
		"an error that would be a page of its source": {[]rules.Module{module(`deny_x contains "a" if ` + strings.Repeat("y", 5000) + "()")}, []string{"team.rego line 3"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := rules.Compile(tc.modules)
			terminal(t, err, pipeline.ReasonPolicyInvalid, append(tc.mention, "spec.dockerfilePolicy.extraRules"))
			if len(err.Error()) > 1200 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

func manyRules(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "deny_r%d contains \"x\"\n\n", i)
	}
	return s.String()
}

func terminal(t *testing.T, err error, reason string, mention []string) {
	t.Helper()
	got, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok || got.Reason != reason {
		t.Fatalf("got %v, want a Terminal with reason %s", err, reason)
	}
	for _, word := range mention {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not mention %q", err, word)
		}
	}
}

func TestRulesOfATeam(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want []rules.Finding
	}{
		"a string": {`deny contains "no"`, []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "no"}}},
		"an object with the place in the document": {
			`warn_user contains {"msg": "a user", "fix": "none", "index": i} if input[i].Cmd == "user"`,
			[]rules.Finding{{Rule: "team.x.warn_user", Severity: rules.Warn, Message: "a user", Fix: "none", Line: 3}},
		},
		"an object with a line":                {`violation_a contains {"msg": "m", "line": 7}`, []rules.Finding{{Rule: "team.x.violation_a", Severity: rules.Deny, Message: "m", Line: 7}}},
		"a rule that calls itself one of ours": {"deny_x contains {\"msg\": \"m\", \"rule\": \"deny_add\"}\n\ndeny_x contains \"m\"\n", []rules.Finding{{Rule: "team.x.deny_x", Severity: rules.Deny, Message: "m"}}},
		"a place that is not there":            {`deny contains {"msg": "m", "index": 99, "line": -1}`, []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "m"}}},
		"what the operator tells":              {`deny contains data.basewright.build_args.A`, []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "b"}}},
		"several bodies, the same finding twice": {
			"deny contains \"a\"\n\ndeny contains \"b\"\n\ndeny contains \"a\" if 1 > 0\n",
			[]rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "a"}, {Rule: "team.x.deny", Severity: rules.Deny, Message: "b"}},
		},
		"what our rules found": {`deny contains "none" if count(data.main.deny_add) == 0`, []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "none"}}},
		"control characters":   {`deny contains "a\u0000b\nc\u001b[31m"`, []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "a b c [31m"}}},
		"print does nothing":   {"deny contains \"a\" if {\n\tprint(input)\n}", []rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "a"}}},
		"nothing":              {`deny contains "a" if input[0].Cmd == "run"`, nil},
		"warnings come after all others": {
			"warn contains {\"msg\": \"w\", \"line\": 1}\n\ndeny contains {\"msg\": \"d\", \"line\": 9}\n",
			[]rules.Finding{{Rule: "team.x.deny", Severity: rules.Deny, Message: "d", Line: 9}, {Rule: "team.x.warn", Severity: rules.Warn, Message: "w", Line: 1}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input(t, good)
			in.BuildArgs = map[string]string{"A": "b"}
			got, err := compile(t, module(tc.body)).Evaluate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRulesOfATeamThatCantBeEvaluated(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body    string
		mention []string
	}{
		"a finding that is a number":             {`deny_x contains 1`, []string{"team.x.deny_x", "number"}},
		"a finding without msg":                  {`deny_x contains {"message": "a"}`, []string{"team.x.deny_x", "msg"}},
		"a finding whose msg is a list":          {`deny_x contains {"msg": ["a"]}`, []string{"team.x.deny_x", "msg"}},
		"a function that fails":                  {`deny_x contains to_number(input[0].Cmd)`, []string{"team.rego line 3", "to_number"}},
		"two values of one name":                 {"x := 1\n\nx := 2 if input[0].Cmd == \"from\"\n\ndeny_x contains \"a\" if x == 1\n", []string{"team.rego line", "conflict"}},
		"two outcomes of a function of one call": {"f(_) := 1\n\nf(y) := 2 if y == 3\n\ndeny_x contains \"a\" if f(3) == 1\n", []string{"team.rego line"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := compile(t, module(tc.body)).Evaluate(t.Context(), input(t, good))
			terminal(t, err, pipeline.ReasonPolicyInvalid, tc.mention)
		})
	}
}

// doubling nests or repeats a value in itself, line by line.
func doubling(first, next string) string {
	s := "deny contains msg if {\n\tx0 := " + first + "\n"
	for i := range 40 {
		s += "\t" + strings.ReplaceAll(strings.ReplaceAll(next, "NEXT", fmt.Sprint("x", i+1)), "LAST", fmt.Sprint("x", i)) + "\n"
	}
	return s + "\tmsg := sprintf(\"%v\", [x40])\n}\n"
}

func TestRulesThatTakeTooMuch(t *testing.T) {
	t.Parallel()
	nested := func(next, last string) string {
		s := "x0 := [\"a\"]\n\n"
		for i := range 40 {
			s += fmt.Sprintf(next, i+1, i, i) + "\n"
		}
		return s + last + "\n"
	}
	tests := map[string]string{
		"numbers without end":                    `deny contains "a" if count([1 | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); x == y]) > 5`,
		"a range that is too large":              `deny contains "a" if count(numbers.range(1, 100000000)) > 1`,
		"a range that is no machine number":      `deny contains "a" if count(numbers.range(1, 1e30)) > 1`,
		"a string that is joined with itself":    doubling(`"aaaa"`, `NEXT := concat("", [LAST, LAST])`),
		"a string in a string":                   doubling(`"aaaa"`, `NEXT := replace("aaaaaaaaaa", "a", LAST)`),
		"several strings in a string":            doubling(`"aaaa"`, `NEXT := strings.replace_n({"a": LAST}, "aaaaaaaaa")`),
		"a string in place of a pattern":         doubling(`"aaaa"`, `NEXT := regex.replace("aaaaaaaaaa", "a", LAST)`),
		"a pattern that repeats what it matches": doubling(`"aaaa"`, `NEXT := regex.replace(LAST, ".*", "$0$0")`),
		"a string that is printed into itself":   doubling(`"aaaa"`, `NEXT := sprintf("%v%v", [LAST, LAST])`),
		"a template":                             doubling(`"aaaa"`, `NEXT := $"{LAST}{LAST}"`),
		"rules that nest each other":             nested("x%d := [x%d, x%d]\n", "deny contains sprintf(\"%v\", [x40])"),
		"functions that nest their argument":     nested("f%d(x) := g(f%d(x), f%d(x))\n", "f0(x) := x\n\ng(x, y) := [x, y]\n\ndeny contains json.marshal(f40(\"a\"))"),
		"a list that is joined with itself":      doubling(`["aaaa"]`, `NEXT := array.concat(LAST, LAST)`),
		"a number that is squared":               doubling(`12345678901234567890`, `NEXT := LAST * LAST`),
		"a number with a million digits":         `deny contains sprintf("%0999999d", [1])`,
		"a width that comes from a list":         `deny contains sprintf("%0*d", [999999, 1])`,
		"large values one after the other":       `deny contains sprintf("%d%s", [i, large]) if some i in numbers.range(1, 2000)` + "\n\nlarge := concat(\"\", [format_int(n, 10) | some n in numbers.range(1, 10000)])\n",
		"findings without end":                   `deny contains sprintf("%d %d", [x, y]) if { some x in numbers.range(1, 3000); some y in numbers.range(1, 3000) }`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The clock of a slow machine is not what is tested here.
			p := compile(t, module(body)).WithBudget(rules.Budget{Time: 5 * time.Minute, Steps: 500_000, Size: 32 << 20})
			_, err := p.Evaluate(t.Context(), input(t, good))
			terminal(t, err, pipeline.ReasonPolicyBudgetExceeded, nil)
			if strings.Contains(err.Error(), "longer than") {
				t.Errorf("only the clock ended it: %v", err)
			}
		})
	}
}

func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	body := `deny contains "a" if count([1 | some x in numbers.range(1, 9000); some y in numbers.range(1, 9000); x == y]) > 5`
	slow := compile(t, module(body)).WithBudget(rules.Budget{Time: 20 * time.Millisecond, Steps: 1 << 40, Size: 1 << 40})
	_, err := slow.Evaluate(t.Context(), input(t, good))
	terminal(t, err, pipeline.ReasonPolicyBudgetExceeded, []string{"20ms"})
}

func TestTheEndOfTheContextIsNoVerdict(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := `deny contains "a" if count([1 | some x in numbers.range(1, 9000); some y in numbers.range(1, 9000); x == y]) > 5`
	findings, err := compile(t, module(body)).Evaluate(ctx, input(t, good))
	if !errors.Is(err, context.Canceled) || pipeline.IsTerminal(err) || findings != nil {
		t.Errorf("got %v, %v", findings, err)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	p := compile(t, module("deny_many contains sprintf(\"%04d\", [i]) if some i in numbers.range(1, 1000)\n\nwarn_one contains concat(\"\", [\"é\" | some _ in numbers.range(1, 1000)])\n"))
	findings, err := p.Evaluate(t.Context(), input(t, strings.Repeat("FROM example.com/x:1\nADD a b\n", 50)+"RUN apk add x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(findings) > rules.MaxFindings {
		t.Errorf("there are %d findings", len(findings))
	}
	count := map[string]int{}
	for _, f := range findings {
		count[f.Rule]++
		if len(f.Message) > 512 || strings.ContainsRune(f.Message, '�') {
			t.Errorf("a message has %d bytes: %q", len(f.Message), f.Message)
		}
	}
	for _, rule := range []string{"team.x.deny_many", "team.x.warn_one", "deny_add", "deny_user_required", "warn_apk_no_cache"} {
		if count[rule] == 0 {
			t.Errorf("nothing is left of %s: %v", rule, count)
		}
	}
	if !strings.Contains(fmt.Sprint(findings), "more)") {
		t.Error("nothing says that there are more")
	}
}

func TestADocumentThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]any{"nothing": nil, "an empty list": []any{}, "another thing": map[string]any{"a": 1.0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings, err := compile(t).Evaluate(t.Context(), rules.Input{Document: document})
			if err == nil && len(rules.Judge(findings, nil, rules.Deny, time.Time{}).Refused) == 0 {
				t.Error("it passes")
			}
		})
	}
}
