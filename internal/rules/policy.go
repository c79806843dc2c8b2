// Package rules judges Dockerfiles, pods and attestations with Rego: with the rules of package policy, and with those that
// others add. The rules have no network, no clock and no environment, and evaluating them is bounded, since anybody who may
// write a ConfigMap writes them.
package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/ibshafique/base-images/policy"
)

const (
	// MaxModules is the largest number of modules that a team may add.
	MaxModules = 16
	// MaxModuleSize is the largest module, in bytes.
	MaxModuleSize = 64 << 10
	// MaxSize is the largest sum of modules, in bytes.
	MaxSize = 256 << 10
	// MaxRules is the largest number of rules that a team may add.
	MaxRules = 100
	// maxName bounds the names of modules, packages and rules, which appear in messages.
	maxName = 128
	// maxDepth bounds how deep a module may be nested, in calls of the parser, of which a bracket takes about ten.
	// What comes after the parser is recursive too, and a stack that overflows ends the process.
	maxDepth = 2000
)

// basePackage is what the rules of everybody are in.
const basePackage = "main"

// reserved are packages that a team's module can't be in, nor below: our rules, what they are told, and what conftest
// and OPA keep for themselves.
var reserved = []string{basePackage, "basewright", "conftest", "system"}

// Module is a team's file of rules: a key of a ConfigMap.
type Module struct {
	Name, Source string
}

// Policy is the rules of everybody and of a team, compiled. It may be used concurrently.
type Policy struct {
	base, team program
	budget     Budget
}

// rule is a set of findings with a name.
type rule struct {
	id       string
	severity Severity
	ref      ast.Ref
}

// Compile compiles the rules of everybody together with the modules of a team. An error is a *pipeline.Terminal with
// reason PolicyInvalid that names the module, the line and the fix.
func Compile(extra []Module) (*Policy, error) {
	if len(extra) == 0 {
		return baseOnly()
	}
	return compileWith(extra)
}

// baseOnly is compiled once: most images add nothing.
var baseOnly = sync.OnceValues(func() (*Policy, error) { return compileWith(nil) })

func compileWith(extra []Module) (p *Policy, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, dockerfiles.invalid("the rules can't be compiled: %v: simplify them", r)
		}
	}()
	if err := dockerfiles.bounded(extra); err != nil {
		return nil, err
	}
	base, err := dockerfiles.parse(Module{Name: "base.rego", Source: policy.Base})
	if err != nil {
		return nil, err
	}
	modules := map[string]*ast.Module{"base.rego": base}
	for _, m := range extra {
		if modules[teamPrefix+m.Name], err = dockerfiles.parseTeam(m, reserved); err != nil {
			return nil, err
		}
	}
	return compile(modules, len(extra) > 0)
}

// teamPrefix keeps the names of a team's modules apart from ours.
const teamPrefix = "extraRules/"

// Rules lists the names of the rules, which exceptions use.
func (p *Policy) Rules() []string {
	var names []string
	for _, r := range slices.Concat(p.base.rules, p.team.rules) {
		names = append(names, r.id)
	}
	return names
}

func (s subject) bounded(extra []Module) error {
	if len(extra) > MaxModules {
		return s.invalid("there are %d modules, at most %d are allowed: put rules together", len(extra), MaxModules)
	}
	total, seen := 0, map[string]bool{}
	for _, m := range extra {
		total += len(m.Source)
		switch {
		case m.Name == "" || len(m.Name) > maxName:
			return s.invalid("%.40q is not a name of a module: use 1 to %d characters", m.Name, maxName)
		case seen[m.Name]:
			return s.invalid("there are two modules %s: rename one", m.Name)
		case len(m.Source) > MaxModuleSize:
			return s.invalid("%s has %d bytes, at most %d are allowed: split it", m.Name, len(m.Source), MaxModuleSize)
		}
		seen[m.Name] = true
	}
	if total > MaxSize {
		return s.invalid("the modules have %d bytes together, at most %d are allowed: remove some", total, MaxSize)
	}
	return nil
}

// parse parses twice: only the first way has a limit for nesting, only the second makes a module.
func (s subject) parse(m Module) (*ast.Module, error) {
	_, _, errs := ast.NewParser().WithFilename(m.Name).WithReader(strings.NewReader(m.Source)).
		WithRegoVersion(ast.RegoV1).WithCapabilities(capabilities).WithMaxRecursionDepth(maxDepth).Parse()
	if len(errs) > 0 {
		return nil, s.broken(errs)
	}
	parsed, err := ast.ParseModuleWithOpts(m.Name, m.Source, ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities})
	if err != nil {
		return nil, s.broken(err)
	}
	return parsed, nil
}

