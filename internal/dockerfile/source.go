package dockerfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
)

// copyFlag is the flag of COPY that names an image.
const copyFlag = "--from="

// source maps instructions, which the parser joins over several lines, to bytes.
type source struct {
	content []byte
	starts  []int // offset of each line
	escape  byte
}

func newSource(content []byte, escape byte) *source {
	s := &source{content: content, escape: escape}
	for at := 0; at < len(content); {
		s.starts = append(s.starts, at)
		next := bytes.IndexByte(content[at:], '\n')
		if next < 0 {
			break
		}
		at += next + 1
	}
	return s
}

// locate returns the bytes of a reference: the word of FROM, or the whole flag of COPY.
func (s *source) locate(r *reference) (start, end int, err error) {
	text, offsets := s.instruction(r.node.StartLine)
	if text != r.node.Original {
		return 0, 0, fmt.Errorf("line %d: the instruction could not be found in the source", r.node.StartLine)
	}
	from, to, ok := s.find(text, r)
	if !ok {
		return 0, 0, fmt.Errorf("line %d: %q could not be found in the instruction", r.node.StartLine, r.written)
	}
	return offsets[from], offsets[to-1] + 1, nil
}

// instruction joins the lines of the instruction that starts at a line, as the parser
// does, and returns the offset of each of its bytes.
func (s *source) instruction(line int) (string, []int) {
	var text []byte
	var offsets []int
	for i := line - 1; i >= 0 && i < len(s.starts); i++ {
		start, end := s.line(i)
		if i == line-1 {
			start = end - len(bytes.TrimLeftFunc(s.content[start:end], unicode.IsSpace))
		} else if skipped(s.content[start:end]) {
			continue
		}
		kept, more := s.continued(s.content[start:end])
		for j := range kept {
			text = append(text, s.content[start+j])
			offsets = append(offsets, start+j)
		}
		if !more {
			break
		}
	}
	return string(text), offsets
}

// line returns the bounds of a line without its end, and without a byte order mark.
func (s *source) line(i int) (start, end int) {
	start, end = s.starts[i], len(s.content)
	if i+1 < len(s.starts) {
		end = s.starts[i+1]
	}
	if i == 0 {
		start += len(s.content[start:end]) - len(bytes.TrimPrefix(s.content[start:end], []byte("\xef\xbb\xbf")))
	}
	return start, start + len(bytes.TrimRight(s.content[start:end], "\r\n"))
}

// skipped says whether a line inside an instruction is a comment or empty.
func skipped(line []byte) bool {
	line = bytes.TrimLeftFunc(line, unicode.IsSpace)
	return len(line) == 0 || line[0] == '#'
}

// continued returns how many bytes of a line count, and whether the instruction goes on.
func (s *source) continued(line []byte) (int, bool) {
	trimmed := bytes.TrimRight(line, " \t")
	last := len(trimmed) - 1
	if last < 0 || trimmed[last] != s.escape || last > 0 && trimmed[last-1] == s.escape {
		return len(line), false
	}
	return last, true
}

// find returns the bounds of a reference in the text of its instruction.
func (s *source) find(text string, r *reference) (start, end int, ok bool) {
	at := wordEnd(text, 0)
	for {
		at = skipSpace(text, at)
		if !strings.HasPrefix(text[at:], "--") {
			break
		}
		end, value := s.flag(text, at)
		if r.kind == copyFrom && value == copyFlag+r.written {
			return at, end, true
		}
		at = end
	}
	end = wordEnd(text, at)
	return at, end, r.kind == fromBase && text[at:end] == r.written
}

// flag reads a flag at a position: it ends at a space outside quotes.
func (s *source) flag(text string, at int) (end int, value string) {
	var b strings.Builder
	var quote byte
	for ; at < len(text); at++ {
		c := text[at]
		switch {
		case c == s.escape && at+1 < len(text):
			at++
			b.WriteByte(text[at])
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && unicode.IsSpace(rune(c)):
			return at, b.String()
		default:
			b.WriteByte(c)
		}
	}
	return at, b.String()
}

// wordEnd returns where the word at a position ends.
func wordEnd(text string, at int) int {
	if n := strings.IndexAny(text[at:], "\t\v\f\r "); n >= 0 {
		return at + n
	}
	return len(text)
}

// skipSpace returns the position of the next word.
func skipSpace(text string, at int) int {
	for at < len(text) && unicode.IsSpace(rune(text[at])) {
		at++
	}
	return at
}
