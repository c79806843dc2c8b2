package rules

import "fmt"

const (
	// maxElements, maxNested, maxNumber and maxExponent bound what is in a statement: small elements take a hundred times their
	// text in memory, and numbers can take for ever.
	maxElements = 500_000
	maxNested   = 100
	maxNumber   = 64
	maxExponent = 3
)

// bearable looks at what a text of JSON would become before it becomes that. Whether it is JSON is not asked here.
func bearable(text []byte) error {
	var s size
	for _, c := range text {
		if s.count(c); s.elements > maxElements || s.depth > maxNested || s.digits > maxNumber || s.exponent > maxExponent+1 {
			return s.error()
		}
	}
	return nil
}

// size is what was counted so far.
type size struct {
	elements, depth  int
	digits, exponent int
	quoted, escaped  bool
}

func (s *size) count(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted:
		s.escaped, s.quoted = c == '\\', c != '"'
	default:
		s.number(c)
		s.structure(c)
	}
}

func (s *size) structure(c byte) {
	switch c {
	case '"':
		s.quoted = true
	case '{', '[':
		s.depth++
		s.elements++
	case '}', ']':
		s.depth--
	case ',', ':':
		s.elements++
	}
}

// number counts the characters of a number, and those after its e.
func (s *size) number(c byte) {
	switch {
	case c >= '0' && c <= '9':
		s.digits++
		if s.exponent > 0 {
			s.exponent++
		}
	case (c == 'e' || c == 'E') && s.digits > 0:
		s.exponent = 1
	case c == '.' || c == '+' || c == '-':
		s.digits++
	default:
		s.digits, s.exponent = 0, 0
	}
}

func (s *size) error() error {
	switch {
	case s.depth > maxNested:
		return fmt.Errorf("it is nested deeper than %d", maxNested)
	case s.elements > maxElements:
		return fmt.Errorf("it has more than %d elements", maxElements)
	}
	return fmt.Errorf("it has a number of more than %d digits, or with an exponent of more than %d", maxNumber, maxExponent)
}