// parseTeam adds what only a team's module has to be told.
func (s subject) parseTeam(m Module, reserved []string) (*ast.Module, error) {
	parsed, err := s.parse(m)
	if err != nil {
		return nil, err
	}
	path := strings.TrimPrefix(parsed.Package.Path.String(), "data.")
	if !packageName.MatchString(path) || len(path) > maxName {
		return nil, s.invalid("%s: %.60q is not a good name of a package: use letters, digits, underscores and dots, for example package team.labels", m.Name, path)
	}
	if first, _, _ := strings.Cut(path, "."); slices.Contains(reserved, first) {
		return nil, s.invalid("%s: the package %s is not for added rules: choose another, for example package team.labels", m.Name, path)
	}
	return parsed, nil
}

var packageName = regexp.MustCompile(`^[A-Za-z]\w*(?:\.[A-Za-z]\w*)*$`)

func compile(modules map[string]*ast.Module, extra bool) (*Policy, error) {
	compiler, rules, err := dockerfiles.compile(modules)
	if err != nil {
		return nil, err
	}
	var base, team []rule
	for _, r := range rules {
		if name, ok := strings.CutPrefix(r.id, basePackage+"."); ok {
			r.id = name
			base = add(base, r)
		} else {
			team = add(team, r)
		}
	}
	if extra {
		if err := dockerfiles.some(team); err != nil {
			return nil, err
		}
	}
	return &Policy{base: dockerfiles.program(compiler, base), team: dockerfiles.program(compiler, team), budget: defaultBudget}, nil
}

// some: rules without any that is run are no policy, and too many are too much.
func (s subject) some(rules []rule) error {
	if len(rules) == 0 {
		return s.invalid("no module has a rule: write one as: deny_x contains msg if { ... }")
	}
	if len(rules) > MaxRules {
		return s.invalid("there are %d rules, at most %d are allowed: remove some", len(rules), MaxRules)
	}
	return nil
}

// compile compiles modules, which the compiler changes, and finds the rules in them that are run.
func (s subject) compile(modules map[string]*ast.Module) (*ast.Compiler, []rule, error) {
	compiler := ast.NewCompiler().WithCapabilities(capabilities).WithStrict(true).WithEnablePrintStatements(false)
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, nil, s.broken(compiler.Errors)
	}
	var all []rule
	for _, file := range slices.Sorted(maps.Keys(compiler.Modules)) {
		found, err := s.collect(file, compiler.Modules[file])
		if err != nil {
			return nil, nil, err
		}
		all = append(all, found...)
	}
	return compiler, all, nil
}

// collect returns the rules of a module, one as often as it has bodies.
func (s subject) collect(file string, module *ast.Module) (all []rule, err error) {
	for _, r := range module.Rules {
		if nests(r) {
			return nil, s.invalid("%s line %d: the rule nests values in values too often: use functions, or fewer variables", strings.TrimPrefix(file, teamPrefix), r.Loc().Row)
		}
		name, severity, err := verdictOf(r)
		if err != nil {
			return nil, s.invalid("%s line %d: %w", strings.TrimPrefix(file, teamPrefix), r.Loc().Row, err)
		}
		if severity != "" {
			path := strings.TrimPrefix(module.Package.Path.String(), "data.")
			all = append(all, rule{id: path + "." + name, severity: severity, ref: module.Package.Path.Append(ast.StringTerm(name))})
		}
	}
	return all, nil
}

// add keeps rules apart: one name may have several bodies.
func add(rules []rule, r rule) []rule {
	if slices.ContainsFunc(rules, func(other rule) bool { return other.id == r.id }) {
		return rules
	}
	return append(rules, r)
}

// These are the names that conftest runs.
var (
	denies  = regexp.MustCompile(`^(?:deny|violation)(?:_[a-zA-Z0-9]+)*$`)
	warns   = regexp.MustCompile(`^warn(?:_[a-zA-Z0-9]+)*$`)
	similar = regexp.MustCompile(`^(?:deny|violation|warn)(?:_|$)`)
)

// verdictOf returns the name of a rule and how severe its findings are, or no severity if it is none that is run. What
// looks like one and would never be run is an error.
func verdictOf(r *ast.Rule) (string, Severity, error) {
	ref := r.Head.Ref()
	name := strings.Trim(ref[0].Value.String(), `"`)
	if !similar.MatchString(name) {
		return "", "", nil
	}
	severity := Warn
	if denies.MatchString(name) {
		severity = Deny
	}
	switch {
	case len(name) > maxName:
		return "", "", fmt.Errorf("the name %.40q… is too long: use at most %d characters", name, maxName)
	case !denies.MatchString(name) && !warns.MatchString(name):
		return "", "", fmt.Errorf("the rule %s would not be run: use letters and digits with single underscores between them", name)
	case len(ref) != 1 || r.Head.RuleKind() != ast.MultiValue:
		return "", "", fmt.Errorf("the rule %s is not a set: write it as %s contains msg if { ... }", name, name)
	}
	return name, severity, nil
}
