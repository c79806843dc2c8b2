package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// problems is what is printed, line by line.
func problems(content string) []string {
	_, err := Parse([]byte(content))
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestParseIsStrict(t *testing.T) {
	tests := map[string]struct {
		content string
		want    []string
	}{
		"nothing":                   {"", []string{"the file is empty, or has only comments"}},
		"only comments":             {"# images\n", []string{"the file is empty, or has only comments"}},
		"only a separator":          {"---\n", []string{"the file is empty, or has only comments"}},
		"no mapping":                {"- a", []string{"line 1: has to be a mapping, not a list"}},
		"a second document":         {good + "---\nkind: x\n", []string{"line 6: a second document begins here; the file must have one"}},
		"an empty second one":       {good + "---\n", []string{"line 6: a second document begins here; the file must have one"}},
		"no YAML":                   {good + "a: b: c", []string{"line 6: not YAML, here or in the next line: mapping values are not allowed in this context"}},
		"no YAML in the first line": {"a: b: c", []string{"not YAML: mapping values are not allowed in this context"}},
		"no text":                   {"\xff\x00", []string{"not YAML: invalid leading UTF-8 octet"}},
		"a tab":                     {good + "builds:\n\tmaxConcurrent: 1", []string{"line 7: not YAML, here or in the next line: found character that cannot start any token"}},
		"a misspelt section":        {good + "registry: {}", []string{"line 6: registry: unknown field; did you mean registries?"}},
		"a misspelt field": {head + "images: {\n  kanico: 'a.b/c:1',\n  worker: 'a.b/c:1', " + scanners + "}\n", []string{
			"line 3: images.kaniko: is required", "line 4: images.kanico: unknown field; did you mean images.kaniko?"}},
		"another case": {good + "BUILDS: {maxconcurrent: 1}\nlimits: {source: {filebytes: 1Ki}}", []string{
			"line 6: BUILDS: unknown field; did you mean builds?",
			"line 7: limits.source.filebytes: unknown field; did you mean limits.source.fileBytes?"}},
		"a field that is like none": {good + "webhooks: {}", []string{"line 6: webhooks: unknown field"}},
		"a field deep inside that is misspelt": {good + "registries:\n  mirrors:\n  - prefix: docker.io\n    endpoint: a.b\n    endpoints: x\n",
			[]string{"line 10: registries.mirrors[0].endpoints: unknown field; did you mean registries.mirrors[0].endpoint?"}},
		"a field twice":           {good + "images: {}", []string{"line 6: images: is given twice; the first is in line 3"}},
		"a label twice":           {good + "defaults: {buildPods: {nodeSelector: {a: b, a: c}}}", []string{"line 6: defaults.buildPods.nodeSelector[a]: is given twice; the first is in line 6"}},
		"text for a list":         {good + "registries: {privateHosts: registry.example}", []string{`line 6: registries.privateHosts: has to be a list, not the single value "registry.example"`}},
		"a list for text":         {good + "registries: {caBundle: []}", []string{"line 6: registries.caBundle: has to be a single value, not a list"}},
		"text for a section":      {good + "builds: 10", []string{`line 6: builds: has to be a mapping, not the single value "10"`}},
		"a list for a section":    {good + "limits: []", []string{"line 6: limits: has to be a mapping, not a list"}},
		"a number for text":       {head + "images: {kaniko: 5, worker: a.b/c:1, " + scanners + "}", []string{`line 3: images.kaniko: "5" has to be text: put it in quotes`}},
		"a truth for a label":     {good + "defaults: {buildPods: {nodeSelector: {gpu: true}}}", []string{`line 6: defaults.buildPods.nodeSelector[gpu]: "true" has to be text: put it in quotes`}},
		"a number as a label":     {good + "defaults: {buildPods: {nodeSelector: {1: a}}}", []string{"line 6: defaults.buildPods.nodeSelector[1]: the key has to be text: put it in quotes"}},
		"text for a number":       {good + "builds: {maxConcurrent: ten}", []string{`line 6: builds.maxConcurrent: "ten" has to be a whole number`}},
		"a number in quotes":      {good + "builds: {maxConcurrent: '10'}", []string{`line 6: builds.maxConcurrent: "10" has to be a whole number`}},
		"half a number":           {good + "builds: {maxConcurrent: 1.5}", []string{`line 6: builds.maxConcurrent: "1.5" has to be a whole number`}},
		"an octal number":         {good + "builds: {maxConcurrent: 0o17}", []string{`line 6: builds.maxConcurrent: "0o17" has to be a whole number`}},
		"a number that is no int": {good + "defaults: {retries: 4294967296}", []string{`line 6: defaults.retries: "4294967296" has to be a whole number`}},
		"a duration that is none": {good + "defaults:\n  jitter: 5x\n  timeout: 60\n", []string{
			`line 7: defaults.jitter: "5x" is not a duration such as "5m"`, `line 8: defaults.timeout: 60 is not a duration in quotes such as "5m"`}},
		"a size that is none": {good + "limits: {source: {bytes: 5MB}}", []string{`line 6: limits.source.bytes: "5MB" is not a quantity such as 256Mi`}},
		"half a byte":         {good + "limits: {source: {bytes: 500m}}", []string{`line 6: limits.source.bytes: "500m" is not a whole number of bytes`}},
		"a quantity that is none": {good + "defaults: {buildPods: {resources: {requests: {cpu: 1.2.3, memory: .inf}}}}", []string{
			`line 6: defaults.buildPods.resources.requests[cpu]: "1.2.3" is not a quantity such as 500m or 256Mi`,
			`line 6: defaults.buildPods.resources.requests[memory]: ".inf" is not a quantity such as 256Mi`}},
		"a quantity that would take for ever": {good + "defaults: {buildPods: {resources: {requests: {cpu: 10e999999999}, limits: {cpu: 1}}}}",
			[]string{`line 6: defaults.buildPods.resources.requests[cpu]: "10e999999999" is not a quantity such as 256Mi`}},
		"an item without value": {good + "registries: {privateHosts: [~]}", []string{"line 6: registries.privateHosts[0]: has no value"}},
		"a label without value": {good + "defaults: {buildPods: {nodeSelector: {a: }}}", []string{"line 6: defaults.buildPods.nodeSelector[a]: has no value"}},
		"an alias": {good + "registries:\n  caBundle: &a x\n  privateHosts: [*a]\n", []string{
			"line 7: registries.caBundle: has no PEM certificate",
			"line 8: registries.privateHosts[0]: *a is an alias, which this file must not have: write the value out"}},
		"an alias of what is around it": {good + "registries: &a\n  mirrors: *a\n",
			[]string{"line 7: registries.mirrors: *a is an alias, which this file must not have: write the value out"}},
		"a merge": {good + "builds: &a {maxConcurrent: 1}\ndefaults: {buildPods: {nodeSelector: {<<: *a}}, <<: *a}\n", []string{
			`line 7: defaults.buildPods.nodeSelector["<<"]: the key has to be text: put it in quotes`, `line 7: defaults."<<": unknown field`}},
		"a key that is no text": {good + "? [a]\n: b\n", []string{"line 6: a key has to be text, not a list"}},
		"a tag of its own": {head + "images: {kaniko: !!binary YQ==, worker: !x a.b/c:1, " + scanners + "}", []string{
			`line 3: images.kaniko: "YQ==" has to be text: put it in quotes`, `line 3: images.worker: "a.b/c:1" has to be text: put it in quotes`}},
		"a name of many lines": {good + "\"a\\nb\": x", []string{`line 6: "a\nb": unknown field`}},
		"all at once, by line": {"limits:\n  source: {files: -1}\nregistries:\n  privateHosts:\n  - ''\nimages: {worker: a.b/c, " + scanners + "}\n", []string{
			`apiVersion: "" must be "config.basewright.dev/v1alpha1"`,
			`kind: "" must be "OperatorConfiguration"`,
			"line 2: limits.source.files: -1 must be more than 0",
			"line 5: registries.privateHosts[0]: is required",
			"line 6: images.kaniko: is required",
			`line 6: images.worker: "a.b/c" has no version: give a tag other than latest, or best a digest`}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, problems(tt.content)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLongNamesAndValuesAreCut(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for desc, content := range map[string]string{
		"a name":     long + ": x",
		"a value":    "builds: {maxConcurrent: " + long + "}",
		"a duration": "defaults: {jitter: " + long + "}",
		"a quantity": "limits: {source: {bytes: " + long + "}}",
		"a label":    "defaults: {buildPods: {nodeSelector: {" + long + ": " + long + "}}}",
		"an image":   "images: {kaniko: '" + long + "!'}",
	} {
		t.Run(desc, func(t *testing.T) {
			for _, line := range problems(content) {
				if len(line) > 1000 {
					t.Errorf("%d bytes: %.200s", len(line), line)
				}
			}
		})
	}
}

// A field of a type that can't be decoded would be found by the first who sets it.
func TestEveryFieldCanBeDecoded(t *testing.T) {
	full := reflect.New(reflect.TypeFor[Operator]()).Elem()
	set(t, full)
	raw, err := yaml.Marshal(full.Interface())
	if err != nil {
		t.Fatal(err)
	}
	f := newFindings("")
	got := &Operator{}
	f.decode(nil, f.document(raw), reflect.ValueOf(got).Elem())
	if err := f.err(); err != nil {
		t.Errorf("%v in\n%s", err, raw)
	}
	if diff := cmp.Diff(full.Interface(), *got); diff != "" {
		t.Error(diff)
	}
}

// set gives every field a value that is not zero.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	if q, ok := reflect.TypeAssert[*resource.Quantity](v.Addr()); ok {
		*q = resource.MustParse("3")
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			set(t, field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(t, v.Index(0))
	case reflect.Map:
		element := reflect.New(v.Type().Elem()).Elem()
		set(t, element)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name").Convert(v.Type().Key()), element)
	case reflect.String:
		v.SetString("text")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "---\n", good, good + "---\n", good + "a: &a [*a, *b]\n", good + "builds: {maxConcurrent: 1e3}\n", "[[[[", "{{{{", "? ? a\n: - b",
		"!!map {a: !x b}", "%YAML 1.1\n---\na: b", "a: \"\\xff\\u2028\"", "\xff\xfe", "images: {kaniko: a@sha256:b, <<: c}",
		good + "registries:\n  caBundle: |\n    -----BEGIN X-----\n    -----END X-----\n  mirrors: [{prefix: 'docker.io/', endpoint: 'a:b/c'}]\n" +
			"  privateHosts: ['[::1%25a]:0', 'a:99999', '%', ':']\n  tokenHosts: [{registry: a.b, host: }]\n",
		good + "defaults:\n  jitter: 1e9h\n  retries: -0\n  buildPods:\n    resources: {requests: {cpu: 1e99, a/b/c: -1Ei}, limits: {cpu: 0.0000000000001, memory: .5Ki}, claims: [{name: a}]}\n" +
			"    nodeSelector: {a: b}\n    tolerations: [{operator: Gt, value: '1'}, {key: a, effect: x, tolerationSeconds: 1}]\n",
		good + "limits: {source: {bytes: 9223372036854775807, timeout: 9999999h}, build: {messageLines: 1}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		cfg, err := Parse(content)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("got %v, %v", cfg, err)
		}
		if err == nil {
			checkComplete(t, cfg)
			return
		}
		for line := range strings.Lines(err.Error()) {
			if len(line) > 2000 {
				t.Errorf("an error of %d bytes", len(line))
			}
		}
	})
}

// checkComplete wants what users of the package rely on.
func checkComplete(t *testing.T, cfg *Operator) {
	t.Helper()
	if cfg.Images.Kaniko == "" || cfg.Images.Worker == "" || cfg.Builds.MaxConcurrent < 1 || cfg.Defaults.BuildPods.Resources == nil ||
		cfg.Defaults.Timeout == 0 || cfg.Limits.WithDefaults() != cfg.Limits {
		t.Errorf("incomplete: %+v", cfg)
	}
	_ = fmt.Sprint(cfg.Defaults.BuildPods.Resources, corev1.ResourceCPU, cfg.Registries.Private()) // Must end.
}
