package rules_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/rules"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	add := rules.Finding{Rule: "deny_add", Severity: rules.Deny, Message: "a", Line: 1}
	again := rules.Finding{Rule: "deny_add", Severity: rules.Deny, Message: "b", Line: 2}
	latest := rules.Finding{Rule: "warn_from_latest", Severity: rules.Warn, Message: "c", Line: 3}
	all := []rules.Finding{add, again, latest}
	except := func(rule string, expires time.Time) rules.Exception {
		return rules.Exception{Rule: rule, Reason: "why", Expires: expires}
	}
	tests := map[string]struct {
		findings   []rules.Finding
		exceptions []rules.Exception
		failOn     rules.Severity
		want       rules.Verdict
	}{
		"nothing": {},
		"warnings pass": {
			findings: all, failOn: rules.Deny,
			want: rules.Verdict{Refused: []rules.Finding{add, again}, Warned: []rules.Finding{latest}},
		},
		"warnings pass if nobody says": {findings: []rules.Finding{latest}, want: rules.Verdict{Warned: []rules.Finding{latest}}},
		"warnings are refused":         {findings: all, failOn: rules.Warn, want: rules.Verdict{Refused: all}},
		"an exception is for every finding of its rule and for no other": {
			findings: all, exceptions: []rules.Exception{except("deny_add", now.Add(1))}, failOn: rules.Warn,
			want: rules.Verdict{Refused: []rules.Finding{latest}, Excepted: []rules.Excepted{{Finding: add, Reason: "why"}, {Finding: again, Reason: "why"}}},
		},
		"an exception for ever": {
			findings: []rules.Finding{add}, exceptions: []rules.Exception{except("deny_add", time.Time{})},
			want: rules.Verdict{Excepted: []rules.Excepted{{Finding: add, Reason: "why"}}},
		},
		"an exception that expires now": {
			findings: []rules.Finding{add}, exceptions: []rules.Exception{except("deny_add", now)},
			want: rules.Verdict{Refused: []rules.Finding{add}, Expired: []rules.Exception{except("deny_add", now)}},
		},
		"one that has expired and one that has not": {
			findings: []rules.Finding{add}, exceptions: []rules.Exception{except("deny_add", now.Add(-1)), {Rule: "deny_add", Reason: "new"}},
			want: rules.Verdict{Excepted: []rules.Excepted{{Finding: add, Reason: "new"}}, Expired: []rules.Exception{except("deny_add", now.Add(-1))}},
		},
		"an exception for a rule that found nothing": {
			findings: []rules.Finding{latest}, exceptions: []rules.Exception{except("deny_add", now.Add(-1)), except("deny", now.Add(1))},
			want: rules.Verdict{Warned: []rules.Finding{latest}, Unused: []rules.Exception{except("deny_add", now.Add(-1)), except("deny", now.Add(1))}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, rules.Judge(tc.findings, tc.exceptions, tc.failOn, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFindingIsToldInOneLine(t *testing.T) {
	t.Parallel()
	f := rules.Finding{Rule: "deny_add", Message: "no", Line: 3}
	if got, want := f.String(), "deny_add: line 3: no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.Line = 0
	if got, want := f.String(), "deny_add: no"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
