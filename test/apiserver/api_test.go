//go:build apiserver

package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// rule is one rule of the API with a value that it lets pass and one that it refuses.
type rule struct {
	// field is the JSON path that gets the values. It is also what the refusal must name, unless blames is set;
	// also is another field that it has to name.
	field, blames, also string
	// keyword of the CRD's schema, see schemaRules.
	keyword string
	// where the keyword is in the schema, if that is not field with its indexes left out.
	where     string
	good, bad any
	// says is a part of the refusal's message.
	says string
	// git gives the object a git source. A field of a source gets the source that it belongs to.
	git bool
}

func (r rule) refused() string {
	if r.blames != "" {
		return r.blames
	}
	return r.field
}

var indexed = regexp.MustCompile(`\[\d+\]`)

// name is that of schemaRules.
func (r rule) name() string {
	if r.where != "" {
		return r.where + " " + r.keyword
	}
	return indexed.ReplaceAllString(r.field, "[]") + " " + r.keyword
}

// absent as a value removes the field.
var absent = struct{}{}

var (
	digest    = "sha256:" + strings.Repeat("a", 64)
	platforms = []any{map[string]any{"platform": "linux/amd64"}, map[string]any{"platform": "linux/arm64"}}
)

func text(n int) string { return strings.Repeat("a", n) }

// items is a list of n different elements.
func items(n int, element func(i int) any) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = element(i)
	}
	return out
}

// entries is a map with n keys.
func entries(n int) map[string]any {
	out := map[string]any{}
	for i := range n {
		out[fmt.Sprintf("key%d", i)] = "x"
	}
	return out
}

func newNamespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "api-"}}
	if err := k8s.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// object is a complete, valid object of a kind in which the field of a rule has a value.
func (r rule) object(t *testing.T, kind, namespace string, value any) *unstructured.Unstructured {
	t.Helper()
	content := map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(),
		"kind":       kind,
		"metadata":   map[string]any{"namespace": namespace, "generateName": "x-"},
		"spec":       map[string]any{},
		"status":     map[string]any{},
	}
	maps.Copy(content, complete(kind))
	switch {
	case r.git, strings.HasPrefix(r.field, "spec.source.git"), strings.HasPrefix(r.field, githubPath):
		put(t, content, "spec.source", map[string]any{"git": map[string]any{"url": "https://git.example/images", "secretRef": map[string]any{"name": "git"}}})
	case strings.HasPrefix(r.field, "spec.source.configMapRef"):
		put(t, content, "spec.source", map[string]any{"configMapRef": map[string]any{"name": "files"}})
	}
	if strings.HasPrefix(r.field, githubPath) {
		put(t, content, githubPath, codeScanning())
	}
	if strings.HasPrefix(r.field, keyField) {
		putKey(t, content, r.field)
	}
	put(t, content, r.field, value)
	raw, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

func complete(kind string) map[string]any {
	switch kind {
	case "BaseImage":
		return completeBaseImage()
	case "ImageAdmissionPolicy":
		return completePolicy()
	}
	return completeBuild()
}

// put sets the field at a path such as spec.platforms[0].platform, whose parents exist.
func put(t *testing.T, in map[string]any, path string, value any) {
	t.Helper()
	var at any = in
	names := strings.Split(strings.ReplaceAll(path, "[", ".["), ".")
	for i, name := range names {
		last := i == len(names)-1
		switch parent := at.(type) {
		case map[string]any:
			switch {
			case last && value == any(absent):
				delete(parent, name)
			case last:
				parent[name] = value
			}
			at = parent[name]
		case []any:
			n, err := strconv.Atoi(strings.Trim(name, "[]"))
			if err != nil || n >= len(parent) {
				t.Fatalf("%s: there is no element %s", path, name)
			}
			if last {
				parent[n] = value
			}
			at = parent[n]
		default:
			t.Fatalf("%s: %s has no parent", path, name)
		}
	}
}

// write creates an object, and its status if the field is there.
func write(t *testing.T, o *unstructured.Unstructured, field string) error {
	t.Helper()
	status := o.Object["status"]
	err := k8s.Create(t.Context(), o)
	if !strings.HasPrefix(field, "status.") {
		return err
	}
	if err != nil {
		t.Fatal(err)
	}
	o.Object["status"] = status
	return k8s.Status().Update(t.Context(), o)
}

func testRules(t *testing.T, kind string, rules map[string]rule) {
	namespace := newNamespace(t)
	for desc, tt := range rules {
		t.Run(desc, func(t *testing.T) {
			if err := write(t, tt.object(t, kind, namespace, tt.good), tt.field); err != nil {
				t.Errorf("good value refused: %v", err)
			}
			err := write(t, tt.object(t, kind, namespace, tt.bad), tt.field)
			assertRefused(t, err, tt.says, tt.refused(), tt.also)
		})
	}
}

