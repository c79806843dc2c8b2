package rules_test

import (
	"testing"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	corpus "github.com/ibshafique/base-images/test/policy"
)

// FuzzEvaluate checks that every Dockerfile that can be read has a verdict or is too much, and that one without USER
// never passes.
func FuzzEvaluate(f *testing.F) {
	cases, err := corpus.Corpus("../..")
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.Content, "UID", c.Data.BuildArgs["UID"], c.Data.Target)
	}
	p := compile(f)
	f.Fuzz(func(t *testing.T, content []byte, name, value, target string) {
		document, lines, err := dockerfile.Document(content)
		if err != nil {
			if !pipeline.IsTerminal(err) {
				t.Fatalf("%v is not terminal", err)
			}
			return
		}
		in := rules.Input{Document: document, Lines: lines, BuildArgs: map[string]string{name: value}, Target: target}
		findings, err := p.Evaluate(t.Context(), in)
		if err != nil {
			if !pipeline.IsTerminal(err) {
				t.Fatalf("%v is not terminal", err)
			}
			return
		}
		users := 0
		for _, i := range document {
			if cmd := i.(map[string]any); cmd["Cmd"] == "user" || cmd["Cmd"] == "onbuild" {
				users++
			}
		}
		if users == 0 && len(findings) == 0 {
			t.Fatal("a Dockerfile without USER passes")
		}
		for _, finding := range findings {
			if finding.Message == "" || finding.Line < 0 {
				t.Fatalf("%+v", finding)
			}
		}
	})
}
