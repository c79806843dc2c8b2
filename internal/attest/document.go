package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
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
	w := walker{json.NewDecoder(bytes.NewReader(document))}
	w.UseNumber()
	return w.value(0)
}

// walker looks at each value of valid JSON.
type walker struct{ *json.Decoder }

func (w walker) value(depth int) error {
	token, err := w.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		return w.composite(t, depth+1)
	case json.Number:
		if _, err := strconv.ParseFloat(t.String(), 64); err != nil {
			return fmt.Errorf("the number %.30s is too large for a float", t)
		}
	}
	return nil
}

// composite reads an object or an array, whose opening has been read.
func (w walker) composite(opened json.Delim, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it has more than %d levels", maxDepth)
	}
	seen := map[string]bool{}
	for w.More() {
		if opened == '{' {
			name, err := w.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string)
			if seen[text] {
				return fmt.Errorf("it has the name %.100q twice in one object", text)
			}
			seen[text] = true
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	_, err := w.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
