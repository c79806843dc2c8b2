package imagepolicy

import (
	"regexp"
	"regexp/syntax"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unrelated have nothing in common: what matches all of them matches whatever somebody may think of.
var unrelated = []string{"x", "https://attacker.example/a/b@refs/heads/c", "spiffe://d/e", "f@g.example"}

// expression warns of one that lets in more than people think. everything says what that means if it lets in all.
func (w *warnings) expression(at *field.Path, source, everything string) {
	whole, err := regexp.Compile("^(?:" + source + ")$")
	if err != nil {
		return
	}
	shown := truncate(source, maxShown)
	if !slices.ContainsFunc(unrelated, func(s string) bool { return !whole.MatchString(s) }) {
		w.add(at, "%q matches everything: %s", shown, everything)
		return
	}
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return
	}
	if bareDot(tree) {
		w.add(at, `%q has a dot that stands for any character: write \. for a dot`, shown)
	}
	if open(tree, first) {
		w.add(at, "%q has an open beginning: whoever controls a name that ends so may sign: write out how it begins", shown)
	}
	if open(tree, last) {
		w.add(at, "%q has an open end: whatever follows may sign, another repository, workflow or branch: write it out, for example up to @refs/heads/main", shown)
	}
}

// bareDot reports whether a dot stands for one character. A dot with *, + or ? is meant.
func bareDot(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		if inner := re.Sub[0]; inner.Op == syntax.OpAnyChar || inner.Op == syntax.OpAnyCharNotNL {
			return false
		}
	}
	return slices.ContainsFunc(re.Sub, bareDot)
}

// end picks what an expression begins or ends with.
type end func([]*syntax.Regexp) *syntax.Regexp

func first(subs []*syntax.Regexp) *syntax.Regexp {
	for _, sub := range subs {
		if !isAnchor(sub) {
			return sub
		}
	}
	return subs[0]
}

func last(subs []*syntax.Regexp) *syntax.Regexp {
	backwards := slices.Clone(subs)
	slices.Reverse(backwards)
	return first(backwards)
}

func isAnchor(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpEndText, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpEmptyMatch:
		return true
	}
	return false
}

// open reports whether an expression lets any text be at one of its ends.
func open(re *syntax.Regexp, at end) bool {
	switch re.Op {
	case syntax.OpStar, syntax.OpPlus:
		return isBroad(re.Sub[0])
	case syntax.OpRepeat:
		return re.Max < 0 && isBroad(re.Sub[0])
	case syntax.OpCapture:
		return open(re.Sub[0], at)
	case syntax.OpConcat:
		return open(at(re.Sub), at)
	case syntax.OpAlternate:
		return slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return open(sub, at) })
	}
	return false
}

// isBroad: any character, or any but some. [^/] stays within a segment.
func isBroad(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpCapture:
		return isBroad(re.Sub[0])
	case syntax.OpCharClass:
		return has(re.Rune, '/') && has(re.Rune, 'a') && has(re.Rune, 'Z') && has(re.Rune, '-')
	}
	return false
}

// has reports whether a class of characters, which is pairs of first and last, has r.
func has(class []rune, r rune) bool {
	for i := 0; i+1 < len(class); i += 2 {
		if class[i] <= r && r <= class[i+1] {
			return true
		}
	}
	return false
}
