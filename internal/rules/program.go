package rules

import (
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// program is rules that are asked together, so that they share what they work out.
type program struct {
	subject  subject
	compiler *ast.Compiler
	rules    []rule
	answers  []ast.Var
	body     ast.Body
	// err of making it, which is ours, and not that of a rule.
	err error
}

// program asks for the sets of rules.
func (s subject) program(compiler *ast.Compiler, rules []rule) program {
	p := program{subject: s, compiler: compiler, rules: rules}
	var body ast.Body
	for i, r := range rules {
		answer := ast.Var(fmt.Sprintf("answer_%d", i))
		p.answers = append(p.answers, answer)
		body.Append(ast.Equality.Expr(ast.NewTerm(answer), ast.NewTerm(r.ref.Copy())))
	}
	if len(rules) > 0 {
		p.body, p.err = compiler.QueryCompiler().Compile(body)
	}
	return p
}

// query is one evaluation.
func (p program) query(m topdown.Cancel, input ast.Value) *topdown.Query {
	return topdown.NewQuery(p.body).WithCompiler(p.compiler).WithInput(ast.NewTerm(input)).WithCancel(m).WithStrictBuiltinErrors(true)
}

// ask gives everything that rules find to found, sorted by rule, so that the ones that are kept and the message of an error
// are the same every time.
func (p program) ask(query *topdown.Query, found func(rule, ast.Value) error) error {
	if p.err != nil {
		return fmt.Errorf("evaluating the rules: %w", p.err)
	}
	answered := false
	err := query.Iter(context.Background(), func(answer topdown.QueryResult) error {
		answered = true
		return p.read(answer, found)
	})
	switch {
	case err != nil:
		return p.failed(err)
	case !answered:
		return errors.New("evaluating the rules: there is no answer")
	}
	return nil
}

func (p program) read(answer topdown.QueryResult, found func(rule, ast.Value) error) error {
	for i, r := range p.rules {
		term := answer[p.answers[i]]
		if term == nil {
			return fmt.Errorf("the rule %s has no answer", r.id)
		}
		set, ok := term.Value.(ast.Set)
		if !ok {
			return p.subject.invalid("the rule %s is not a set of findings: write it with contains", r.id)
		}
		if set.Len() == 0 {
			continue
		}
		sorted := set.Sorted()
		for n := range sorted.Len() {
			if err := found(r, sorted.Elem(n).Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed turns an error of an evaluation into ours.
func (p program) failed(err error) error {
	t, ok := errors.AsType[*topdown.Error](err)
	switch {
	case errors.Is(err, errMeter):
		return p.subject.exceeded("they make too large values")
	case ok && t.Code == topdown.CancelErr:
		return p.subject.exceeded("they take too many steps")
	case ok && t.Location != nil && t.Location.File != "":
		return p.subject.invalid("%s line %d: %s", t.Location.File, t.Location.Row, bound(t.Message, maxMessage))
	case pipeline.IsTerminal(err):
		return err
	}
	return fmt.Errorf("evaluating the rules: %w", err)
}

// guarded makes an error of a panic.
func guarded(evaluate func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluating the rules: %v", r)
		}
	}()
	return evaluate()
}
