package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxShown bounds what is printed of a file that is wrong throughout.
const maxShown = 50

// FieldError is one thing that is wrong with a configuration.
type FieldError struct {
	// File it is in; empty for what was not read from a file.
	File string
	// Line in the file, from 1: of the field, or of the nearest one around it if the field is missing. 0 if there is none.
	Line int
	// Field by its path: registries.privateHosts[1]. Empty for the file as a whole.
	Field string
	// Problem in words.
	Problem string
}

func (e *FieldError) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Errors are all that is wrong with a configuration, by line.
type Errors []*FieldError

func (e Errors) Error() string {
	var lines []string
	for _, one := range e[:min(len(e), maxShown)] {
		lines = append(lines, one.Error())
	}
	if more := len(e) - maxShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more errors", more))
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each of them.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// path of a field. The nil path is the whole file.
type path struct {
	parent *path
	text   string
}

func (p *path) String() string {
	if p == nil {
		return ""
	}
	return p.text
}

// child is a field of a struct.
func (p *path) child(name string) *path {
	if p == nil {
		return &path{text: printable(name)}
	}
	return &path{parent: p, text: p.text + "." + printable(name)}
}

func (p *path) index(i int) *path {
	return &path{parent: p, text: fmt.Sprintf("%s[%d]", p, i)}
}

func (p *path) key(k string) *path {
	return &path{parent: p, text: fmt.Sprintf("%s[%s]", p, printable(k))}
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,128}$`)

// printable keeps what somebody has written as a name from breaking a line of the log, or filling it.
func printable(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return fmt.Sprintf("%.128q", name)
}

// findings collects what is wrong, and knows where each field stands.
type findings struct {
	// file that is named in errors.
	file string
	// lines of fields by their path.
	lines map[string]int
	// unreadable fields, of which nothing more is said.
	unreadable map[string]bool
	errs       Errors
}

func newFindings(file string) *findings {
	return &findings{file: file, lines: map[string]int{}, unreadable: map[string]bool{}}
}

// refuse says that a field could not be read.
func (f *findings) refuse(at *path, line int, format string, args ...any) {
	f.unreadable[at.String()] = true
	f.add(at, line, fmt.Sprintf(format, args...))
}

// invalid says that a field that could be read has a value that it must not have.
func (f *findings) invalid(at *path, format string, args ...any) {
	line := 0
	for p := at; p != nil; p = p.parent {
		if f.unreadable[p.text] {
			return // The reason is known.
		}
		if line == 0 {
			line = f.lines[p.text]
		}
	}
	if f.unreadable[""] {
		return
	}
	f.add(at, line, fmt.Sprintf(format, args...))
}

func (f *findings) add(at *path, line int, problem string) {
	f.errs = append(f.errs, &FieldError{File: f.file, Line: line, Field: at.String(), Problem: problem})
}

// err has all findings by line, or is nil.
func (f *findings) err() error {
	if len(f.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(f.errs, func(a, b *FieldError) int { return cmp.Compare(a.Line, b.Line) })
	return f.errs
}

// quoted is a value in a message.
func quoted(value string) string {
	if len(value) > 200 {
		return strconv.Quote(value[:200]) + "…"
	}
	return strconv.Quote(value)
}
