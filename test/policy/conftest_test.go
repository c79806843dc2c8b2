//go:build conftest

package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/rules"
)

const root = "../.."

// finding is what both can say of a finding. Conftest has no lines: index is the place in its document, and the operator
// turns that into a line.
type finding struct {
	Rule    string
	Warning bool
	Line    int
	Message string
}

type result struct {
	Message  string `json:"msg"`
	Metadata struct {
		Rule, Query string
		Index       int
	}
}

// check is what conftest says of one file.
type check struct {
	Filename           string
	Failures, Warnings []result
}

// conftest runs stock conftest. It ends with an error if it has findings, which is not one for us.
func conftest(t *testing.T, args ...string) []check {
	t.Helper()
	program := os.Getenv("CONFTEST")
	if program == "" {
		t.Fatal("CONFTEST is not set: run make policy")
	}
	cmd := exec.Command(program, append([]string{"test", "--no-color", "--strict", "--show-builtin-errors", "-o", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || failed.ExitCode() != 1) {
		t.Fatalf("conftest: %v\n%s", err, stderr.String())
	}
	var checks []check
	if err := json.Unmarshal(out, &checks); err != nil {
		t.Fatalf("reading what conftest says: %v\n%s%s", err, out, stderr.String())
	}
	return checks
}

func TestConftestAndTheOperatorFindTheSame(t *testing.T) {
	p, err := rules.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := Corpus(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 40 {
		t.Fatalf("the corpus has %d files", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			document, lines, err := dockerfile.Document(c.Content)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Evaluate(t.Context(), rules.Input{Document: document, Lines: lines, BuildArgs: c.Data.BuildArgs, Target: c.Data.Target})
			if err != nil {
				t.Fatal(err)
			}
			theirs, ours := found(t, c, lines), operator(got)
			if diff := gocmp.Diff(theirs, ours); diff != "" {
				t.Errorf("(-conftest +operator)\n%s", diff)
			}
			var short []string
			for _, f := range theirs {
				short = append(short, fmt.Sprintf("%s:%d", f.Rule, f.Line))
			}
			slices.Sort(short)
			if diff := gocmp.Diff(c.Expect, short); diff != "" {
				t.Errorf("(-expected +conftest)\n%s", diff)
			}
		})
	}
}

// found is what conftest finds in a file.
func found(t *testing.T, c Case, lines []int) []finding {
	args := []string{c.Path, "-p", filepath.Join(root, "policy/base.rego")}
	if c.Data.Target != "" || c.Data.BuildArgs != nil {
		args = append(args, "-d", dataFile(t, c.Data))
	}
	var all []finding
	for _, checked := range conftest(t, args...) {
		for i, r := range slices.Concat(checked.Failures, checked.Warnings) {
			f := finding{Rule: r.Metadata.Rule, Warning: i >= len(checked.Failures), Message: r.Message}
			if r.Metadata.Query != "data.main."+f.Rule {
				t.Errorf("the rule %s calls itself %s", r.Metadata.Query, f.Rule)
			}
			if r.Metadata.Index >= 0 {
				f.Line = lines[r.Metadata.Index]
			}
			all = append(all, f)
		}
	}
	return sorted(all)
}

// dataFile is what conftest is told with -d.
func dataFile(t *testing.T, d Data) string {
	content, err := json.Marshal(map[string]Data{"basewright": d})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func operator(findings []rules.Finding) []finding {
	var all []finding
	for _, f := range findings {
		all = append(all, finding{Rule: f.Rule, Warning: f.Severity == rules.Warn, Line: f.Line, Message: f.Message})
	}
	return sorted(all)
}

func sorted(all []finding) []finding {
	slices.SortFunc(all, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	return all
}

const dump = "package main\n\nwarn contains json.marshal(input)\n"

func TestTheDocumentIsThatOfConftest(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "dump.rego")
	if err := os.WriteFile(policy, []byte(dump), 0o644); err != nil {
		t.Fatal(err)
	}
	cases, err := Corpus(root)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-p", policy}
	for _, c := range cases {
		args = append(args, c.Path)
	}
	theirs := map[string]string{}
	for _, checked := range conftest(t, args...) {
		theirs[checked.Filename] = checked.Warnings[0].Message
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			document, _, err := dockerfile.Document(c.Content)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(decoded(t, theirs[c.Path]), decoded(t, string(ours))); diff != "" {
				t.Errorf("(-conftest +operator)\n%s", diff)
			}
		})
	}
}

func decoded(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
