package rules

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// maxNesting is the largest value, in elements, that one rule may write with variables.
const maxNesting = 10_000

// nests says whether a rule writes a value that is many times larger than the text: x1 := [x0, x0] and so on. OPA copies
// such values without asking whether to go on, so that no budget ends it. Between rules, and between a function and what
// calls it, values are shared instead, and cost nothing.
func nests(r *ast.Rule) bool {
	n := nesting{same: map[ast.Var]ast.Var{}, parts: map[ast.Var][]ast.Var{}, sizes: map[ast.Var]int{}}
	var pairs [][2]*ast.Term
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		if e.IsEquality() {
			pairs = append(pairs, [2]*ast.Term{e.Operand(0), e.Operand(1)})
		}
		return false
	})
	// Names of one value come first: what is in it must be known by one of them.
	for _, p := range pairs {
		n.equate(p[0], p[1], n.alias)
	}
	for _, p := range pairs {
		n.equate(p[0], p[1], n.compose)
	}
	for v := range n.parts {
		if n.size(v) > maxNesting {
			return true
		}
	}
	return false
}

type nesting struct {
	// same leads from a variable to another with the same value.
	same map[ast.Var]ast.Var
	// parts are the variables in the value of a variable, as often as they are in it.
	parts map[ast.Var][]ast.Var
	sizes map[ast.Var]int
}

// equate gives the variables of an equation, and what they are equal to, to f.
func (n *nesting) equate(a, b *ast.Term, f func(ast.Var, *ast.Term)) {
	if v, ok := a.Value.(ast.Var); ok {
		f(v, b)
		return
	}
	if v, ok := b.Value.(ast.Var); ok {
		f(v, a)
		return
	}
	switch x := a.Value.(type) {
	case *ast.Array:
		if y, ok := b.Value.(*ast.Array); ok && x.Len() == y.Len() {
			for i := range x.Len() {
				n.equate(x.Elem(i), y.Elem(i), f)
			}
		}
	case ast.Object:
		if y, ok := b.Value.(ast.Object); ok {
			x.Foreach(func(key, value *ast.Term) {
				if other := y.Get(key); other != nil {
					n.equate(value, other, f)
				}
			})
		}
	}
}

func (n *nesting) alias(v ast.Var, t *ast.Term) {
	if other, ok := t.Value.(ast.Var); ok && n.root(v) != n.root(other) {
		n.same[n.root(v)] = n.root(other)
	}
}

func (n *nesting) root(v ast.Var) ast.Var {
	for {
		next, ok := n.same[v]
		if !ok {
			return v
		}
		v = next
	}
}

func (n *nesting) compose(v ast.Var, t *ast.Term) {
	switch t.Value.(type) {
	case *ast.Array, ast.Object, ast.Set:
		ast.WalkVars(t, func(part ast.Var) bool {
			n.parts[n.root(v)] = append(n.parts[n.root(v)], n.root(part))
			return false
		})
	}
}

// size is how many elements a value has when it is written out. What would be in itself has no size.
func (n *nesting) size(v ast.Var) int {
	if known, ok := n.sizes[v]; ok {
		return known
	}
	n.sizes[v] = maxNesting + 1
	size := 1
	for _, part := range n.parts[v] {
		size = min(size+n.size(part), maxNesting+1)
	}
	n.sizes[v] = size
	return size
}
