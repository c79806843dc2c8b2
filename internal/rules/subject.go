package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// subject is what rules are about, as errors name it: the field that the rules come from, and their input.
type subject struct{ field, input string }

var dockerfiles = subject{field: "spec.dockerfilePolicy.extraRules", input: "the Dockerfile"}

func (s subject) invalid(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonPolicyInvalid, s.field+": %w", fmt.Errorf(format, args...))
}

func (s subject) exceeded(why string) error {
	return pipeline.Terminalf(pipeline.ReasonPolicyBudgetExceeded, "evaluating the rules of %s: %s: simplify the rules, or %s", s.field, why, s.input)
}

// maxErrors is how many errors of a compilation are told.
const maxErrors = 3

// broken makes the error of modules that don't parse or compile.
func (s subject) broken(err error) error {
	all, ok := errors.AsType[ast.Errors](err)
	if !ok {
		return s.invalid("%w: use Rego v1", err)
	}
	var told []string
	for _, e := range all[:min(len(all), maxErrors)] {
		told = append(told, located(e)+strings.ReplaceAll(e.Message, "\n", " ")+hint(e.Message))
	}
	if len(all) > maxErrors {
		told = append(told, fmt.Sprintf("and %d more errors", len(all)-maxErrors))
	}
	return s.invalid("%s", bound(strings.Join(told, "; "), 2*maxMessage))
}

func located(e *ast.Error) string {
	if e.Location == nil {
		return ""
	}
	return fmt.Sprintf("%s line %d: ", e.Location.File, e.Location.Row)
}

// hint says what to do about the errors that people meet.
func hint(message string) string {
	switch {
	case strings.Contains(message, "undefined function"):
		return ": only functions of the input are there, none of the network, of the time or of chance"
	case strings.Contains(message, "keyword is required"):
		return ": use Rego v1, as deny_x contains msg if { ... }"
	case strings.Contains(message, "recursi"):
		return ": a rule can't use itself"
	case strings.Contains(message, "unsafe"):
		return ": give the variable a value"
	}
	return ""
}
