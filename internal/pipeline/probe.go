package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const (
	// maxProbeChecks is more than any probe has.
	maxProbeChecks = 32
	// maxProbeMessage leaves room for a check's name within the 512 characters that a status keeps of a failure.
	maxProbeMessage = 440
)

var probeCheckName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// maxProbeName is how long the name of a check may be.
const maxProbeName = 64

// ParseProbeReport reads the termination message of a probe. A message that is no report is an error, and so is one
// with a name twice, or with an outcome that is none. Messages are cut.
func ParseProbeReport(message string) (ProbeReport, error) {
	var r ProbeReport
	if len(message) > MaxReport {
		return r, fmt.Errorf("reading the probe's report: %d bytes, at most %d are read", len(message), MaxReport)
	}
	if err := json.Unmarshal([]byte(message), &r); err != nil {
		return ProbeReport{}, fmt.Errorf("reading the probe's report: %w", err)
	}
	if len(r.Checks) == 0 || len(r.Checks) > maxProbeChecks {
		return ProbeReport{}, fmt.Errorf("reading the probe's report: it has %d checks, and should have 1 to %d", len(r.Checks), maxProbeChecks)
	}
	seen := map[string]bool{}
	for i := range r.Checks {
		c := &r.Checks[i]
		if err := c.validate(); err != nil {
			return ProbeReport{}, fmt.Errorf("reading the probe's report: %w", err)
		}
		if seen[c.Name] {
			return ProbeReport{}, fmt.Errorf("reading the probe's report: it has the check %s twice", c.Name)
		}
		seen[c.Name], c.Message = true, Clip(c.Message, maxProbeMessage)
	}
	return r, nil
}

func (c ProbeCheck) validate() error {
	if len(c.Name) > maxProbeName || !probeCheckName.MatchString(c.Name) {
		return errors.New("the name of a check is none")
	}
	switch c.Outcome {
	case ProbePassed, ProbeFailed, ProbeAbsent:
		return nil
	}
	return fmt.Errorf("the outcome of %s is none", c.Name)
}

// Clip keeps the start of a text, at most limit bytes of whole characters.
func Clip(s string, limit int) string {
	const cut = "…"
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len(cut)], "") + cut
}
