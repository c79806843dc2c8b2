// Package attest makes in-toto statements about images: how they were built, what is in them, and what scanners and tests
// have found. It is pure, and the same facts give the same bytes: who attests again after an interruption makes the
// statements that are there already.
package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	intoto "github.com/in-toto/attestation/go/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Subject is what a statement is about.
type Subject struct {
	// Name is the repository, without tag or digest.
	Name string
	// Digest is sha256:….
	Digest string
}

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// digestSet has a digest in the form of in-toto
// (https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md).
func digestSet(digest string) (map[string]string, error) {
	if !sha256Digest.MatchString(digest) {
		return nil, fmt.Errorf("%.100q is not a digest: it must be sha256: and 64 hexadecimal digits", digest)
	}
	return map[string]string{"sha256": strings.TrimPrefix(digest, "sha256:")}, nil
}

type (
	// statement is one of https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The generated type would
	// turn each number of a predicate into a float, and hold a large report many times over.
	statement struct {
		Type          string          `json:"_type"`
		Subject       []subject       `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
)

// state makes a statement. predicate is a JSON object; it is kept as it is, without white space.
func state(s Subject, predicateType string, predicate []byte) (pipeline.Statement, error) {
	digest, err := digestSet(s.Digest)
	if err != nil {
		return pipeline.Statement{}, err
	}
	if s.Name == "" {
		return pipeline.Statement{}, fmt.Errorf("the subject %s has no name: it must be the repository", s.Digest)
	}
	payload, err := encode(statement{
		Type:          intoto.StatementTypeUri,
		Subject:       []subject{{Name: s.Name, Digest: digest}},
		PredicateType: predicateType,
		Predicate:     predicate,
	})
	if err != nil {
		return pipeline.Statement{}, err
	}
	return pipeline.Statement{PredicateType: predicateType, Payload: payload}, nil
}

// encode writes compact JSON with the characters <, > and & as they are: reports are full of them.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
