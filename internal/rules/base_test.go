package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/rules"
	corpus "github.com/ibshafique/base-images/test/policy"
)

func compile(t testing.TB, extra ...rules.Module) *rules.Policy {
	t.Helper()
	p, err := rules.Compile(extra)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func input(t testing.TB, content string) rules.Input {
	t.Helper()
	document, lines, err := dockerfile.Document([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return rules.Input{Document: document, Lines: lines}
}

func TestEveryFileOfTheCorpusHasTheFindingsThatItExpects(t *testing.T) {
	t.Parallel()
	cases, err := corpus.Corpus("../..")
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			in := input(t, string(c.Content))
			in.BuildArgs, in.Target = c.Data.BuildArgs, c.Data.Target
			findings, err := p.Evaluate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, fmt.Sprintf("%s:%d", f.Rule, f.Line))
				if warning := strings.HasPrefix(f.Rule, "warn_"); warning != (f.Severity == rules.Warn) {
					t.Errorf("%s is a %s", f.Rule, f.Severity)
				}
				if f.Fix == "" || !strings.Contains(f.Message, f.Fix) {
					t.Errorf("%q does not say how to fix it: %q", f.Message, f.Fix)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.Expect, got); diff != "" {
				t.Errorf("(-expected +found)\n%s%v", diff, findings)
			}
		})
	}
}

func TestTheSevenRulesAreThere(t *testing.T) {
	t.Parallel()
	want := []string{
		"deny_add", "deny_labels_required", "deny_user_required", "deny_user_root",
		"warn_apk_no_cache", "warn_apt_get_cleanup", "warn_from_latest",
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(compile(t).Rules()))); diff != "" {
		t.Error(diff)
	}
}
