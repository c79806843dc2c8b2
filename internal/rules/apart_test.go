package rules

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// serveArgument has this test binary be the process that evaluates rules.
const serveArgument = "serve-rules"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveArgument {
		run := Serve
		if raceDetector {
			run = func(in io.Reader, out io.Writer) error { return errors.Join(confine(1<<62), serve(in, out)) }
		}
		if err := run(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func apart(t *testing.T) *Apart {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return NewApart(self, serveArgument)
}

func task(t *testing.T, modules ...Module) Task {
	t.Helper()
	document, lines, err := dockerfile.Document([]byte("FROM scratch\nADD x /\n"))
	if err != nil {
		t.Fatal(err)
	}
	return Task{Modules: modules, Inputs: []Input{{Document: document, Lines: lines, BuildArgs: map[string]string{"A": "1"}}}}
}

// What another process says is what this one would say.
func TestApartIsLikeHere(t *testing.T) {
	for name, modules := range map[string][]Module{
		"no rules of a team": nil,
		"a rule of a team":   {{Name: "a.rego", Source: "package team\n\ndeny_x contains {\"msg\": \"no\", \"line\": 2} if input[1].Cmd == \"add\"\n"}},
		"one that is wrong":  {{Name: "a.rego", Source: "package team\n\ndeny_x contains y\n"}},
		"one that fails":     {{Name: "a.rego", Source: "package team\n\ndeny_x contains \"no\" if to_number(\"x\") == 1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			want, wanted := UnsafeHere{}.Evaluate(t.Context(), task(t, modules...))
			got, err := apart(t).Evaluate(t.Context(), task(t, modules...))
			if fmt.Sprint(got, err) != fmt.Sprint(want, wanted) {
				t.Errorf("got  %+v, %v\nwant %+v, %v", got, err, want, wanted)
			}
			terminal, ok := errors.AsType[*pipeline.Terminal](err)
			if here, is := errors.AsType[*pipeline.Terminal](wanted); ok != is || ok && terminal.Reason != here.Reason {
				t.Errorf("the faults are %v and %v", err, wanted)
			}
			if wanted == nil && len(got.Findings) == 0 {
				t.Error("nothing was found: the test shows nothing")
			}
		})
	}
}

// Rules that would end, or keep, the operator end a process that nobody misses.
func TestRulesCantHarmTheOperator(t *testing.T) {
	read := func(name string) string {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	pattern := "package team\n\np := `" + strings.Repeat("x{1000}", 3000) + "`\n\ndeny_x contains \"a\" if {\n\tsome i in numbers.range(1, 100)\n\tregex.match(sprintf(\"%s%d\", [p, i]), \"x\")\n}\n"
	for name, source := range map[string]string{
		"values at whose comparison the stack overflows": read("stack.rego"),
		"types at which the compiler does not end":       read("types.rego"),
		"patterns that fill the memory":                  pattern,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if raceDetector && source == pattern {
				t.Skip("the race detector has no limit of memory: run without -race")
			}
			a := apart(t)
			_, err := a.Evaluate(t.Context(), task(t, Module{Name: "bomb.rego", Source: source}))
			terminal, ok := errors.AsType[*pipeline.Terminal](err)
			if !ok || terminal.Reason != pipeline.ReasonPolicyBudgetExceeded {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
			if len(a.slots) != 0 {
				t.Error("its slot is not given back")
			}
		})
	}
}

func TestAProcessThatIsNoneIsNoVerdict(t *testing.T) {
	module := Module{Name: "a.rego", Source: "package team\n\nwarn_x contains \"a\"\n"}
	for name, command := range map[string][]string{"it is not there": {"/nonexistent"}, "it says nothing": {"/bin/true"}, "it has judged nothing": {"/bin/echo", "{}"}, "it fails": {"/bin/false"}} {
		if answer, err := NewApart(command...).Evaluate(t.Context(), task(t, module)); err == nil {
			t.Errorf("%s: got %+v", name, answer)
		}
	}
}
