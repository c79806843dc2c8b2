package rules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

const (
	// MaxStatement is the largest statement that is judged, in bytes.
	MaxStatement = 16 << 20
	// MaxStatementFindings is the largest number of findings in a statement.
	MaxStatementFindings = 20
	// large statements are judged one at a time.
	largeStatement = 1 << 20
)

var (
	statementRules = subject{field: "rego", input: "the statement"}
	// statementBudget is for statements of somebody who may sign, and for rules of whoever writes policies.
	statementBudget = Budget{Time: 2 * time.Second, Steps: 2_000_000, Size: 64 << 20}
	largeSlots      = make(chan struct{}, 1)
)

// Statement are the rules for an attestation, compiled. It may be used concurrently.
type Statement struct {
	rules program
}

// CompileStatement compiles a module, of any package, whose sets deny… and violation… are what is wrong with a statement. An
// error is a *pipeline.Terminal with reason PolicyInvalid that names the line and the fix.
func CompileStatement(source string) (*Statement, error) {
	rules, err := statementRules.compileAdded([]Module{{Name: "module", Source: source}}, nil)
	if err != nil {
		return nil, err
	}
	return &Statement{rules: rules}, nil
}

// Evaluate returns what the rules find in a statement, sorted, and bounded in number and size. An error means that nothing is
// known: it is a *pipeline.Terminal with reason PolicyInvalid if a rule can't be evaluated, and with PolicyBudgetExceeded if
// the rules, or the statement, take too much; the error of ctx if that ended first.
func (s *Statement) Evaluate(ctx context.Context, statement []byte) ([]string, error) {
	if len(statement) > largeStatement {
		select {
		case largeSlots <- struct{}{}:
			defer func() { <-largeSlots }()
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting to judge a large statement: %w", context.Cause(ctx))
		}
	}
	if err := statementRules.room(); err != nil {
		return nil, err
	}
	found := new([]string)
	err := statementRules.within(ctx, statementBudget, func(m *meter) error {
		input, err := statementValue(statement)
		if err != nil {
			return err
		}
		return s.rules.ask(s.rules.query(m, input).WithStore(noData{}), func(r rule, v ast.Value) error {
			f, err := statementRules.podFinding(r, v)
			*found = append(*found, f.Message)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return tidyMessages(*found), nil
}

// statementValue reads a statement: one object of JSON, and not more than is bearable.
func statementValue(statement []byte) (ast.Value, error) {
	if len(statement) > MaxStatement {
		return nil, statementRules.exceeded(fmt.Sprintf("it has %d bytes, at most %d are judged", len(statement), MaxStatement))
	}
	if err := bearable(statement); err != nil {
		return nil, statementRules.exceeded(err.Error())
	}
	decoder := json.NewDecoder(bytes.NewReader(statement))
	decoder.UseNumber()
	var decoded map[string]any
	if err := decoder.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("reading the statement: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the statement: there is more after its end")
	}
	if decoded == nil {
		return nil, errors.New("reading the statement: it is null")
	}
	value, err := ast.InterfaceToValue(decoded)
	if err != nil {
		return nil, fmt.Errorf("reading the statement: %w", err)
	}
	return value, nil
}

func tidyMessages(all []string) []string {
	slices.Sort(all)
	all = slices.Compact(all)
	if more := len(all) - MaxStatementFindings; more > 0 {
		all = all[:MaxStatementFindings]
		last := &all[len(all)-1]
		*last = bound(fmt.Sprintf("%s (and there are %d more findings)", bound(*last, maxMessage-50), more), maxMessage)
	}
	return all
}
