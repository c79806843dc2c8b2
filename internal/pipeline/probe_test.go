package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseProbeReport(t *testing.T) {
	check := func(name, outcome, message string) string {
		return fmt.Sprintf(`{"name":%q,"outcome":%q,"message":%q}`, name, outcome, message)
	}
	report := func(checks ...string) string { return `{"checks":[` + strings.Join(checks, ",") + `]}` }
	many := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, check(fmt.Sprint("c", i), "Passed", ""))
		}
		return report(all...)
	}
	of := func(name string, outcome ProbeOutcome, message string) *ProbeReport {
		return &ProbeReport{Checks: []ProbeCheck{{Name: name, Outcome: outcome, Message: message}}}
	}
	tests := map[string]struct {
		message string
		want    *ProbeReport // nil: refused
	}{
		"a check that passed":            {report(check("user", "Passed", "UID 1")), of("user", ProbePassed, "UID 1")},
		"one that failed":                {report(check("no-shell", "Failed", "sh")), of("no-shell", ProbeFailed, "sh")},
		"one of what is not there":       {report(check("ca-bundle", "Absent", "")), of("ca-bundle", ProbeAbsent, "")},
		"a field of a later version":     {`{"later":1,"checks":[{"name":"a","outcome":"Passed"}]}`, of("a", ProbePassed, "")},
		"a name with digits":             {report(check("check-2", "Passed", "")), of("check-2", ProbePassed, "")},
		"a name of 64 characters":        {report(check(strings.Repeat("a", 64), "Passed", "")), of(strings.Repeat("a", 64), ProbePassed, "")},
		"a long message is cut":          {report(check("a", "Failed", strings.Repeat("m", 441))), of("a", ProbeFailed, strings.Repeat("m", 437)+"…")},
		"a message of 440 bytes is not":  {report(check("a", "Failed", strings.Repeat("m", 440))), of("a", ProbeFailed, strings.Repeat("m", 440))},
		"no character is cut":            {report(check("a", "Failed", strings.Repeat("é", 300))), of("a", ProbeFailed, strings.Repeat("é", 218)+"…")},
		"no checks":                      {report(), nil},
		"nothing":                        {"{}", nil},
		"no message":                     {"", nil},
		"a log":                          {"probe: no uid", nil},
		"half a report":                  {`{"checks":[{"name":"a"`, nil},
		"two reports":                    {many(1) + many(1), nil},
		"more than 4096 bytes":           {many(1) + strings.Repeat(" ", 4096), nil},
		"more checks than there are":     {many(33), nil},
		"a check twice":                  {report(check("user", "Failed", ""), check("user", "Passed", "")), nil},
		"an outcome that is none":        {report(check("user", "Skipped", "")), nil},
		"an outcome in lower case":       {report(check("user", "passed", "")), nil},
		"no outcome":                     {`{"checks":[{"name":"user"}]}`, nil},
		"no name":                        {report(check("", "Passed", "")), nil},
		"a name in camel case":           {report(check("noShell", "Passed", "")), nil},
		"a name that is a sentence":      {report(check("no shell", "Passed", "")), nil},
		"a name on two lines":            {report(check("user\n", "Passed", "")), nil},
		"a name that ends in a hyphen":   {report(check("user-", "Passed", "")), nil},
		"a name of 65 characters":        {report(check(strings.Repeat("a", 65), "Passed", "")), nil},
		"checks that are another type":   {`{"checks":{"user":"Passed"}}`, nil},
		"a check that is another type":   {`{"checks":["user"]}`, nil},
		"an outcome that is no string":   {`{"checks":[{"name":"user","outcome":true}]}`, nil},
		"a message that is another type": {`{"checks":[{"name":"user","outcome":"Passed","message":1}]}`, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got, err := ParseProbeReport(tt.message)
			if tt.want == nil {
				if err == nil || !cmp.Equal(got, ProbeReport{}) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(*tt.want, got); diff != "" || err != nil {
				t.Fatalf("%v %s", err, diff)
			}
			if m := got.Checks[0].Message; !utf8.ValidString(m) {
				t.Errorf("%q is no text", m)
			}
		})
	}
}
