package rules_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/internal/rules"
)

func runtimePage(t *testing.T) (page string, examples []string) {
	t.Helper()
	content, err := os.ReadFile("../../docs/runtime-rules.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```rego\n(.*?)```").FindAllStringSubmatch(string(content), -1) {
		examples = append(examples, m[1])
	}
	if len(examples) != 2 {
		t.Fatalf("there are %d examples", len(examples))
	}
	return string(content), examples
}

func TestThePageOfRuntimeRulesHasEveryRuleOnce(t *testing.T) {
	t.Parallel()
	page, _ := runtimePage(t)
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| [^|]+ \\| [^|]+ \\| [^|]+ \\|$").FindAllStringSubmatch(page, -1) {
		named = append(named, m[1])
	}
	slices.Sort(named)
	if diff := cmp.Diff(compilePods(t).Rules(), named); diff != "" {
		t.Errorf("(-rules +page)\n%s", diff)
	}
}

func TestTheExamplesOfThePageOfRuntimeRulesWork(t *testing.T) {
	t.Parallel()
	_, examples := runtimePage(t)
	q := question(1)
	q.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "a"}, {Name: "DB_PASSWORD", Value: "a"}, {Name: "PASSWORD"}}
	found, err := compilePods(t, rules.Module{Name: "owners.rego", Source: examples[0]}).Evaluate(t.Context(), q)
	if err != nil || strings.Join(places(found), "\n") != "team.owners.deny_owner metadata.labels.team\nteam.owners.deny_password spec.containers[0].env[1].value" {
		t.Errorf("found %v, %v", found, err)
	}
	s := statement(t, examples[1])
	for content, want := range map[string][]string{
		provenance: nil,
		strings.ReplaceAll(provenance, "/builder", "/other"): {"it was built by https://example.com/other"},
		`{}`: {"nobody says who built it"},
	} {
		got, err := s.Evaluate(t.Context(), []byte(content))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
}
