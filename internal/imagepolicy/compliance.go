package imagepolicy

import (
	"errors"
	"fmt"
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
	version, err := versionOf(source)
	if err != nil {
		return "", err
	}
	options := ast.ParserOptions{RegoVersion: version}
	module, err := ast.ParseModuleWithOpts("policy.rego", source, options)
	if err != nil {
		return "", fmt.Errorf("it is no module of Rego: %s", oneLine(err.Error()))
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

// versionOf tries the newer language first, which a module of both is in. Only this parser has a limit for nesting.
func versionOf(source string) (ast.RegoVersion, error) {
	var broken ast.Errors
	for _, version := range []ast.RegoVersion{ast.RegoV1, ast.RegoV0} {
		_, _, errs := ast.NewParser().WithFilename("policy.rego").WithReader(strings.NewReader(source)).
			WithRegoVersion(version).WithMaxRecursionDepth(maxNesting).Parse()
		if len(errs) == 0 {
			return version, nil
		}
		broken = errs
	}
	return 0, fmt.Errorf("it is no module of Rego: %s", oneLine(broken.Error()))
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
