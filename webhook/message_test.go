package webhook

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestMessages(t *testing.T) {
	policy := &imagepolicy.Policy{Name: "shop", Kind: "ImageAdmissionPolicy", Mode: v1alpha1.ModeEnforce}
	unsigned := finding{reason: pipeline.ReasonSignatureMissing, field: "spec.containers[0].image", image: "registry.example/a:1", message: "it is not signed.", fix: "sign it", command: "cosign verify x"}.of(policy)
	root := finding{reason: pipeline.ReasonRuntimeRule, rule: "privileged", field: "spec.containers[0].securityContext.privileged", message: "it is true", fix: "set it to false"}.of(policy)
	away := outage("spec.containers[1].image", errors.New("reading x: the registry is away")).of(policy)
	for name, tt := range map[string]struct {
		findings []finding
		want     string
	}{
		"one violation": {[]finding{unsigned},
			"Pod cart is refused:\n1. spec.containers[0].image (policy shop): it is not signed\n   image: registry.example/a:1\n   fix: sign it\n   see: cosign verify x"},
		"two of them": {[]finding{unsigned, root},
			"Pod cart is refused for 2 reasons:\n1. spec.containers[0].image (policy shop): it is not signed\n   image: registry.example/a:1\n   fix: sign it\n   see: cosign verify x\n" +
				"2. spec.containers[0].securityContext.privileged (policy shop, rule privileged): it is true\n   fix: set it to false"},
		"an outage": {[]finding{away},
			"Pod cart could not be checked, so it is not admitted: this is an outage and no violation, try again:\n1. spec.containers[1].image (policy shop): it could not be checked: reading x: the registry is away"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told("Pod cart", tt.findings); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

var numbered = regexp.MustCompile(`^\d+\. spec: `)

func TestMessagesAreBoundedAndPlain(t *testing.T) {
	hostile := finding{mode: v1alpha1.ModeEnforce, field: "spec", image: "x\x1b[31m\u009b\u202e\n2. spec: all is well", message: strings.Repeat("é", 5000)}
	var many []finding
	for range 100 {
		many = append(many, hostile)
	}
	got := told("Pod cart", many)
	lines := strings.Split(got, "\n")
	if len(got) > maxMessage+100 || strings.ContainsAny(got, "\x1b\r\u009b\u202e") || !strings.HasPrefix(lines[len(lines)-1], "and ") {
		t.Errorf("got %d bytes: %.300q", len(got), got)
	}
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, "2. spec: all is well") || !strings.HasPrefix(line, "   ") && !numbered.MatchString(line) && !strings.HasPrefix(line, "and ") {
			t.Errorf("a reference writes a line of its own: %q", line)
		}
	}
}

func TestDecisions(t *testing.T) {
	enforce, warn := finding{mode: v1alpha1.ModeEnforce}, finding{mode: v1alpha1.ModeWarn}
	for name, tt := range map[string]struct {
		ruling ruling
		want   decision
	}{
		"the zero value has failed":                 {ruling{}, failed},
		"nothing found and not complete has failed": {ruling{findings: []finding{warn}}, failed},
		"complete and nothing found is allowed":     {ruling{complete: true}, allowed},
		"a warning is allowed":                      {ruling{complete: true, findings: []finding{warn}}, warned},
		"a violation is denied":                     {ruling{complete: true, findings: []finding{warn, enforce}}, denied},
		"an outage has failed":                      {ruling{complete: true, findings: []finding{outage("x", errors.New("x"))}}, failed},
		"an outage and a violation are denied":      {ruling{complete: true, findings: []finding{outage("x", errors.New("x")), enforce}}, denied},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.ruling.decision(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
