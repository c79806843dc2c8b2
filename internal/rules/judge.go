package rules

import (
	"cmp"
	"fmt"
	"time"
)

const (
	// MaxFindings is the largest number of findings of an evaluation.
	MaxFindings = 200
	// maxMessage bounds a message and a fix, in bytes.
	maxMessage = 512
)

// Severity says what a finding does to a build.
type Severity string

const (
	// Deny stops the build.
	Deny Severity = "Deny"
	// Warn is told, and stops the build only where that was asked for.
	Warn Severity = "Warn"
)

// Finding is something that a rule says about a Dockerfile.
type Finding struct {
	// Rule is for example deny_add, or team.labels.deny_owner for a team's rule deny_owner in package team.labels.
	Rule     string
	Severity Severity
	// Message says for people what is wrong and what to do.
	Message string
	// Fix is only what to do, if the rule says that apart.
	Fix string
	// Line is where it is in the Dockerfile, from 1; 0 if the rule says nothing about that.
	Line int
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.Rule, f.Message)
	}
	return fmt.Sprintf("%s: line %d: %s", f.Rule, f.Line, f.Message)
}

// compare orders what stops a build first, then by line.
func compare(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule),
		cmp.Compare(a.Message, b.Message), cmp.Compare(a.Fix, b.Fix))
}

// Exception lets the findings of one rule pass.
type Exception struct {
	Rule, Reason string
	// Expires is when it no longer does. Zero: never.
	Expires time.Time
}

func (e Exception) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// Excepted is a finding that an exception lets pass.
type Excepted struct {
	Finding
	Reason string
}

// Verdict sorts findings by what they do.
type Verdict struct {
	// Refused stop the build.
	Refused []Finding
	// Warned are only told.
	Warned []Finding
	// Excepted would be one of these.
	Excepted []Excepted
	// Expired are exceptions that would let a finding pass if they had not expired.
	Expired []Exception
	// Unused are exceptions for rules that found nothing.
	Unused []Exception
}

// Judge applies exceptions to findings. With failOn Warn warnings stop a build too; anything else is Deny.
func Judge(findings []Finding, exceptions []Exception, failOn Severity, now time.Time) Verdict {
	var v Verdict
	matched := map[string]bool{}
	for _, f := range findings {
		matched[f.Rule] = true
		if e, ok := exceptionFor(f, exceptions, now); ok {
			v.Excepted = append(v.Excepted, Excepted{Finding: f, Reason: e.Reason})
		} else if f.Severity == Warn && failOn != Warn {
			v.Warned = append(v.Warned, f)
		} else {
			v.Refused = append(v.Refused, f)
		}
	}
	for _, e := range exceptions {
		switch {
		case !matched[e.Rule]:
			v.Unused = append(v.Unused, e)
		case e.expired(now):
			v.Expired = append(v.Expired, e)
		}
	}
	return v
}

func exceptionFor(f Finding, exceptions []Exception, now time.Time) (Exception, bool) {
	for _, e := range exceptions {
		if e.Rule == f.Rule && !e.expired(now) {
			return e, true
		}
	}
	return Exception{}, false
}
