package rules_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/rules"
)

func TestThePageHasEveryRuleAndAnExampleThatWorks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/dockerfile-policy.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```rego\n(.*?)```").FindSubmatch(page)
	if example == nil {
		t.Fatal("the page has no example")
	}
	p := compile(t, rules.Module{Name: "registries.rego", Source: string(example[1])})
	for _, name := range p.Rules() {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page does not have %s", name)
		}
	}
	findings, err := p.Evaluate(t.Context(), input(t, strings.Replace(good, "FROM", "FROM scratch AS x\nFROM registry.example.com/a:1\nFROM x\nFROM", 1)))
	if err != nil {
		t.Fatal(err)
	}
	fix := "use the copy in registry.example.com"
	want := []rules.Finding{{
		Rule: "team.registries.deny_foreign", Severity: rules.Deny, Line: 4, Fix: fix,
		Message: "FROM example.com/base:1 is not from our registry; " + fix + ".",
	}}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Error(diff)
	}
}
