package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// Outcome is what came of a check. The words are those of internal/pipeline, which this package doesn't import because
// of its size.
type Outcome string

// Outcomes.
const (
	Passed Outcome = "Passed"
	Failed Outcome = "Failed"
	// Absent means: the image does not have what the check looks at, and does not promise it.
	Absent Outcome = "Absent"
)

// Check is one, and what came of it.
type Check struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Message says what was found, and for a failure what to change.
	Message string `json:"message,omitempty"`
}

// Report is what came of all checks.
type Report struct {
	Checks []Check `json:"checks"`
}

const (
	// maxReport is what Kubernetes keeps of a termination message.
	maxReport = 4096
	// maxMessage leaves room for a name within the 512 characters that a status keeps of a failure.
	maxMessage = 440
)

func passed(format string, args ...any) Check {
	return Check{Outcome: Passed, Message: fmt.Sprintf(format, args...)}
}
func failed(format string, args ...any) Check {
	return Check{Outcome: Failed, Message: fmt.Sprintf(format, args...)}
}
func absent(format string, args ...any) Check {
	return Check{Outcome: Absent, Message: fmt.Sprintf(format, args...)}
}

// Encode makes JSON of at most 4096 bytes. Messages are shortened until it fits, names and outcomes stay.
func (r Report) Encode() ([]byte, error) {
	for limit := maxMessage; ; limit /= 2 {
		raw, err := r.encode(limit)
		if err != nil || len(raw) <= maxReport || limit == 0 {
			return raw, err
		}
	}
}

func (r Report) encode(limit int) ([]byte, error) {
	short := Report{Checks: make([]Check, len(r.Checks))}
	for i, c := range r.Checks {
		c.Message = clip(printable(c.Message), limit)
		short.Checks[i] = c
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(short); err != nil {
		return nil, fmt.Errorf("encoding the report: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

// printable makes one line of what programs and files of the image say.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(s), " ")
}

// clip keeps the start of a text, at most limit bytes of whole characters.
func clip(s string, limit int) string {
	const cut = "…"
	if len(s) <= limit {
		return s
	}
	if limit < len(cut) {
		return ""
	}
	return strings.ToValidUTF8(s[:limit-len(cut)], "") + cut
}

// some names the first few of a list that the image decides the length of.
func some(list []string) string {
	const shown = 5
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
}
