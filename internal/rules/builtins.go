package rules

import (
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// allowed are the functions that rules may call. It is a list of what is there, and not of what is not: what OPA adds
// in a later version has to be looked at first. Nothing here talks to a network, reads a clock, a file or the
// environment, or rolls dice: the same Dockerfile has the same findings tomorrow.
var allowed = strings.Fields(`
	eq equal neq lt lte gt gte assign internal.member_2 internal.member_3 internal.template_string
	abs ceil floor round plus minus mul div rem numbers.range
	count sum max min sort all any
	array.concat array.reverse array.slice
	and or set_diff intersection union
	object.filter object.get object.keys object.remove object.subset object.union object.union_n
	concat contains endswith startswith format_int indexof indexof_n lower upper replace split sprintf substring
	strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse
	trim trim_left trim_prefix trim_right trim_space trim_suffix
	regex.match regex.is_valid regex.split regex.find_n regex.find_all_string_submatch_n regex.replace
	glob.match glob.quote_meta semver.compare semver.is_valid units.parse units.parse_bytes
	json.marshal json.unmarshal json.is_valid yaml.unmarshal yaml.is_valid base64.decode base64.is_valid uri.parse uri.is_valid
	is_array is_boolean is_null is_number is_object is_set is_string type_name to_number
	graph.reachable walk print
`)

var capabilities = restricted()

// restricted are the capabilities of this OPA with only the allowed functions, and without hosts.
func restricted() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(allowed, b.Name) })
	c.AllowNet = []string{}
	return c
}

// OPA looks functions up in a table of the process and counts nothing, so the allowed ones are replaced by some that
// do. They behave as before where an evaluation has no meter.
func init() {
	for _, name := range allowed {
		if f := topdown.GetBuiltin(name); f != nil {
			topdown.RegisterBuiltinFunc(name, metered(name, f))
			// Only with a context does a function see the meter.
			ast.BuiltinMap[name].CanSkipBctx = false
		}
	}
}

// metered charges a call before it is made, for what it may make, and after it, for what it made.
func metered(name string, f topdown.BuiltinFunc) topdown.BuiltinFunc {
	estimate := estimates[name]
	if estimate == nil {
		estimate = deep
	}
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		m, ok := bctx.Cancel.(*meter)
		if !ok {
			return f(bctx, operands, iter)
		}
		if !m.allows(estimate(operands)) {
			return topdown.Halt{Err: errMeter}
		}
		return f(bctx, operands, func(result *ast.Term) error {
			if !m.charge(shallow(result.Value)) {
				return topdown.Halt{Err: errMeter}
			}
			return iter(result)
		})
	}
}

// estimates say how many bytes or elements a call may make or look at, where that is not the size of its operands.
var estimates = map[string]func([]*ast.Term) int{
	"concat": joined, "replace": replaced, "strings.replace_n": replacedAll, "regex.replace": replacedRegex,
	"sprintf": formatted, "numbers.range": ranged,
	// These take the same time however large their operands are.
	"count": free, "object.get": free, "walk": free, "type_name": free,
	"is_array": free, "is_boolean": free, "is_null": free, "is_number": free, "is_object": free, "is_set": free, "is_string": free,
}

func free([]*ast.Term) int { return 0 }

// deep is the size of operands written out, or a little more than the largest that is allowed. A value that is used
// twice counts twice: forty lines can nest what would take terabytes.
func deep(operands []*ast.Term) int {
	left := maxOperands
	for _, o := range operands {
		left = walked(o.Value, left)
	}
	return maxOperands - left
}

func walked(v ast.Value, left int) int {
	left -= 1 + shallow(v)
	visit := func(t *ast.Term) {
		if left > 0 {
			left = walked(t.Value, left)
		}
	}
	switch v := v.(type) {
	case *ast.Array:
		v.Foreach(visit)
	case ast.Set:
		v.Foreach(visit)
	case ast.Object:
		v.Foreach(func(key, value *ast.Term) { visit(key); visit(value) })
	}
	return left
}

// shallow is the size of a value without what it contains.
func shallow(v ast.Value) int {
	switch v := v.(type) {
	case ast.String:
		return len(v)
	case ast.Number:
		return digits(v)
	case *ast.Array:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.Object:
		return v.Len()
	}
	return 0
}

// maxDigits is the largest number that a function may take or make.
const maxDigits = 1000

func digits(n ast.Number) int {
	if len(n) > maxDigits {
		return maxOperands + 1
	}
	return len(n)
}

func text(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// joined: the separator stands between all of them.
func joined(operands []*ast.Term) int {
	return deep(operands) + shallow(operands[1].Value)*len(text(operands[0]))
}

func replaced(operands []*ast.Term) int {
	s, old, with := text(operands[0]), text(operands[1]), text(operands[2])
	return len(s) + strings.Count(s, old)*len(with)
}

func replacedAll(operands []*ast.Term) int {
	longest := 0
	if patterns, ok := operands[0].Value.(ast.Object); ok {
		patterns.Foreach(func(_, with *ast.Term) { longest = max(longest, len(text(with))) })
	}
	return deep(operands) + (len(text(operands[1]))+1)*longest
}

func replacedRegex(operands []*ast.Term) int {
	s, with := text(operands[0]), text(operands[2])
	return (len(s)+1)*(1+len(with)) + len(s)*strings.Count(with, "$")
}

// wide matches a width or a precision that makes much of little.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*(?:\d{4}|\*)`)

// formatted: every verb may write every argument.
func formatted(operands []*ast.Term) int {
	format := text(operands[0])
	if wide.MatchString(format) {
		return maxOperands + 1
	}
	return len(format) + strings.Count(format, "%")*(1000+deep(operands[1:]))
}

func ranged(operands []*ast.Term) int {
	first, ok := machine(operands[0])
	last, also := machine(operands[1])
	if !ok || !also {
		return maxOperands + 1
	}
	return max(first-last, last-first, 0)
}

func machine(t *ast.Term) (int, bool) {
	n, ok := t.Value.(ast.Number)
	if !ok {
		return 0, false
	}
	return n.Int()
}
