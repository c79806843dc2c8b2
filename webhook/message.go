package webhook

import (
	"fmt"
	"strings"
	"unicode"
)

const (
	// maxTold is how many findings a message has.
	maxTold = 20
	// maxFinding bounds one of them, in bytes, and maxMessage all.
	maxFinding = 2000
	maxMessage = 16 << 10
	// maxQuoted bounds what a message quotes of an object.
	maxQuoted = 300
)

// told is what a person reads who is refused.
func told(what string, findings []finding) string {
	var out strings.Builder
	fmt.Fprintln(&out, headline(what, findings))
	for i, f := range findings {
		line := fmt.Sprintf("%d. %s\n", i+1, f.lines())
		if i == maxTold || out.Len()+len(line) > maxMessage {
			fmt.Fprintf(&out, "and %d more", len(findings)-i)
			break
		}
		out.WriteString(line)
	}
	return strings.TrimRight(out.String(), "\n")
}

// headline tells what is wrong from what is away: the one has to be mended, the other to be tried again.
func headline(what string, findings []finding) string {
	unknown := 0
	for _, f := range findings {
		if f.unknown {
			unknown++
		}
	}
	switch {
	case unknown == len(findings):
		return fmt.Sprintf("%s could not be checked, so it is not admitted: this is an outage and no violation, try again:", what)
	case len(findings) == 1:
		return what + " is refused:"
	}
	return fmt.Sprintf("%s is refused for %d reasons:", what, len(findings))
}

// lines are one finding: where, who asks and what is wrong; and below, what to do and how to see it.
func (f finding) lines() string {
	var out strings.Builder
	out.WriteString(bound(f.String(), maxFinding))
	for _, more := range []struct{ what, text string }{{"image", f.image}, {"fix", f.fix}, {"see", f.command}} {
		if more.text != "" {
			fmt.Fprintf(&out, "\n   %s: %s", more.what, bound(plain(strings.TrimRight(more.text, ". ")), maxFinding))
		}
	}
	return out.String()
}

// String is one finding in one line.
func (f finding) String() string {
	where := f.field
	if who := f.who(); who != "" {
		where += " (" + who + ")"
	}
	if f.unknown && f.policy != nil {
		where += ": it could not be checked"
	}
	return strings.TrimSpace(strings.TrimPrefix(plain(where+": "+strings.TrimRight(f.message, ". ")), ": "))
}

// warning is one finding for whoever is let through: with the image, on one line.
func (f finding) warning() string {
	out := "admitted, but with mode Enforce it would be refused: " + f.String()
	if f.image != "" {
		out += "; image: " + clip(f.image)
	}
	if f.fix != "" {
		out += "; fix: " + plain(strings.TrimRight(f.fix, ". "))
	}
	return out
}

func (f finding) who() string {
	var who []string
	if f.policy != nil {
		who = append(who, "policy "+f.policy.Name)
	}
	if f.rule != "" {
		who = append(who, "rule "+f.rule)
	}
	return strings.Join(who, ", ")
}

// plain takes out what is not to be printed: parts come from registries and from those who make objects.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // Nor what turns the direction of a line.
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func bound(s string, size int) string {
	if len(s) <= size {
		return s
	}
	return strings.ToValidUTF8(s[:size], "") + "…"
}

// clip is s as a message quotes it.
func clip(s string) string { return bound(plain(s), maxQuoted) }