// assertRefused checks that the first of the fields is refused with a message that contains says, and that only
// these fields are.
func assertRefused(t *testing.T, err error, says string, fields ...string) {
	t.Helper()
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) || status.ErrStatus.Details == nil {
		t.Fatalf("bad value: got %v, want a refusal of %s", err, fields[0])
	}
	said := false
	for _, cause := range status.ErrStatus.Details.Causes {
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue // What says so comes with every refusal by the schema.
		}
		if !slices.Contains(fields, cause.Field) {
			t.Errorf("%q is refused instead of %q: %s", cause.Field, fields[0], cause.Message)
		}
		said = said || cause.Field == fields[0] && strings.Contains(cause.Message, says)
	}
	if !said {
		t.Errorf("no cause for %s contains %q: %v", fields[0], says, err)
	}
}

func baseImageRules(t *testing.T) map[string]rule {
	t.Helper()
	return merged(t, sharedRules(), gateRules(t), baseImageSpecRules(), baseImageStatusRules())
}

func buildRules(t *testing.T) map[string]rule {
	t.Helper()
	return merged(t, sharedRules(), gateRules(t), buildSpecRules(), buildStatusRules(), resultRules(t))
}

func TestBaseImageRules(t *testing.T) {
	testRules(t, "BaseImage", baseImageRules(t))
}

func TestBuildRules(t *testing.T) {
	testRules(t, "BaseImageBuild", buildRules(t))
}

func merged(t *testing.T, tables ...map[string]rule) map[string]rule {
	t.Helper()
	out := map[string]rule{}
	for _, table := range tables {
		for desc, r := range table {
			if _, twice := out[desc]; twice {
				t.Fatalf("two cases are called %q", desc)
			}
			out[desc] = r
		}
	}
	return out
}

// TestEveryRuleHasACase reads the schemas that are installed: a rule without a case fails, and a case without
// a rule. Kubernetes' own types in ours are Kubernetes' business.
func TestEveryRuleHasACase(t *testing.T) {
	tests := map[string]struct {
		crd    string
		rules  map[string]rule
		others []string
	}{
		"BaseImage": {"baseimages", baseImageRules(t),
			append(defaultRules("spec.output.tags"), append(baseImageDefaults(), " rule 0", " required spec")...)},
		"BaseImageBuild": {"baseimagebuilds", buildRules(t),
			append(defaultRules("spec.output.tags"), " rule 0", " required spec")},
		"ImageAdmissionPolicy": {"imageadmissionpolicies", policyRules(), policyDefaults()},
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			have := slices.Clone(tt.others)
			for _, r := range tt.rules {
				have = append(have, r.name())
			}
			want := readSchemaRules(t, tt.crd)
			for _, name := range want {
				if !slices.Contains(have, name) {
					t.Errorf("rule %q has no case", name)
				}
			}
			for _, name := range have {
				if !slices.Contains(want, name) {
					t.Errorf("there is no rule %q", name)
				}
			}
		})
	}
}

func defaultRules(fields ...string) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f+" default")
	}
	return out
}

// keywords of a schema that accept or refuse a value, or fill one in.
var keywords = []string{"minLength", "maxLength", "pattern", "enum", "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxProperties", "default"}

func readSchemaRules(t *testing.T, crd string) []string {
	t.Helper()
	raw, err := os.ReadFile("../../config/crd/basewright.dev_" + crd + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(doc, "spec", "versions")
	root, found, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if !found || len(versions) != 1 {
		t.Fatalf("%s has %d versions and no schema that this test understands", crd, len(versions))
	}
	return schemaRules("", root)
}

// schemaRules names every rule of a schema as "field keyword": [] stands for the elements of a list,
// {} for the values of a map.
func schemaRules(path string, schema map[string]any) []string {
	if strings.HasSuffix(path, ".conditions[]") || strings.HasSuffix(path, ".tolerations[]") || strings.HasSuffix(path, ".resources") || strings.HasSuffix(path, ".namespaceSelector") {
		return nil
	}
	out := ownRules(path, schema)
	properties, _ := schema["properties"].(map[string]any)
	for name, child := range properties {
		out = append(out, schemaRules(strings.TrimPrefix(path+"."+name, "."), child.(map[string]any))...)
	}
	for keyword, suffix := range map[string]string{"items": "[]", "additionalProperties": "{}"} {
		if child, ok := schema[keyword].(map[string]any); ok {
			out = append(out, schemaRules(path+suffix, child)...)
		}
	}
	return out
}

func ownRules(path string, schema map[string]any) []string {
	var out []string
	for _, k := range keywords {
		if _, ok := schema[k]; ok {
			out = append(out, path+" "+k)
		}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		out = append(out, fmt.Sprintf("%s required %s", path, name))
	}
	validations, _ := schema["x-kubernetes-validations"].([]any)
	for i := range validations {
		out = append(out, fmt.Sprintf("%s rule %d", path, i))
	}
	if kind := schema["x-kubernetes-list-type"]; kind == "set" || kind == "map" {
		out = append(out, path+" unique")
	}
	return out
}

// created writes a typed object that must be accepted.
func created[T client.Object](t *testing.T, o T) T {
	t.Helper()
	if err := k8s.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o
}
