package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// members takes a JSON object apart. A name that comes twice is refused, also in other letters: readers differ in which they
// take.
func members(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		for other := range out {
			if strings.EqualFold(other, name) {
				return nil, fmt.Errorf("it has %.100q twice", name)
			}
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		if out[name] = value; len(out) > maxMembers {
			return nil, fmt.Errorf("it has more than %d fields", maxMembers)
		}
	}
	return out, end(dec)
}

// end wants nothing but the end of an object after its last field.
func end(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

var errListed = errors.New("it is too long")

// elements calls each with the elements of an array, of which there may be maxListed.
func elements(raw []byte, each func(int, json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return errors.New("it has no list of manifests")
	}
	for i := 0; dec.More(); i++ {
		if i == maxListed {
			return errListed
		}
		var element json.RawMessage
		if err := dec.Decode(&element); err != nil {
			return err
		}
		if err := each(i, element); err != nil {
			return err
		}
	}
	return end(dec)
}
