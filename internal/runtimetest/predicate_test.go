package runtimetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func predicates() map[string]PredicateOptions {
	return map[string]PredicateOptions{
		"passed": {Result: v1alpha1.PlatformTests{Platform: "linux/amd64", Outcome: v1alpha1.TestPassed, Passed: []string{"user", "no-shell"}}, WorkerImage: "registry.example/worker@" + digest},
		"failed": {Result: v1alpha1.PlatformTests{Platform: "linux/amd64", Outcome: v1alpha1.TestFailed, Passed: []string{"user"}, Failed: []string{"no-shell: /bin/sh: remove it", "command: it says: x"}},
			WorkerImage: "registry.example/worker:v1@" + digest,
			Tests:       v1alpha1.TestPolicy{User: new(int64(1000)), PackageManagers: v1alpha1.Allow, Command: []string{"/app", "--version"}}},
	}
}

func TestPredicateIsAsInItsGoldenFile(t *testing.T) {
	for desc, o := range predicates() {
		t.Run(desc, func(t *testing.T) {
			got, err := Predicate(o)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "predicate-"+desc+".json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPredicateIsOneOfTheSpecification(t *testing.T) {
	for desc, o := range predicates() {
		t.Run(desc, func(t *testing.T) {
			raw, err := Predicate(o)
			if err != nil {
				t.Fatal(err)
			}
			var got testresult.TestResult
			if err := protojson.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if len(got.GetConfiguration()) != 2 {
				t.Errorf("got %d configurations", len(got.GetConfiguration()))
			}
			for _, d := range got.GetConfiguration() {
				if err := d.Validate(); err != nil {
					t.Errorf("%s: %v", d.GetName(), err)
				}
			}
			var policy map[string]any
			if err := json.Unmarshal(got.GetConfiguration()[1].GetContent(), &policy); err != nil || policy["user"] == nil {
				t.Errorf("the policy is %v, %v", policy, err)
			}
		})
	}
}

func TestPredicateOfWhatWasNotTested(t *testing.T) {
	for _, r := range []v1alpha1.PlatformTests{Skipped(amd64), {}} {
		if raw, err := Predicate(PredicateOptions{Result: r}); err == nil {
			t.Errorf("%q: got %s", r.Outcome, raw)
		}
	}
}
