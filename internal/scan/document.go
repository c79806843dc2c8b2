package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxDepth of what is skipped in a report.
const maxDepth = 200

// fields say what reads the value of a field. Other fields are skipped.
type fields map[string]func(*json.Decoder) error

// document reads a JSON document, which is one object, piece by piece: a report may be too large to be held as a whole.
// what names it in errors.
func document(r io.Reader, what string, limit limits.Bytes, known fields) error {
	source := &failingReader{Reader: r}
	limited := &io.LimitedReader{R: source, N: int64(limit) + 1}
	err := whole(json.NewDecoder(limited), known)
	switch {
	case source.err != nil: // Not what was read, but reading is at fault.
		return fmt.Errorf("reading %s: %w", what, source.err)
	case limited.N <= 0:
		return pipeline.Terminalf(pipeline.ReasonReportTooLarge, "%s has more than %s: build something smaller, or raise limits.scan.reportBytes of the operator's configuration", what, limit)
	case err == nil || pipeline.IsTerminal(err):
		return err
	}
	return pipeline.Terminalf(pipeline.ReasonReportInvalid, "%s can't be read: %w", what, err)
}

// failingReader remembers why it could not be read.
type failingReader struct {
	io.Reader
	err error
}

func (r *failingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func whole(dec *json.Decoder, known fields) error {
	if err := object(dec, known); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind its end")
	}
	return nil
}

// object reads an object. A field that comes twice could hide the first one.
func object(dec *json.Decoder, known fields) error {
	if err := want(dec, json.Delim('{')); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v is no name of a field", token)
		}
		read, ok := known[name]
		if !ok {
			read = skip
		}
		if ok && seen[name] {
			return fmt.Errorf("it has two fields %s", name)
		}
		seen[name] = true
		if err := read(dec); err != nil {
			return err
		}
	}
	return want(dec, json.Delim('}'))
}

// list reads an array, each entry by read.
func list(read func(*json.Decoder) error) func(*json.Decoder) error {
	return func(dec *json.Decoder) error {
		if err := want(dec, json.Delim('[')); err != nil {
			return err
		}
		for dec.More() {
			if err := read(dec); err != nil {
				return err
			}
		}
		return want(dec, json.Delim(']'))
	}
}

// value reads a value as a whole.
func value(into any) func(*json.Decoder) error {
	return func(dec *json.Decoder) error { return dec.Decode(into) }
}

func want(dec *json.Decoder, delim json.Delim) error {
	token, err := dec.Token()
	if err != nil {
		return unexpected(err)
	}
	if token != delim {
		return fmt.Errorf("%s was expected, at byte %d", delim, dec.InputOffset())
	}
	return nil
}

func skip(dec *json.Decoder) error {
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			return unexpected(err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		if depth > maxDepth {
			return fmt.Errorf("it is nested more than %d times", maxDepth)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// text makes what an image says fit for messages: one line without characters that a terminal would obey, of at most
// limit bytes.
func text(s string, limit int) string {
	const cut = "…"
	// What is far too long is not looked at as a whole.
	long := len(s) > limit
	s = strings.ToValidUTF8(s[:min(len(s), limit)], "�")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s)
	if !long && len(s) <= limit {
		return s
	}
	return strings.TrimRight(strings.ToValidUTF8(s[:min(len(s), limit-len(cut))], ""), "�") + cut
}
