package rules

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Input is what rules see.
type Input struct {
	// Document is the Dockerfile as conftest shows it.
	Document any
	// Lines are the lines of the instructions of the document, from 1. Without them findings have no lines.
	Lines []int
	// BuildArgs override the defaults of ARGs, those of the platform among them, for example TARGETARCH.
	BuildArgs map[string]string
	// Target is the name or the number of the stage that is built. Empty: the last.
	Target string
}

// Evaluate returns what the rules find, sorted. There is no such thing as a part of the findings: an error means that
// nothing is known. It is a *pipeline.Terminal with reason PolicyInvalid if a team's rule can't be evaluated, and with
// PolicyBudgetExceeded if the rules take too much; the error of ctx if that ended first.
func (p *Policy) Evaluate(ctx context.Context, in Input) ([]Finding, error) {
	document, err := ast.InterfaceToValue(in.Document)
	if err != nil {
		return nil, fmt.Errorf("reading the input of the rules: %w", err)
	}
	findings, err := p.run(ctx, p.base, Budget{Time: p.budget.Time, Steps: baseSteps, Size: baseSize}, document, in)
	if err != nil {
		return nil, err
	}
	if len(p.team.rules) > 0 {
		if err := p.team.subject.room(); err != nil {
			return nil, err
		}
		added, err := p.run(ctx, p.team, p.budget, document, in)
		if err != nil {
			return nil, err
		}
		findings = append(findings, added...)
	}
	return tidy(findings), nil
}

// maxAbandoned is how many evaluations may run on after their time without being waited for.
const maxAbandoned = 2

var abandoned atomic.Int32

// grace is how long an evaluation that was told to stop may take for it.
const grace = time.Second

// room says whether one more evaluation of added rules may start.
func (s subject) room() error {
	if abandoned.Load() >= maxAbandoned {
		// That is others' fault, and passes.
		return pipeline.Transientf(pipeline.ReasonPolicyBudgetExceeded, "evaluating added rules: earlier evaluations have not ended: try again")
	}
	return nil
}

// within evaluates within time. One expression can take longer than any budget, for example the comparison of two
// values that are nested out of themselves, and nothing can end it: it is left behind, and too many of those end all
// evaluation of added rules.
func (s subject) within(ctx context.Context, b Budget, evaluate func(*meter) error) error {
	m := b.meter()
	done := make(chan error, 1)
	go func() { done <- guarded(func() error { return evaluate(m) }) }()
	limit := time.NewTimer(b.Time)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		m.Cancel()
		leave(done)
		return fmt.Errorf("evaluating the rules: %w", context.Cause(ctx))
	case <-limit.C:
		m.Cancel()
		leave(done)
		return s.exceeded(fmt.Sprintf("they took longer than %s", b.Time))
	}
}

// leave waits a little for an evaluation that was told to stop, and then counts it until it ends.
func leave(done <-chan error) {
	select {
	case <-done: //nolint:errcheck // Nobody asks for it any more.
	case <-time.After(grace):
		abandoned.Add(1)
		go func() {
			<-done //nolint:errcheck // Nobody asks for it any more.
			abandoned.Add(-1)
		}()
	}
}

// Our own rules are not written to harm, but Dockerfiles are.
const (
	baseSteps = 4_000_000
	baseSize  = 128 << 20
)

// run evaluates rules about a Dockerfile.
func (p *Policy) run(ctx context.Context, rules program, b Budget, document ast.Value, in Input) ([]Finding, error) {
	// What is left behind goes on writing to it.
	found := new([]Finding)
	err := rules.subject.within(ctx, b, func(m *meter) error {
		ctx := context.Background()
		store := inmem.NewFromObjectWithOpts(data(in), inmem.OptRoundTripOnWrite(false))
		txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
		if err != nil {
			return fmt.Errorf("evaluating the rules: %w", err)
		}
		defer store.Abort(ctx, txn)
		query := rules.query(m, document).WithStore(store).WithTransaction(txn)
		return rules.ask(query, func(r rule, v ast.Value) error {
			f, err := finding(r, v, in.Lines)
			*found = append(*found, f)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return *found, nil
}

// data is what the operator tells to rules beside the Dockerfile.
func data(in Input) map[string]any {
	args := map[string]any{}
	for name, value := range in.BuildArgs {
		args[name] = value
	}
	return map[string]any{"basewright": map[string]any{"build_args": args, "target": in.Target}}
}

// finding reads a message, or an object with msg and perhaps fix, line, and index, the place in the document.
func finding(r rule, v ast.Value, lines []int) (Finding, error) {
	f := Finding{Rule: r.id, Severity: r.severity}
	switch v := v.(type) {
	case ast.String:
		f.Message = bound(string(v), maxMessage)
		return f, nil
	case ast.Object:
		return fill(f, v, lines)
	}
	return f, dockerfiles.invalid("the rule %s has a finding that is a %s: use a string, or an object with msg", r.id, ast.ValueName(v))
}

func fill(f Finding, object ast.Object, lines []int) (Finding, error) {
	message, ok := member[ast.String](object, "msg")
	if !ok || message == "" {
		return f, dockerfiles.invalid("the rule %s has a finding without a msg that is a string: add one", f.Rule)
	}
	f.Message = bound(string(message), maxMessage)
	if fix, ok := member[ast.String](object, "fix"); ok {
		f.Fix = bound(string(fix), maxMessage)
	}
	if line, ok := member[ast.Number](object, "line"); ok {
		f.Line, _ = line.Int()
	}
	if number, ok := member[ast.Number](object, "index"); ok {
		if i, ok := number.Int(); ok && i >= 0 && i < len(lines) {
			f.Line = lines[i]
		}
	}
	f.Line = max(f.Line, 0)
	return f, nil
}

func member[T ast.Value](object ast.Object, name string) (value T, ok bool) {
	if t := object.Get(ast.StringTerm(name)); t != nil {
		value, ok = t.Value.(T)
	}
	return value, ok
}

// bound shortens a text for a status, and makes one line of it.
func bound(s string, size int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 4*size)], ""))
	if len(s) <= size {
		return s
	}
	const more = "..."
	return strings.ToValidUTF8(s[:size-len(more)], "") + more
}

// tidy sorts findings, keeps each once, and keeps of each rule only so many that all of them are few. No rule is lost:
// a verdict needs only one of each.
func tidy(findings []Finding) []Finding {
	slices.SortFunc(findings, compare)
	findings = slices.Compact(findings)
	if len(findings) <= MaxFindings {
		return findings
	}
	count := map[string]int{}
	for _, f := range findings {
		count[f.Rule]++
	}
	each := max(MaxFindings/len(count), 1)
	var kept []Finding
	seen := map[string]int{}
	for _, f := range findings {
		if seen[f.Rule]++; seen[f.Rule] > each {
			continue
		}
		if seen[f.Rule] == each && count[f.Rule] > each {
			f.Message = bound(fmt.Sprintf("%s (and %d more)", bound(f.Message, maxMessage-30), count[f.Rule]-each), maxMessage)
		}
		kept = append(kept, f)
	}
	return kept
}
