package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/ibshafique/base-images/internal/limits"
)

// The file is decoded from the tree of YAML nodes, not through JSON: only the tree knows lines, and only a walk of our own
// goes on after the first field that is wrong. Aliases are refused, so that a tree is never larger than its file.

var syntaxError = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// document is the root of the only document of a file, or nil.
func (f *findings) document(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) || err == nil && (len(first.Content) == 0 || isNull(first.Content[0])) {
		f.refuse(nil, 0, "the file is empty, or has only comments")
		return nil
	}
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case errors.Is(err, io.EOF):
		return first.Content[0]
	case err == nil:
		f.refuse(nil, second.Line, "a second document begins here; the file must have one")
	default:
		f.refuseSyntax(err.Error())
	}
	return nil
}

// refuseSyntax takes the line out of what the parser says. It is where the parser was, often one before the mistake;
// there is none if it was in the first line.
func (f *findings) refuseSyntax(text string) {
	found := syntaxError.FindStringSubmatch(text)
	text = text[len(found[0]):]
	line, err := strconv.Atoi(found[1])
	if err != nil {
		f.refuse(nil, 0, "not YAML: %s", text)
		return
	}
	f.refuse(nil, line, "not YAML, here or in the next line: %s", text)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// decode fills v from n. What is null counts as left out, and keeps the value that it has.
func (f *findings) decode(at *path, n *yaml.Node, v reflect.Value) {
	_, reads := reflect.TypeAssert[json.Unmarshaler](v.Addr())
	switch {
	case n.Kind == yaml.AliasNode:
		f.refuse(at, n.Line, "*%s is an alias, which this file must not have: write the value out", printable(n.Value))
	case isNull(n):
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.decode(at, n, v.Elem())
	case reads:
		f.decodeScalar(at, n, v)
	case v.Kind() == reflect.Struct:
		f.decodeStruct(at, n, v)
	case v.Kind() == reflect.Map:
		f.decodeMap(at, n, v)
	case v.Kind() == reflect.Slice:
		f.decodeList(at, n, v)
	default:
		f.decodeScalar(at, n, v)
	}
}

func (f *findings) decodeStruct(at *path, n *yaml.Node, v reflect.Value) {
	all := fields(v)
	f.eachPair(at, n, (*path).child, func(at *path, key, value *yaml.Node) {
		field, known := all[key.Value]
		if !known {
			f.refuse(at, key.Line, "unknown field%s", suggestion(at.parent, key.Value, all))
			return
		}
		f.decode(at, value, field)
	})
}

func (f *findings) decodeMap(at *path, n *yaml.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	f.eachPair(at, n, (*path).key, func(at *path, key, value *yaml.Node) {
		if key.ShortTag() != "!!str" {
			f.refuse(at, key.Line, "the key has to be text: put it in quotes")
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		f.decodeElement(at, value, element)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), element)
	})
}

func (f *findings) decodeList(at *path, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		f.refuse(at, n.Line, "has to be a list, not %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		f.lines[at.index(i).text] = item.Line
		f.decodeElement(at.index(i), item, v.Index(i))
	}
}

// decodeElement refuses null: a list item or a map value can't be left out.
func (f *findings) decodeElement(at *path, n *yaml.Node, v reflect.Value) {
	if isNull(n) {
		f.refuse(at, n.Line, "has no value")
		return
	}
	f.decode(at, n, v)
}

// eachPair visits the pairs of a mapping with their paths, each key once.
func (f *findings) eachPair(at *path, n *yaml.Node, name func(*path, string) *path, visit func(at *path, key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		f.refuse(at, n.Line, "has to be a mapping, not %s", kindOf(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			f.refuse(at, key.Line, "a key has to be text, not %s", kindOf(key))
			continue
		}
		child := name(at, key.Value)
		if line, twice := seen[key.Value]; twice {
			f.refuse(child, key.Line, "is given twice; the first is in line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		f.lines[child.text] = key.Line
		visit(child, key, value)
	}
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "the single value " + quoted(n.Value)
}

// fields of a struct by their names in the file, which are case-sensitive. Those of an embedded struct are its own.
func fields(v reflect.Value) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			maps.Copy(all, fields(v.Field(i)))
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		all[name] = v.Field(i)
	}
	return all
}

func (f *findings) decodeScalar(at *path, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		f.refuse(at, n.Line, "has to be a single value, not %s", kindOf(n))
		return
	}
	if err := setScalar(n, v); err != nil {
		f.refuse(at, n.Line, "%s", err)
	}
}

func setScalar(n *yaml.Node, v reflect.Value) error {
	if target, ok := reflect.TypeAssert[json.Unmarshaler](v.Addr()); ok {
		return unmarshal(n, target)
	}
	switch {
	case v.Kind() == reflect.String:
		if n.ShortTag() != "!!str" {
			return fmt.Errorf("%s has to be text: put it in quotes", quoted(n.Value))
		}
		v.SetString(n.Value)
	case v.CanInt():
		number, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if n.ShortTag() != "!!int" || err != nil {
			return fmt.Errorf("%s has to be a whole number", quoted(n.Value))
		}
		v.SetInt(number)
	default:
		return fmt.Errorf("cannot be set in a file (%s)", v.Type())
	}
	return nil
}

// plainQuantity has exponents of two digits: a size of 1e999999999 would keep a processor busy for very long.
var plainQuantity = regexp.MustCompile(`^[+-]?[0-9.]{1,20}([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$`)

// unmarshal gives the value to a type that reads JSON of its own: sizes, quantities and durations.
func unmarshal(n *yaml.Node, target json.Unmarshaler) error {
	raw := []byte(n.Value)
	if n.ShortTag() == "!!str" || !json.Valid(raw) {
		raw, _ = json.Marshal(n.Value) // A string can always be encoded.
	}
	_, quantity := target.(*resource.Quantity)
	_, size := target.(*limits.Bytes)
	switch {
	case (quantity || size) && !plainQuantity.MatchString(n.Value):
		return fmt.Errorf("%s is not a quantity such as 256Mi", quoted(n.Value))
	case len(raw) > 64:
		return fmt.Errorf("%s is too long", quoted(n.Value))
	}
	err := target.UnmarshalJSON(raw)
	if err != nil && quantity {
		return fmt.Errorf("%s is not a quantity such as 500m or 256Mi", quoted(n.Value))
	}
	return err
}
