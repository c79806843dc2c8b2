package admission

import (
	"os"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
)

func TestGuardsForbid(t *testing.T) {
	guards, err := Guards()
	if err != nil {
		t.Fatal(err)
	}
	if len(guards) != 4 {
		t.Errorf("there are %d guards, want 4", len(guards))
	}
	for _, g := range guards {
		spec, binding := g.Policy.Spec, g.Binding.Spec
		if *spec.FailurePolicy != admissionv1.Fail || spec.ParamKind != nil {
			t.Errorf("%s lets pass what it can't judge", g.Policy.Name)
		}
		if binding.PolicyName != g.Policy.Name || g.Binding.Name != g.Policy.Name || binding.MatchResources != nil || !slices.Contains(binding.ValidationActions, admissionv1.Deny) {
			t.Errorf("%s is not in force everywhere: %+v", g.Policy.Name, binding)
		}
		for _, v := range spec.Validations {
			if v.Message == "" || v.Reason == nil || *v.Reason != "Forbidden" {
				t.Errorf("%s refuses without a message, or for another reason: %s", g.Policy.Name, v.Expression)
			}
		}
	}
}

// A file that is installed and not compared, or the other way round, would go unnoticed.
func TestEveryPolicyIsInstalled(t *testing.T) {
	raw, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(raw), "resources:\n")
	listed := strings.Fields(strings.ReplaceAll(list, "- ", ""))
	embedded := []string{"roles.yaml"}
	entries, err := files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		embedded = append(embedded, e.Name())
	}
	slices.Sort(listed)
	slices.Sort(embedded)
	if !slices.Equal(listed, embedded) {
		t.Errorf("installed are %v, embedded with the roles %v", listed, embedded)
	}
}
