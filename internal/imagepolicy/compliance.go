package imagepolicy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

const (
	// maxCompliance is the largest module of a ClusterImagePolicy.
	maxCompliance = 32 << 10
	// maxNesting is in calls of the parser, of which a bracket takes about ten.
	maxNesting = 2000
)

// compliance makes of a module of policy-controller, whose rule isCompliant says true, one whose rules say what is wrong. Its language
// is the older one of Rego, which is translated.
func compliance(source string) (string, error) {
	if len(source) > maxCompliance {
		return "", fmt.Errorf("it has %d bytes, at most %d are allowed", len(source), maxCompliance)
	}
	module, options, err := parse(source)
	if err != nil {
		return "", fmt.Errorf("it is no module of Rego: %s", truncate(oneLine(err.Error()), maxProblem))
	}
	if err := conforms(module); err != nil {
		return "", err
	}
	translated, err := format.SourceWithOpts("policy.rego", []byte(source), format.Opts{RegoVersion: ast.RegoV1, ParserOptions: &options})
	if err != nil {
		return "", fmt.Errorf("it can't be translated to Rego v1: %s", oneLine(err.Error()))
	}
	return string(translated) + "\ndeny_isCompliant contains \"data.sigstore.isCompliant is not true\" if not isCompliant == true\n", nil
}

// parse tries the newer language first, which a module of both is in. Only the first of the parsers has a limit for nesting.
func parse(source string) (module *ast.Module, options ast.ParserOptions, err error) {
	_, _, errs := ast.NewParser().WithFilename("policy.rego").WithReader(strings.NewReader(source)).
		WithRegoVersion(ast.RegoV0).WithMaxRecursionDepth(maxNesting).Parse()
	if slices.ContainsFunc(errs, func(e *ast.Error) bool { return strings.Contains(e.Message, "recursion") }) {
		return nil, options, errs
	}
	for _, version := range []ast.RegoVersion{ast.RegoV1, ast.RegoV0} {
		options.RegoVersion = version
		if module, err = ast.ParseModuleWithOpts("policy.rego", source, options); err == nil {
			return module, options, nil
		}
	}
	return nil, options, err
}

// conforms reports what policy-controller would not find, or what says more than true.
func conforms(module *ast.Module) error {
	if path := module.Package.Path.String(); path != "data.sigstore" {
		return fmt.Errorf("its package is %s: write package sigstore", strings.TrimPrefix(path, "data."))
	}
	found := false
	for _, r := range module.Rules {
		if r.Head.Ref()[0].Value.Compare(ast.Var("isCompliant")) != 0 {
			continue
		}
		found = true
		if len(r.Head.Ref()) != 1 || r.Head.RuleKind() != ast.SingleValue || len(r.Head.Args) > 0 {
			return errors.New("isCompliant is not true or false: sets of results are not supported")
		}
	}
	if !found {
		return errors.New("it has no rule isCompliant")
	}
	return nil
}
