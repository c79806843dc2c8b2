package runtimetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// PredicateOptions are what a predicate is made of.
type PredicateOptions struct {
	Result v1alpha1.PlatformTests
	// WorkerImage had the probe.
	WorkerImage string
	// Tests are what the probe was asked for.
	Tests v1alpha1.TestPolicy
}

// Predicate is the document of a platform's tests, for the predicate of an in-toto statement of the type pipeline.PredicateTestResult whose subject is the
// platform's digest. The same tests give the same bytes. Nothing was tested of a platform that was skipped: that is an
// error.
func Predicate(o PredicateOptions) ([]byte, error) {
	verdicts := map[v1alpha1.TestOutcome]string{v1alpha1.TestPassed: "PASSED", v1alpha1.TestFailed: "FAILED"}
	verdict, ok := verdicts[o.Result.Outcome]
	if !ok {
		return nil, fmt.Errorf("making the test result of %s: its outcome is %q", o.Result.Platform, o.Result.Outcome)
	}
	policy, err := policyDescriptor(o.Tests)
	if err != nil {
		return nil, err
	}
	predicate := &testresult.TestResult{
		Result:        verdict,
		Configuration: []*intoto.ResourceDescriptor{probeDescriptor(o.WorkerImage), policy},
		PassedTests:   o.Result.Passed,
		FailedTests:   names(o.Result.Failed),
	}
	raw, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, fmt.Errorf("encoding the test result of %s: %w", o.Result.Platform, err)
	}
	// protojson puts spaces in by chance, so that nobody relies on its bytes.
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fmt.Errorf("encoding the test result of %s: %w", o.Result.Platform, err)
	}
	return compact.Bytes(), nil
}

// probeDescriptor names the image that had the probe.
func probeDescriptor(image string) *intoto.ResourceDescriptor {
	d := &intoto.ResourceDescriptor{Name: "probe", Uri: "oci://" + image}
	if _, digest, ok := strings.Cut(image, "@sha256:"); ok {
		d.Digest = map[string]string{"sha256": digest}
	}
	return d
}

// policyDescriptor holds spec.tests with its defaults, as far as the probe knows of it.
func policyDescriptor(tests v1alpha1.TestPolicy) (*intoto.ResourceDescriptor, error) {
	user := int64(defaultUser)
	if tests.User != nil {
		user = *tests.User
	}
	o := options(user, 0, tests)
	content, err := json.Marshal(struct {
		User            int64              `json:"user"`
		Shells          v1alpha1.Allowance `json:"shells"`
		PackageManagers v1alpha1.Allowance `json:"packageManagers"`
		Command         []string           `json:"command,omitempty"`
		Checks          []string           `json:"checks"`
	}{user, allowance(o.AllowShells), allowance(o.AllowPackageManagers), tests.Command, o.Names()})
	if err != nil {
		return nil, fmt.Errorf("encoding spec.tests: %w", err)
	}
	sum := sha256.Sum256(content)
	return &intoto.ResourceDescriptor{Name: "spec.tests", MediaType: "application/json", Content: content, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}, nil
}

func allowance(allowed bool) v1alpha1.Allowance {
	if allowed {
		return v1alpha1.Allow
	}
	return v1alpha1.Forbid
}
