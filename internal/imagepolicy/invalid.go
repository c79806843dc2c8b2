package imagepolicy

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxTold is how many problems a message has.
	maxTold = 8
	// maxProblem is the largest of them.
	maxProblem = 1024
)

// InvalidError is everything that is wrong with a policy. It is the cause of the Terminal fault of Compile.
type InvalidError struct{ Fields field.ErrorList }

func (e *InvalidError) Error() string {
	told := make([]string, 0, maxTold+1)
	for i, problem := range e.Fields {
		if i == maxTold {
			told = append(told, fmt.Sprintf("and %d more", len(e.Fields)-maxTold))
			break
		}
		told = append(told, truncate(problem.Error(), maxProblem))
	}
	return strings.Join(told, "; ")
}

// problems collects what is wrong, so that it is told all at once.
type problems struct{ list field.ErrorList }

func (p *problems) invalid(at *field.Path, value any, format string, args ...any) {
	p.list = append(p.list, field.Invalid(at, value, truncate(fmt.Sprintf(format, args...), maxProblem)))
}

func (p *problems) required(at *field.Path, format string, args ...any) {
	p.list = append(p.list, field.Required(at, fmt.Sprintf(format, args...)))
}

func (p *problems) forbidden(at *field.Path, format string, args ...any) {
	p.list = append(p.list, field.Forbidden(at, truncate(fmt.Sprintf(format, args...), maxProblem)))
}

// err is a Terminal fault, or nil if nothing is wrong.
func (p *problems) err(reason string) error {
	if len(p.list) == 0 {
		return nil
	}
	return &pipeline.Terminal{Reason: reason, Err: &InvalidError{Fields: p.list}}
}

// survive makes an error of a defect, which must not end the process of whoever compiles all policies.
func survive(p **Policy, err *error) {
	if r := recover(); r != nil {
		*p, *err = nil, pipeline.Terminalf(pipeline.ReasonInternalError, "compiling the policy has a defect: %s", truncate(fmt.Sprint(r), maxProblem))
	}
}

// truncate keeps messages within bounds, and whole characters whole.
func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
