package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// SPDX says that an SBOM in SPDX JSON is of the subject.
func SPDX(s Subject, document []byte) (pipeline.Statement, error) {
	return report("the SPDX document", s, pipeline.PredicateSPDX, document, func() error {
		var head struct {
			Version string `json:"spdxVersion"`
		}
		if err := json.Unmarshal(document, &head); err != nil || !strings.HasPrefix(head.Version, "SPDX-2.") {
			return errors.New("its spdxVersion must be SPDX-2.…")
		}
		return nil
	})
}

// CycloneDX says that an SBOM in CycloneDX JSON is of the subject.
func CycloneDX(s Subject, document []byte) (pipeline.Statement, error) {
	return report("the CycloneDX document", s, pipeline.PredicateCycloneDX, document, func() error {
		var head struct {
			Format string `json:"bomFormat"`
		}
		if err := json.Unmarshal(document, &head); err != nil || head.Format != "CycloneDX" {
			return errors.New("its bomFormat must be CycloneDX")
		}
		return nil
	})
}

// testResults are what a test result can be
// (https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md).
var testResults = []string{"PASSED", "WARNED", "FAILED"}

// TestResult says how the runtime tests of the subject went. predicate is what internal/runtimetest has made.
func TestResult(s Subject, predicate []byte) (pipeline.Statement, error) {
	return report("the test result", s, pipeline.PredicateTestResult, predicate, func() error {
		var head struct {
			Result string `json:"result"`
		}
		if err := json.Unmarshal(predicate, &head); err != nil || !slices.Contains(testResults, head.Result) {
			return fmt.Errorf("its result must be one of %v", testResults)
		}
		return nil
	})
}

// report makes a statement whose predicate is a document, if the document is of the kind that the predicate type says.
func report(what string, s Subject, predicateType string, document []byte, is func() error) (pipeline.Statement, error) {
	if err := checked(what, document); err != nil {
		return pipeline.Statement{}, err
	}
	if err := is(); err != nil {
		return pipeline.Statement{}, invalid(what, err)
	}
	st, err := state(s, predicateType, document)
	if err != nil {
		return pipeline.Statement{}, fmt.Errorf("attesting %s: %w", what, err)
	}
	return st, nil
}
