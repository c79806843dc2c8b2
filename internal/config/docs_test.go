package config

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
)

func documentation(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block is the first fenced block of a language.
func block(t *testing.T, text, language string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, "\n```"+language+"\n")
	inside, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatalf("no block of %s", language)
	}
	return inside + "\n"
}

func TestTheDocumentedFileIsGoodAndHasEveryField(t *testing.T) {
	example := []byte(block(t, documentation(t), "yaml"))
	cfg, err := Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	f := newFindings("")
	f.decode(nil, f.document(example), reflect.ValueOf(&Operator{}).Elem())
	for _, field := range ownFields(reflect.TypeFor[Operator](), nil) {
		if f.lines[field.String()] == 0 {
			t.Errorf("%s is not in the example", field)
		}
	}
	// The text around it says that these are the defaults.
	cfg.Defaults.BuildPods.NodeSelector, cfg.Defaults.BuildPods.Tolerations = nil, nil
	standard := Default()
	if diff := cmp.Diff(standard.Builds, cfg.Builds) + cmp.Diff(standard.Defaults, cfg.Defaults) + cmp.Diff(standard.Limits, cfg.Limits); diff != "" {
		t.Error(diff)
	}
}

// ownFields are all fields of types of this module; of lists, those of the first item.
func ownFields(of reflect.Type, at *path) []*path {
	switch {
	case of.Kind() == reflect.Slice && of.Elem().Kind() == reflect.Struct && strings.Contains(of.Elem().PkgPath(), "base-images"):
		return ownFields(of.Elem(), at.index(0))
	case of.Kind() != reflect.Struct || !strings.Contains(of.PkgPath(), "base-images"):
		return []*path{at}
	}
	var all []*path
	for field := range of.Fields() {
		if field.Anonymous {
			all = append(all, ownFields(field.Type, at)...)
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, ownFields(field.Type, at.child(name))...)
	}
	return all
}

var limitRow = regexp.MustCompile("(?m)^\\| `limits\\.(\\w+)\\.(\\w+)` \\| `(\\w+)` \\| `(\\w+)` \\| [^|]+ \\|$")

func TestTheDocumentedLimitsAreThoseOfTheCode(t *testing.T) {
	standard, most := map[string]map[string]any{}, map[string]map[string]any{}
	for _, row := range limitRow.FindAllStringSubmatch(documentation(t), -1) {
		section, field := row[1], row[2]
		if standard[section] == nil {
			standard[section], most[section] = map[string]any{}, map[string]any{}
		}
		standard[section][field], most[section][field] = cell(row[3]), cell(row[4])
	}
	for name, tt := range map[string]struct {
		documented map[string]map[string]any
		code       limits.Limits
	}{
		"defaults":    {standard, limits.Limits{}.WithDefaults()},
		"hard maxima": {most, limits.Maximum()},
	} {
		raw, err := json.Marshal(tt.code)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]map[string]any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, tt.documented); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// cell is a number or text, as in JSON.
func cell(text string) any {
	var number float64
	if json.Unmarshal([]byte(text), &number) == nil {
		return number
	}
	return text
}

// What the documentation prints must be what the operator prints.
func TestTheDocumentedErrorsAreTrue(t *testing.T) {
	const file = "/etc/basewright/config.yaml"
	_, err := parse(file, []byte(strings.Replace(good, "kaniko:", "kanico:", 1)+
		"registries:\n  privateHosts:\n  - registry.example\n  - git example\nlimits:\n  registry:\n    manifestBytes: 256Gi\n"))
	if err == nil {
		t.Fatal("no error")
	}
	want := strings.Split(strings.TrimSpace(block(t, documentation(t), "text")), "\n")
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

var defaultRow = regexp.MustCompile("(?m)^\\| `defaults\\.([A-Za-z]+)` \\| `(\\w+)` \\|")

func TestTheDocumentedDefaultsAreThoseOfTheCode(t *testing.T) {
	documented := map[string]any{}
	for _, row := range defaultRow.FindAllStringSubmatch(documentation(t), -1) {
		documented[row[1]] = cell(row[2])
	}
	raw, err := json.Marshal(Default().Defaults)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	delete(want, "buildPods")
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("%v: %s", slices.Sorted(maps.Keys(documented)), diff)
	}
}
