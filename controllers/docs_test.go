package controllers

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
)

const (
	imagePage = "baseimage.md"
	buildPage = "baseimagebuild.md"
	gatesPage = "gates.md"

	policyPage    = "imageadmissionpolicy.md"
	admissionPage = "admission.md"
)

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// table has the cells of the one table of a page that has a header.
func table(t *testing.T, name, header string) [][]string {
	t.Helper()
	_, rest, found := strings.Cut(page(t, name), "\n| "+header+" |\n")
	if !found {
		t.Fatalf("docs/%s has no table with the header %q", name, header)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if !strings.HasPrefix(line, "|---") {
			rows = append(rows, cells(line))
		}
	}
	return rows
}

func cells(line string) []string {
	row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

var inCode = regexp.MustCompile("`([^`]+)`")

// listed are the names in the first column of a table, sorted.
func listed(t *testing.T, name, header string) []string {
	t.Helper()
	var names []string
	for _, row := range table(t, name, header) {
		for _, match := range inCode.FindAllStringSubmatch(row[0], -1) {
			names = append(names, match[1])
		}
	}
	slices.Sort(names)
	return names
}

// constants are the values of the string constants of a package whose names begin with prefix, sorted.
func constants(t *testing.T, dir, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s (%v)", dir, err)
	}
	var values []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, constantsOf(parsed, prefix)...)
	}
	slices.Sort(values)
	return values
}

func constantsOf(file *ast.File, prefix string) []string {
	var values []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) == 0 {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
			if value, err := strconv.Unquote(literal.Value); err == nil {
				values = append(values, value)
			}
		}
		return true
	})
	return values
}

const (
	api           = "api/v1alpha1"
	reasonsHeader = "reason | kind | meaning | what to do"
)

func TestTheDocumentedWordsAreThoseOfTheCode(t *testing.T) {
	const conditions = "condition | good when | meaning"
	// Events of builds have the names of conditions.
	reasons := slices.Concat(constants(t, api, "Reason"), constants(t, "internal/pipeline", "Reason"), []string{v1alpha1.ConditionDockerfilePolicyPassed, v1alpha1.ConditionBuilt, v1alpha1.ConditionIndexed, v1alpha1.ConditionInspected,
		v1alpha1.ConditionScanPassed, v1alpha1.ConditionTestsPassed, v1alpha1.ConditionAttested, v1alpha1.ConditionSigned, v1alpha1.ConditionVerified, v1alpha1.ConditionSARIFUploaded})
	for name, tt := range map[string]struct{ code, documented []string }{
		"reasons of conditions and events": {reasons, slices.Concat(listed(t, imagePage, reasonsHeader), listed(t, policyPage, "reason | meaning | what to do"), listed(t, admissionPage, "reason | answer | meaning"))},
		"reasons to build":                 {constants(t, api, "BuildReason"), listed(t, imagePage, "reason | when")},
		"phases":                           {constants(t, api, "Phase"), listed(t, buildPage, "phase | condition | what happens")},
		"conditions":                       {constants(t, api, "Condition"), slices.Concat(listed(t, imagePage, conditions), listed(t, buildPage, conditions))},
	} {
		t.Run(name, func(t *testing.T) {
			if len(tt.code) == 0 {
				t.Fatal("no constants")
			}
			if diff := cmp.Diff(unique(tt.code), unique(tt.documented)); diff != "" {
				t.Errorf("docs (-code +documentation):\n%s", diff)
			}
		})
	}
}

func unique(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func TestEveryReasonHasAKindThatIsExplained(t *testing.T) {
	var kinds []string
	for _, row := range table(t, imagePage, "kind | what the operator does") {
		kinds = append(kinds, row[0])
	}
	for _, row := range table(t, imagePage, reasonsHeader) {
		for kind := range strings.SplitSeq(row[1], ", or ") {
			if !slices.Contains(kinds, kind) {
				t.Errorf("%s has the kind %q, there are %q", row[0], kind, kinds)
			}
		}
	}
}

// The text tells what to do about a situation by reasons that there are.
func TestTheSituationsNameReasonsThatThereAre(t *testing.T) {
	known := slices.Concat(listed(t, imagePage, reasonsHeader), listed(t, imagePage, "reason | when"))
	named := 0
	for _, row := range table(t, imagePage, "what happens | where | reason | what to do") {
		for _, match := range inCode.FindAllStringSubmatch(row[2], -1) {
			if named++; !slices.Contains(known, match[1]) {
				t.Errorf("%s: there is no reason %q", row[0], match[1])
			}
		}
	}
	if named == 0 {
		t.Error("no situation has a reason")
	}
}

// crdSchema is the part of a CRD's schema that describes one field.
type crdSchema struct {
	Properties map[string]*crdSchema
	Items      *crdSchema
	Default    any
}

func (s *crdSchema) walk(at string, visit func(path string, s *crdSchema)) {
	for name, field := range s.Properties {
		path := strings.TrimPrefix(at+"."+name, ".")
		if field.Items != nil && len(field.Items.Properties) > 0 {
			field.Items.walk(path+"[]", visit)
		}
		visit(path, field)
		field.walk(path, visit)
	}
}

func (s *crdSchema) isLeaf() bool {
	return len(s.Properties) == 0 && (s.Items == nil || len(s.Items.Properties) == 0)
}

func schemaOf(t *testing.T, plural, section string) *crdSchema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "crd", "basewright.dev_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema *crdSchema }
			}
		}
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[section]
}

