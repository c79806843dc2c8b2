package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxDocument is the largest document that a statement is made of; what is signed has a limit of its own, which can't
	// be set higher.
	maxDocument = 64 << 20
	// maxDepth of a document. Documents of scanners have about ten levels, and some verifiers give up at a hundred, of
	// which the statement needs a few.
	maxDepth = 64
)

// checked refuses a document that verifiers read in different ways or not at all, because a signature would be the last
// thing that could be done with it: only JSON objects, in UTF-8, where no name comes twice in one object, with strings
// that are text and numbers that fit a float.
func checked(what string, document []byte) error {
	if len(document) > maxDocument {
		return pipeline.Terminalf(pipeline.ReasonAttestationTooLarge, "attesting %s: it has %d bytes, at most %d can be attested", what, len(document), maxDocument)
	}
	if err := check(document); err != nil {
		return invalid(what, err)
	}
	return nil
}

func invalid(what string, err error) error {
	return pipeline.Terminalf(pipeline.ReasonReportInvalid, "attesting %s: %w", what, err)
}

func check(document []byte) error {
	switch {
	case !utf8.Valid(document):
		return errors.New("it is not in UTF-8")
	case !json.Valid(document):
		return errors.New("it is not JSON")
	case bytes.TrimLeft(document, " \t\r\n")[0] != '{':
		return errors.New("it must be a JSON object")
	case loneSurrogate(document):
		return errors.New(`it has half of a character: a \u escape of a surrogate without the other`)
	}
	return walk(string(document))
}

// walker looks at each name and number of valid JSON. A report has millions of them, of which it copies none.
type walker struct {
	text  string
	at    int
	depth int
	// names of the objects that are open, by depth.
	names [maxDepth + 1]map[string]struct{}
}

func walk(text string) error {
	w := walker{text: text}
	for w.at < len(text) {
		if err := w.token(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) token() error {
	switch c := w.text[w.at]; {
	case c == '{', c == '[':
		return w.open()
	case c == '"':
		return w.word()
	case c == '-', c >= '0' && c <= '9':
		return w.number()
	case c == '}', c == ']':
		w.depth--
	}
	w.at++
	return nil
}

// manyNames are more than a map is emptied of, which takes as long as it ever was.
const manyNames = 64

func (w *walker) open() error {
	if w.depth == maxDepth {
		return fmt.Errorf("it has more than %d levels", maxDepth)
	}
	w.at++
	w.depth++
	if len(w.names[w.depth]) > manyNames || w.names[w.depth] == nil {
		w.names[w.depth] = map[string]struct{}{}
	}
	clear(w.names[w.depth])
	return nil
}

// word reads a string. One before a colon is a name.
func (w *walker) word() error {
	end := w.at + 1
	for ; w.text[end] != '"'; end++ {
		if w.text[end] == '\\' {
			end++
		}
	}
	quoted := w.text[w.at : end+1]
	w.at = end + 1
	if !strings.HasPrefix(strings.TrimLeft(w.text[w.at:], " \t\r\n"), ":") {
		return nil
	}
	name, err := unquoted(quoted)
	if err != nil {
		return err
	}
	names := w.names[w.depth]
	if _, again := names[name]; again {
		return fmt.Errorf("it has the name %.100q twice in one object", name)
	}
	names[name] = struct{}{}
	return nil
}

func unquoted(quoted string) (string, error) {
	if !strings.Contains(quoted, `\`) {
		return quoted[1 : len(quoted)-1], nil
	}
	var text string
	err := json.Unmarshal([]byte(quoted), &text)
	return text, err
}

func (w *walker) number() error {
	rest := strings.TrimLeft(w.text[w.at:], "+-.0123456789eE")
	number := w.text[w.at : len(w.text)-len(rest)]
	w.at += len(number)
	if _, err := strconv.ParseFloat(number, 64); err != nil {
		return fmt.Errorf("the number %.30s is too large for a float", number)
	}
	return nil
}

// loneSurrogate reports whether valid JSON escapes one half of a character: parsers put different things in its place.
func loneSurrogate(document []byte) bool {
	for {
		i := bytes.IndexByte(document, '\\')
		if i < 0 {
			return false
		}
		document = document[i:]
		first, ok := escaped(document)
		if !ok || !utf16.IsSurrogate(first) {
			document = document[2:] // A backslash is one of two characters at least; digits have none.
			continue
		}
		second, _ := escaped(document[6:])
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		document = document[12:]
	}
}

// escaped is the character of \uXXXX at the beginning.
func escaped(at []byte) (rune, bool) {
	if len(at) < 6 || at[0] != '\\' || at[1] != 'u' {
		return 0, false
	}
	r, err := strconv.ParseUint(string(at[2:6]), 16, 32)
	return rune(r), err == nil
}
