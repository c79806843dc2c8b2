package runtimetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/probe"
)

var always = []string{"user", "capabilities", "no-new-privileges", "seccomp", "read-only-root", "no-token", "ca-bundle", "time-zones"}

// reported is a report on what the default asks for, with changes: an empty outcome leaves a check out.
func reported(changes map[string]pipeline.ProbeCheck) pipeline.ProbeReport {
	var r pipeline.ProbeReport
	for _, name := range slices.Concat(always, []string{"no-shell", "no-package-manager"}) {
		c := pipeline.ProbeCheck{Name: name, Outcome: pipeline.ProbePassed, Message: "fine"}
		if change, ok := changes[name]; ok {
			c.Outcome, c.Message = change.Outcome, change.Message
		}
		if c.Outcome != "" {
			r.Checks = append(r.Checks, c)
		}
	}
	return r
}

func TestResults(t *testing.T) {
	type changes = map[string]pipeline.ProbeCheck
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Concat(always, []string{"no-shell", "no-package-manager"}), func(n string) bool { return slices.Contains(names, n) })
	}
	const missing = ": the probe did not report on it: use a worker image of the operator's version"
	tests := map[string]struct {
		report pipeline.ProbeReport
		tests  v1alpha1.TestPolicy
		passed []string
		failed []string
	}{
		"all passed": {reported(nil), v1alpha1.TestPolicy{}, without(), nil},
		"what need not be there is not, and counts for nothing": {reported(changes{"ca-bundle": {Outcome: pipeline.ProbeAbsent}, "time-zones": {Outcome: pipeline.ProbeAbsent}}),
			v1alpha1.TestPolicy{}, without("ca-bundle", "time-zones"), nil},
		"what must be there is not":         {reported(changes{"user": {Outcome: pipeline.ProbeAbsent}}), v1alpha1.TestPolicy{}, without("user"), []string{"user: the probe says Absent and not why"}},
		"one failed":                        {reported(changes{"no-shell": {Outcome: pipeline.ProbeFailed, Message: "/bin/sh"}}), v1alpha1.TestPolicy{}, without("no-shell"), []string{"no-shell: /bin/sh"}},
		"one is missing":                    {reported(changes{"seccomp": {}}), v1alpha1.TestPolicy{}, without("seccomp"), []string{"seccomp" + missing}},
		"one that may be absent is missing": {reported(changes{"ca-bundle": {}}), v1alpha1.TestPolicy{}, without("ca-bundle"), []string{"ca-bundle" + missing}},
		"all are missing": {pipeline.ProbeReport{}, v1alpha1.TestPolicy{Shells: v1alpha1.Allow, PackageManagers: v1alpha1.Allow}, nil,
			[]string{"user" + missing, "capabilities" + missing, "no-new-privileges" + missing, "seccomp" + missing, "read-only-root" + missing, "no-token" + missing, "ca-bundle" + missing, "time-zones" + missing}},
		"the command that was asked for is missing": {reported(nil), v1alpha1.TestPolicy{Command: []string{"x"}}, without(), []string{"command" + missing}},
		"what is allowed is not asked for":          {reported(changes{"no-shell": {}}), v1alpha1.TestPolicy{Shells: v1alpha1.Allow}, without("no-shell"), nil},
		"Forbid is the default":                     {reported(changes{"no-shell": {}}), v1alpha1.TestPolicy{Shells: v1alpha1.Forbid}, without("no-shell"), []string{"no-shell" + missing}},
		"what nobody asked for passes no more":      {reported(nil), v1alpha1.TestPolicy{Shells: v1alpha1.Allow}, without("no-shell"), nil},
		"but fails":                                 {reported(changes{"no-shell": {Outcome: pipeline.ProbeFailed, Message: "x"}}), v1alpha1.TestPolicy{Shells: v1alpha1.Allow}, without("no-shell"), []string{"no-shell: x"}},
		"a check of a later version": {pipeline.ProbeReport{Checks: append(reported(nil).Checks, pipeline.ProbeCheck{Name: "later", Outcome: pipeline.ProbeAbsent, Message: "y"})},
			v1alpha1.TestPolicy{}, without(), []string{"later: y"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			want := v1alpha1.PlatformTests{Platform: "linux/arm64", Outcome: v1alpha1.TestPassed, Passed: tt.passed, Failed: tt.failed}
			if len(tt.failed) > 0 {
				want.Outcome = v1alpha1.TestFailed
			}
			if diff := cmp.Diff(want, Results(tt.report, arm64, tt.tests)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The schema would refuse the whole status.
func TestResultsFitTheStatus(t *testing.T) {
	var r pipeline.ProbeReport
	for i := range 32 {
		r.Checks = append(r.Checks, pipeline.ProbeCheck{Name: fmt.Sprintf("%063d%d", 0, i%10), Outcome: pipeline.ProbeFailed, Message: strings.Repeat("é", 220)})
	}
	got := Results(r, amd64, v1alpha1.TestPolicy{})
	if len(got.Failed) != 32 || got.Outcome != v1alpha1.TestFailed {
		t.Errorf("got %d failures", len(got.Failed))
	}
	for _, f := range got.Failed {
		if len(f) > 512 || !utf8.ValidString(f) {
			t.Errorf("%d bytes: %s", len(f), f)
		}
	}
}

func of(p pipeline.Platform, outcome v1alpha1.TestOutcome, failed ...string) v1alpha1.PlatformTests {
	return v1alpha1.PlatformTests{Platform: p.String(), Outcome: outcome, Failed: failed}
}

func TestSummaryAndMessage(t *testing.T) {
	tests := map[string]struct {
		results          []v1alpha1.PlatformTests
		summary, message string
	}{
		"both passed": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestPassed), of(arm64, v1alpha1.TestPassed)}, "2/2", "2 of 2 platforms passed all tests"},
		"one failed": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestPassed), of(arm64, v1alpha1.TestFailed, "no-shell: /bin/sh; remove it")},
			"1/2", "linux/arm64 failed no-shell: /bin/sh; remove it"},
		"both failed alike": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestFailed, "user: root"), of(arm64, v1alpha1.TestFailed, "user: root")},
			"0/2", "linux/amd64, linux/arm64 failed user: root"},
		"both failed otherwise": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestFailed, "user: root", "command: x"), of(arm64, v1alpha1.TestFailed, "user: root")},
			"0/2", "linux/amd64 failed user, command: user: root; command: x. linux/arm64 failed user: root"},
		"one was skipped": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestPassed), Skipped(arm64)}, "1/2, 1 skipped",
			"linux/arm64 skipped: no node can run it, so nothing was tested: add a node of this architecture that fits spec.platforms[].nodeSelector, or install emulation on one and label it emulation.basewright.dev/arm64"},
		"failures come first": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestSkipped, "no node"), of(arm64, v1alpha1.TestFailed, "user: root")}, "0/2, 1 skipped",
			"linux/arm64 failed user: root. linux/amd64 skipped: no node"},
		"a failure is not a skip, whatever it says": {[]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestSkipped, "x"), of(arm64, v1alpha1.TestFailed, "x")}, "0/2, 1 skipped",
			"linux/arm64 failed x. linux/amd64 skipped: x"},
		"an outcome that is none counts as neither": {[]v1alpha1.PlatformTests{of(amd64, "", "x")}, "0/1", "linux/amd64 failed x"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := Summary(tt.results); got != tt.summary {
				t.Errorf("got the summary %q, want %q", got, tt.summary)
			}
			if got := Message(tt.results); got != tt.message {
				t.Errorf("got the message %q, want %q", got, tt.message)
			}
		})
	}
}

func TestMessageIsBoundedAndNamesEveryCheck(t *testing.T) {
	failed := func(text string) []string {
		var all []string
		for _, name := range (probe.Options{Command: []string{"x"}}).Names() {
			all = append(all, pipeline.Clip(name+": "+strings.Repeat(text, 200), maxFailed))
		}
		return all
	}
	got := Message([]v1alpha1.PlatformTests{of(amd64, v1alpha1.TestFailed, failed("é")...), of(arm64, v1alpha1.TestFailed, failed("…")...)})
	if len(got) > 900 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	for _, name := range always {
		if strings.Count(got, name) < 2 {
			t.Errorf("%s is not named for each platform: %s", name, got)
		}
	}
}
