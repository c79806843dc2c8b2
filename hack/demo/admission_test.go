package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func TestAdmissionIsShown(t *testing.T) {
	const refusal = `echo 'Error from server (Forbidden): denied: Pod unsigned is refused:' >&2; exit 1`
	for name, test := range map[string]struct {
		script string
		show   func(*demo, *testing.T) error
		fails  bool
	}{
		"if the unsigned image is refused":          {refusal, func(d *demo, t *testing.T) error { return d.unsignedIsRefused(t.Context()) }, false},
		"but not if it is admitted":                 {"exit 0", func(d *demo, t *testing.T) error { return d.unsignedIsRefused(t.Context()) }, true},
		"nor if something else is wrong":            {"echo no connection >&2; exit 1", func(d *demo, t *testing.T) error { return d.unsignedIsRefused(t.Context()) }, true},
		"if the signed image runs":                  {"exit 0", func(d *demo, t *testing.T) error { return d.signedRuns(t.Context()) }, false},
		"but not if it is refused":                  {refusal, func(d *demo, t *testing.T) error { return d.signedRuns(t.Context()) }, true},
		"nor if it is admitted and the pod is lost": {`[ "$2" != wait ]`, func(d *demo, t *testing.T) error { return d.signedRuns(t.Context()) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			kubectl := filepath.Join(t.TempDir(), "kubectl")
			if err := os.WriteFile(kubectl, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := test.show(&demo{kubectl: kubectl}, t); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The demo makes its objects from maps, which no compiler compares with the kinds.
func TestTheObjectsOfTheDemoAreOfTheirKinds(t *testing.T) {
	image, policies := &v1alpha1.BaseImage{}, &v1alpha1.ImageAdmissionPolicy{}
	for into, from := range map[any]object{image: appImage(), policies: policy("https://issuer.example")} {
		raw, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(raw, into); err != nil {
			t.Error(err)
		}
	}
	if image.Spec.Output.Repository != appRepository || policies.Spec.Identities[0].Subject != signer {
		t.Errorf("got %+v and %+v", image.Spec, policies.Spec)
	}
}
