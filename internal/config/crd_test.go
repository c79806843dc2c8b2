package config

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What the configuration accepts as a default must be what the API accepts in a BaseImage.
func TestDefaultsHaveTheBoundsOfTheAPI(t *testing.T) {
	raw, err := os.ReadFile("../../config/crd/basewright.dev_baseimages.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd any
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		t.Fatal(err)
	}
	spec := dig(t, crd, "spec", "versions", "0", "schema", "openAPIV3Schema", "properties", "spec")
	for name, path := range map[string]string{
		"jitter": "jitter", "startingDeadline": "startingDeadline", "timeout": "timeout",
		"sourcePollInterval": "source pollInterval", "upstreamPollInterval": "upstream pollInterval",
	} {
		field := spec
		for step := range strings.FieldsSeq(path) {
			field = dig(t, field, "properties", step)
		}
		want := dig(t, field, "x-kubernetes-validations", "0", "message")
		refused := problems(good + "defaults: {" + name + ": 1000h}")
		if len(refused) != 1 || !strings.HasSuffix(refused[0], ": 1000h "+want.(string)) {
			t.Errorf("%s: the API says %q, the configuration %q", name, want, refused)
		}
	}
	if least, most := dig(t, spec, "properties", "retries", "minimum"), dig(t, spec, "properties", "retries", "maximum"); least != 0.0 || most != 10.0 {
		t.Errorf("retries: the API has %v to %v", least, most)
	}
	platform := dig(t, spec, "properties", "platforms", "items", "properties")
	if labels, tolerations := dig(t, platform, "nodeSelector", "maxProperties"), dig(t, platform, "tolerations", "maxItems"); labels != 32.0 || tolerations != 32.0 {
		t.Errorf("placement: the API has %v labels, %v tolerations", labels, tolerations)
	}
}

// dig follows the names of fields, and "0" into lists.
func dig(t *testing.T, v any, steps ...string) any {
	t.Helper()
	for _, step := range steps {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			if step != "0" || len(at) == 0 {
				t.Fatalf("no %s in a list of %d", step, len(at))
			}
			v = at[0]
		}
		if v == nil {
			t.Fatalf("no %s of %v", step, steps)
		}
	}
	return v
}
