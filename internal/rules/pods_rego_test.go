package rules_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/ibshafique/base-images/policy"
)

// runtimeModules are all modules of policy/runtime, tests among them.
func runtimeModules(t *testing.T) map[string]*ast.Module {
	t.Helper()
	modules := map[string]*ast.Module{}
	files, err := fs.Glob(policy.Runtime, "runtime/*.rego")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := policy.Runtime.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if modules[file], err = ast.ParseModuleWithOpts(file, string(source), ast.ParserOptions{RegoVersion: ast.RegoV1}); err != nil {
			t.Fatal(err)
		}
	}
	return modules
}

func TestTheTestsOfTheRulesForPods(t *testing.T) {
	t.Parallel()
	modules := runtimeModules(t)
	var names []string
	options := []func(*rego.Rego){rego.StrictBuiltinErrors(true)}
	for _, module := range modules {
		for _, r := range module.Rules {
			if name := r.Head.Name.String(); strings.HasPrefix(name, "test_") {
				names = append(names, name)
			}
		}
		options = append(options, rego.ParsedModule(module))
	}
	if len(names) < 10 {
		t.Errorf("there are only %d tests", len(names))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			results, err := rego.New(append(options, rego.Query("data.basewright.runtime."+name))...).Eval(t.Context())
			if err != nil || !results.Allowed() {
				t.Errorf("got %v, %v", results, err)
			}
		})
	}
}

// not f(x.y) is undefined where there is no x.y: a rule that asks so does not fire just where something is missing.
func TestRulesForPodsDoNotNegateFunctionsOfWhatMayBeMissing(t *testing.T) {
	t.Parallel()
	bad, err := ast.ParseModule("bad.rego", "package x\n\na if not startswith(input.b, \"c\")\n\nb if not \"x\" in input.c")
	if err != nil {
		t.Fatal(err)
	}
	if found := negated(bad); len(found) != 2 {
		t.Fatalf("this test finds nothing: %v", found)
	}
	for file, module := range runtimeModules(t) {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		for _, e := range negated(module) {
			t.Errorf("%s: %s: use a function of what holds it", e.Location, e)
		}
	}
}

func negated(module *ast.Module) (all []*ast.Expr) {
	ast.WalkExprs(module, func(e *ast.Expr) bool {
		if !e.Negated || !e.IsCall() || e.Operator().Equal(ast.Equal.Ref()) || e.Operator().Equal(ast.Equality.Ref()) {
			return false
		}
		for _, o := range e.Operands() {
			if _, ok := o.Value.(ast.Ref); ok {
				all = append(all, e)
				break
			}
		}
		return false
	})
	return all
}
