package rules

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ibshafique/base-images/policy"
)

const (
	// MaxPodFindings is the largest number of findings in a pod.
	MaxPodFindings = 100
	// maxContainers and maxVolumes of a pod that is judged.
	maxContainers = 256
	maxVolumes    = 1024
	// oldestMinor is the first version of Kubernetes, 1.25, whose Pod Security Standards are here.
	oldestMinor = 25
	// ownSteps are many more than any real pod takes.
	ownSteps = 400_000
)

var (
	ownRules = subject{field: "policy/runtime", input: "the pod"}
	podRules = subject{field: "spec.runtime.extraRules", input: "the pod"}
	// extraBudget is for added rules: there is a request that waits.
	extraBudget = Budget{Time: time.Second, Steps: 200_000, Size: 16 << 20}
)

// Pods are the rules for pods, compiled. They may be used concurrently.
type Pods struct {
	own, extra program
	// names of our rules.
	names []string
}

// ownPods are our rules. They are compiled once: those of a ConfigMap don't see them, nor the other way round.
var ownPods = sync.OnceValues(func() (own Pods, err error) {
	files, err := fs.Glob(policy.Runtime, "runtime/*.rego")
	if err != nil {
		return own, fmt.Errorf("listing the rules for pods: %w", err)
	}
	modules := map[string]*ast.Module{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		source, err := policy.Runtime.ReadFile(file)
		if err != nil {
			return own, fmt.Errorf("reading the rules for pods: %w", err)
		}
		if modules[file], err = ownRules.parse(Module{Name: file, Source: string(source)}); err != nil {
			return own, err
		}
		own.names = append(own.names, namesIn(modules[file])...)
	}
	compiler, found, err := ownRules.compile(modules)
	if err != nil {
		return own, err
	}
	own.own = ownRules.program(compiler, add(nil, found[0]))
	return own, nil
})

// namesIn are those that the rules of a module give to their findings: deny contains finding("name", …).
func namesIn(module *ast.Module) (names []string) {
	for _, r := range module.Rules {
		if r.Head.Key == nil {
			continue
		}
		if call, ok := r.Head.Key.Value.(ast.Call); ok && len(call) > 1 {
			names = append(names, text(call[1]))
		}
	}
	return names
}

// CompilePods compiles our rules for pods, and those of a ConfigMap. An error is a *pipeline.Terminal with reason
// PolicyInvalid that names the module, the line and the fix.
func CompilePods(extra []Module) (*Pods, error) {
	own, err := ownPods()
	if err != nil {
		return nil, err
	}
	p := &own
	if len(extra) > 0 {
		p.extra, err = podRules.compileAdded(extra, reserved)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// compileAdded compiles modules that have only rules that refuse.
func (s subject) compileAdded(extra []Module, reserved []string) (p program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = program{}, s.invalid("the rules can't be compiled: %v: simplify them", r)
		}
	}()
	if err := s.bounded(extra); err != nil {
		return p, err
	}
	modules := map[string]*ast.Module{}
	for _, m := range extra {
		if modules[m.Name], err = s.parseTeam(m, reserved); err != nil {
			return p, err
		}
	}
	compiler, found, err := s.compile(modules)
	if err != nil {
		return p, err
	}
	var rules []rule
	for _, r := range found {
		if r.severity == Warn {
			return p, s.invalid("the rule %s would not be run: there are no warnings here, begin its name with deny", r.id)
		}
		rules = add(rules, r)
	}
	return s.program(compiler, rules), s.some(rules)
}

// Rules lists the names of all rules.
func (p *Pods) Rules() []string {
	names := append([]string{ruleSize}, p.names...)
	for _, r := range p.extra.rules {
		names = append(names, r.id)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Evaluate returns what the rules find in a pod, sorted, and bounded in number and size. An error means that nothing is known: it
// is a *pipeline.Terminal with reason PolicyInvalid if an added rule can't be evaluated, and with PolicyBudgetExceeded if
// rules take too much; the error of ctx if that ended first.
func (p *Pods) Evaluate(ctx context.Context, q PodQuestion) ([]PodFinding, error) {
	in, err := q.input()
	if err != nil {
		return nil, fmt.Errorf("judging a pod: %w", err)
	}
	if f, ok := in.tooLarge(); ok {
		return []PodFinding{f}, nil
	}
	findings, err := p.judge(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(p.extra.rules) > 0 {
		added, err := p.added(ctx, in)
		if err != nil {
			return nil, err
		}
		findings = append(findings, added...)
	}
	return tidyPod(findings), nil
}

// judge asks our rules.
func (p *Pods) judge(ctx context.Context, in *podInput) (all []PodFinding, err error) {
	limit := &patience{steps: ownSteps, done: ctx.Done()}
	err = guarded(func() error {
		return p.own.ask(p.own.query(limit, in.value()).WithStore(noData{}), func(_ rule, v ast.Value) error {
			f, err := ownFinding(v)
			all = append(all, f)
			return err
		})
	})
	if ctx.Err() != nil {
		return nil, fmt.Errorf("judging a pod: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// added asks the rules of a ConfigMap, which see the whole pod.
func (p *Pods) added(ctx context.Context, in *podInput) ([]PodFinding, error) {
	if err := podRules.room(); err != nil {
		return nil, err
	}
	// Made here: what is left behind must not read what belongs to the caller.
	var input ast.Value
	err := guarded(func() error {
		err := in.all()
		input = in.value()
		return err
	})
	if err != nil {
		return nil, err
	}
	found := new([]PodFinding)
	err = podRules.within(ctx, extraBudget, func(m *meter) error {
		return p.extra.ask(p.extra.query(m, input).WithStore(noData{}), func(r rule, v ast.Value) error {
			f, err := podRules.podFinding(r, v)
			*found = append(*found, f)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return *found, nil
}