func TestTheDocumentedFieldsAreThoseOfTheAPI(t *testing.T) {
	for name, tt := range map[string]struct {
		page, plural, section string
		// wholes are documented without the fields below them: they are Kubernetes' own, or described elsewhere.
		wholes []string
	}{
		"spec of a BaseImage":               {imagePage, "baseimages", "spec", []string{"platforms[].resources", "platforms[].tolerations"}},
		"status of a BaseImage":             {imagePage, "baseimages", "status", []string{"conditions", "image.platforms", "latestBuild.inputs"}},
		"spec of a BaseImageBuild":          {buildPage, "baseimagebuilds", "spec", []string{"source", "output", "platforms", "buildArgs", "dockerfilePolicy", "scan", "tests"}},
		"status of a BaseImageBuild":        {buildPage, "baseimagebuilds", "status", []string{"conditions"}},
		"spec of an ImageAdmissionPolicy":   {policyPage, "imageadmissionpolicies", "spec", []string{"namespaceSelector", "attestations[].identities"}},
		"status of an ImageAdmissionPolicy": {policyPage, "imageadmissionpolicies", "status", []string{"conditions"}},
	} {
		t.Run(name, func(t *testing.T) {
			documented := listed(t, tt.page, "field of `"+tt.section+"` | "+strings.Join(fieldHeader[tt.page+" "+tt.section], " | "))
			leaves, all := tt.wholes, map[string]bool{}
			schemaOf(t, tt.plural, tt.section).walk("", func(path string, s *crdSchema) {
				all[path] = true
				if s.isLeaf() && !below(path, tt.wholes) {
					leaves = append(leaves, path)
				}
			})
			for _, path := range unique(leaves) {
				if !slices.Contains(documented, path) {
					t.Errorf("docs/%s does not have %s", tt.page, path)
				}
			}
			for _, path := range documented {
				if !all[path] {
					t.Errorf("docs/%s has %s, which is no field", tt.page, path)
				}
			}
		})
	}
}

// fieldHeader are the other columns of the tables of fields.
var fieldHeader = map[string][]string{
	imagePage + " spec":    {"default", "what and bounds"},
	imagePage + " status":  {"what"},
	buildPage + " spec":    {"what"},
	buildPage + " status":  {"what"},
	policyPage + " spec":   {"default", "what and bounds"},
	policyPage + " status": {"what"},
}

func below(path string, wholes []string) bool {
	return slices.ContainsFunc(wholes, func(whole string) bool {
		rest, ok := strings.CutPrefix(path, whole)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

func TestTheDocumentedDefaultsOfABaseImageAreThoseOfTheCode(t *testing.T) {
	want := operatorDefaults()
	schemaOf(t, "baseimages", "spec").walk("", func(path string, s *crdSchema) {
		if s.Default != nil && s.isLeaf() {
			want[path] = "`" + strings.ReplaceAll(jsonOf(t, s.Default), `"`, "") + "`"
		}
	})
	got := map[string]string{}
	for _, row := range table(t, imagePage, "field of `spec` | default | what and bounds") {
		if path := strings.Trim(row[0], "`"); want[path] != "" {
			got[path] = row[1]
		}
	}
	if len(want) < 12 {
		t.Fatalf("only %d fields have defaults: %v", len(want), slices.Sorted(maps.Keys(want)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/%s (-code +documentation):\n%s", imagePage, diff)
	}
}

func TestTheDocumentedDefaultsOfAPolicyAreThoseOfTheAPI(t *testing.T) {
	want, got := map[string]string{}, map[string]string{}
	schemaOf(t, "imageadmissionpolicies", "spec").walk("", func(path string, s *crdSchema) {
		if s.Default != nil && s.isLeaf() {
			want[path] = "`" + strings.ReplaceAll(jsonOf(t, s.Default), `"`, "") + "`"
		}
	})
	for _, row := range table(t, policyPage, "field of `spec` | default | what and bounds") {
		if path := strings.Trim(row[0], "`"); want[path] != "" {
			got[path] = row[1]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 6 {
		t.Errorf("docs/%s (-code +documentation):\n%s", policyPage, diff)
	}
}

func operatorDefaults() map[string]string {
	d := config.Default().Defaults
	of := func(value string) string { return "the operator's: `" + value + "`" }
	return map[string]string{
		"source.pollInterval":   of(d.SourcePollInterval.String()),
		"upstream.pollInterval": of(d.UpstreamPollInterval.String()),
		"jitter":                of(d.Jitter.String()),
		"startingDeadline":      of(d.StartingDeadline.String()),
		"timeout":               of(d.Timeout.String()),
		"retries":               of(strconv.Itoa(int(d.Retries))),
		"suspend":               "`false`",
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestTheDocumentedExamplesHaveOnlyFieldsThatThereAre(t *testing.T) {
	blocks := regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n").FindAllStringSubmatch(page(t, imagePage)+page(t, gatesPage), -1)
	if len(blocks) < 3 {
		t.Fatalf("docs/%s and docs/%s have %d examples", imagePage, gatesPage, len(blocks))
	}
	for _, block := range blocks {
		image := &v1alpha1.BaseImage{}
		if err := yaml.UnmarshalStrict([]byte(block[1]), image); err != nil || image.Spec.Output.Repository == "" {
			t.Errorf("%v in the example\n%s", err, block[1])
		}
	}
}
