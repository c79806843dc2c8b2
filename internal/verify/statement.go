package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxFields of a JSON object that is taken apart. The envelopes of signatures have a few.
	maxFields = 64
	// maxValues of the JSON around a payload, and of the subjects of a statement. Each may take a hundred times the memory
	// that its text has.
	maxValues = 8192
	// simpleType is the type of payload that cosign signs
	// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/SIGNATURE_SPEC.md#simple-signing).
	simpleType = "cosign container image signature"
)

// statementTypes are the versions of in-toto statements that are read.
var statementTypes = []string{"https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1"}

// errOther is something that is not of the kind that was asked for, which is no fault of it.
var errOther = errors.New("it is of another type")

// checkStatement says whether payload is an in-toto statement of this type about the digest, which is hex. It does not say who
// has made it.
func checkStatement(payload []byte, predicateType, digest string) error {
	statement, err := fields(payload)
	if err != nil {
		return invalid("its statement is malformed: %w", err)
	}
	var says struct{ predicateType, version string }
	if err := errors.Join(json.Unmarshal(statement["predicateType"], &says.predicateType), json.Unmarshal(statement["_type"], &says.version)); err != nil {
		return invalid("its statement is malformed: %w", err)
	}
	if says.predicateType != predicateType {
		return errOther
	}
	if !slices.Contains(statementTypes, says.version) {
		return invalid("its statement is of type %q, not one of %q", clip(says.version), statementTypes)
	}
	return checkSubjects(statement["subject"], digest)
}

func checkSubjects(raw json.RawMessage, digest string) error {
	if crowded(raw) {
		return invalid("its statement has too many subjects")
	}
	var subjects []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &subjects); err != nil {
		return invalid("the subjects of its statement are malformed: %w", err)
	}
	for _, s := range subjects {
		var digests map[string]string
		if json.Unmarshal(s["digest"], &digests) == nil && digests["sha256"] == digest {
			return nil
		}
	}
	return invalid("its statement is not about this digest")
}

// checkSimple says whether payload names digest, which is sha256:…. The name of the image is not compared: it would be
// another one in a mirror.
func checkSimple(payload []byte, digest string) error {
	whole, err := fields(payload)
	if err != nil {
		return invalid("its payload is malformed: %w", err)
	}
	critical, err := fields(whole["critical"])
	if err != nil {
		return invalid("its payload is malformed: %w", err)
	}
	image, err := fields(critical["image"])
	if err != nil {
		return invalid("its payload is malformed: %w", err)
	}
	var kind, signed string
	if err := errors.Join(json.Unmarshal(critical["type"], &kind), json.Unmarshal(image["docker-manifest-digest"], &signed)); err != nil {
		return invalid("its payload is malformed: %w", err)
	}
	switch {
	case kind != simpleType:
		return invalid("its payload is of type %q, not %q", clip(kind), simpleType)
	case signed != digest:
		return invalid("it is for %q, not for this digest", clip(signed))
	}
	return nil
}

// fields takes a JSON object apart. A name that comes twice is refused, also in other letters: parsers differ in which they
// take.
func fields(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		name, value, err := member(dec)
		if err != nil {
			return nil, err
		}
		for other := range out {
			if strings.EqualFold(other, name) {
				return nil, fmt.Errorf("it has %q twice", clip(name))
			}
		}
		if out[name] = value; len(out) > maxFields {
			return nil, fmt.Errorf("it has more than %d fields", maxFields)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows it")
	}
	return out, nil
}

func member(dec *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := dec.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string)
	return name, value, dec.Decode(&value)
}

// crowded reports whether raw, which is JSON or not, has more than maxValues values.
func crowded(raw []byte) bool {
	values := 0
	for len(raw) > 0 {
		switch raw[0] {
		case '"':
			raw = raw[quoted(raw):]
			continue
		case ',', '{', '[':
			values++
		}
		if values > maxValues {
			return true
		}
		raw = raw[1:]
	}
	return false
}

// quoted is the length of the string in quotes that raw begins with.
func quoted(raw []byte) int {
	for at := 1; ; {
		end := bytes.IndexAny(raw[at:], `"\`)
		switch {
		case end < 0:
			return len(raw)
		case raw[at+end] == '"':
			return at + end + 1
		}
		if at += end + 2; at > len(raw) {
			return len(raw)
		}
	}
}
