package probe

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// everything is a report on all checks.
func everything(outcome Outcome, message string) Report {
	var r Report
	for _, name := range (Options{Command: []string{"x"}}).Names() {
		r.Checks = append(r.Checks, Check{Name: name, Outcome: outcome, Message: message})
	}
	return r
}

func TestReportsFitAndAreUnderstood(t *testing.T) {
	tests := map[string]string{
		"no message":              "",
		"a short one":             "UID 65532",
		"long ones":               strings.Repeat("m", 5000),
		"ones that JSON escapes":  strings.Repeat(`"\`, 3000),
		"ones of many characters": strings.Repeat("é…", 3000),
		"bytes that are no text":  strings.Repeat("\xff\xfe", 3000),
		"control characters":      strings.Repeat("\x00\x1b[31m\n\t", 3000),
		"characters of HTML":      strings.Repeat("<&>", 3000),
		"line separators":         strings.Repeat("a\u2028", 3000),
	}
	for desc, message := range tests {
		t.Run(desc, func(t *testing.T) {
			r := everything(Failed, message)
			raw, err := r.Encode()
			must(t, err)
			if len(raw) > 4096 || !utf8.Valid(raw) {
				t.Errorf("%d bytes", len(raw))
			}
			got, err := pipeline.ParseProbeReport(string(raw))
			must(t, err)
			if len(got.Checks) != len(r.Checks) {
				t.Fatalf("got %d checks, want %d", len(got.Checks), len(r.Checks))
			}
			for i, c := range got.Checks {
				if c.Name != r.Checks[i].Name || c.Outcome != pipeline.ProbeFailed || strings.ContainsAny(c.Message, "\n\x00") {
					t.Errorf("got %+v", c)
				}
				if message != "" && c.Message == "" {
					t.Errorf("%s says nothing any more", c.Name)
				}
			}
		})
	}
}

func TestReportsAreWhatTheOperatorReads(t *testing.T) {
	r := Report{Checks: []Check{{"user", Passed, "UID 1"}, {"no-shell", Failed, "sh <1>"}, {"ca-bundle", Absent, ""}}}
	raw, err := r.Encode()
	must(t, err)
	var got pipeline.ProbeReport
	must(t, json.Unmarshal(raw, &got))
	want := pipeline.ProbeReport{Checks: []pipeline.ProbeCheck{
		{Name: "user", Outcome: pipeline.ProbePassed, Message: "UID 1"},
		{Name: "no-shell", Outcome: pipeline.ProbeFailed, Message: "sh <1>"},
		{Name: "ca-bundle", Outcome: pipeline.ProbeAbsent},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if maxReport != pipeline.MaxReport {
		t.Errorf("at most %d bytes are read", pipeline.MaxReport)
	}
}

func TestNamesFollowTheOptions(t *testing.T) {
	always := []string{CheckUser, CheckCapabilities, CheckNoNewPrivileges, CheckSeccomp, CheckReadOnlyRoot, CheckNoToken, CheckCABundle, CheckTimeZones}
	for desc, tt := range map[string]struct {
		options Options
		more    []string
	}{
		"the default":              {Options{}, []string{CheckNoShell, CheckNoPackageManager}},
		"shells are allowed":       {Options{AllowShells: true}, []string{CheckNoPackageManager}},
		"managers are allowed":     {Options{AllowPackageManagers: true}, []string{CheckNoShell}},
		"a command, which is last": {Options{Command: []string{"x"}}, []string{CheckNoShell, CheckNoPackageManager, CheckCommand}},
	} {
		if diff := cmp.Diff(slices.Concat(always, tt.more), tt.options.Names()); diff != "" {
			t.Errorf("%s: %s", desc, diff)
		}
	}
}

func TestRunReportsOnEveryName(t *testing.T) {
	m := machine(t, nil, nil)
	m.Proc = t.TempDir()
	files{"status": good, "mountinfo": mountInfo}.write(t, m.Proc)
	o := Options{UID: 65532, GID: 65532, Command: []string{"missing"}}
	r, err := m.Run(t.Context(), o)
	must(t, err)
	got := map[string]Outcome{}
	var names []string
	for _, c := range r.Checks {
		names = append(names, c.Name)
		got[c.Name] = c.Outcome
	}
	if diff := cmp.Diff(o.Names(), names); diff != "" {
		t.Error(diff)
	}
	want := map[string]Outcome{CheckUser: Passed, CheckCapabilities: Passed, CheckNoNewPrivileges: Passed, CheckSeccomp: Passed, CheckReadOnlyRoot: Passed, CheckNoToken: Passed,
		CheckCABundle: Absent, CheckTimeZones: Absent, CheckNoShell: Passed, CheckNoPackageManager: Passed, CheckCommand: Failed}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
