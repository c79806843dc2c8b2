package imagepolicy

import (
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/rules"
)

const compliant = `package sigstore
default isCompliant = false
isCompliant {
	input.predicateType == "https://a.example/b"
	input.predicate.ok == true
}
`

func TestIsCompliantIsJudgedAsByPolicyController(t *testing.T) {
	const newer = "package sigstore\n\nisCompliant if input.predicate.ok == true\n"
	tests := map[string]struct {
		source, statement string
		good              bool
	}{
		"true, in the older language": {compliant, `{"predicateType":"https://a.example/b","predicate":{"ok":true}}`, true},
		"false":                       {compliant, `{"predicateType":"https://a.example/b","predicate":{"ok":false}}`, false},
		"half of it":                  {compliant, `{"predicateType":"https://a.example/c","predicate":{"ok":true}}`, false},
		"true, in the newer language": {newer, `{"predicate":{"ok":true}}`, true},
		"nothing":                     {newer, `{"predicate":{}}`, false},
		"true by function":            {"package sigstore\nok(x) { x == 1 }\nisCompliant { ok(input.predicate.n) }", `{"predicate":{"n":1}}`, true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			source, err := compliance(tt.source)
			if err != nil {
				t.Fatal(err)
			}
			compiled, err := rules.CompileStatement(source)
			if err != nil {
				t.Fatalf("%v in\n%s", err, source)
			}
			found, err := compiled.Evaluate(t.Context(), []byte(tt.statement))
			if err != nil || (len(found) == 0) != tt.good {
				t.Errorf("got %q (%v)", found, err)
			}
		})
	}
}

func TestModulesThatPolicyControllerHasAndWeDoNot(t *testing.T) {
	for desc, tt := range map[string]struct{ source, says string }{
		"no module":        {"x", "no module of Rego"},
		"another package":  {"package other\nisCompliant { true }", "write package sigstore"},
		"no rule":          {"package sigstore\nallow { true }", "no rule isCompliant"},
		"a set":            {"package sigstore\nisCompliant[response] { response := {\"result\": true} }", "sets of results"},
		"a function":       {"package sigstore\nisCompliant(x) { x }", "not true or false"},
		"too much":         {"package sigstore\n" + strings.Repeat("#", maxCompliance), "bytes"},
		"too deep nesting": {"package sigstore\nisCompliant { x := " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + " }", "no module of Rego"},
	} {
		if got, err := compliance(tt.source); err == nil || got != "" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %q (%v)", desc, got, err)
		}
	}
}
