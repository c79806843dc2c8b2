package attest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	testresult "github.com/in-toto/attestation/go/predicates/test_result/v0"
	intoto "github.com/in-toto/attestation/go/v1"
	cosign "github.com/sigstore/cosign/v2/pkg/cosign/attestation"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

func TestStatementsAreAsInTheirGoldenFiles(t *testing.T) {
	for name, make := range statements(t) {
		t.Run(name, func(t *testing.T) {
			got, err := make()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got.Payload, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got.Payload)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// parsed reads a statement as sigstore-go and cosign v3 do, which refuse unknown fields.
func parsed(t *testing.T, st pipeline.Statement) *intoto.Statement {
	t.Helper()
	var s intoto.Statement
	if err := protojson.Unmarshal(st.Payload, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return &s
}

// predicate reads the predicate of a statement with the type of its specification.
func predicate(t *testing.T, st pipeline.Statement, into proto.Message) {
	t.Helper()
	raw, err := parsed(t, st).GetPredicate().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

func TestVerifiersCanReadEachStatement(t *testing.T) {
	for name, make := range statements(t) {
		t.Run(name, func(t *testing.T) {
			st, err := make()
			if err != nil {
				t.Fatal(err)
			}
			s := parsed(t, st)
			if s.GetType() != "https://in-toto.io/Statement/v1" || s.GetPredicateType() != st.PredicateType {
				t.Errorf("it is %s of %s, and is said to be of %s", s.GetType(), s.GetPredicateType(), st.PredicateType)
			}
			if len(s.GetSubject()) != 1 || s.GetSubject()[0].GetName() != repository || len(s.GetSubject()[0].GetDigest()["sha256"]) != 64 {
				t.Errorf("its subject is %v", s.GetSubject())
			}
			// What `cosign verify-attestation` reads before it looks at the predicate, and hands to policies.
			var header cosign.CosignVulnStatement
			if err := json.Unmarshal(st.Payload, &struct {
				*cosign.CosignVulnStatement
				Predicate map[string]any `json:"predicate"`
			}{CosignVulnStatement: &header}); err != nil {
				t.Fatal(err)
			}
			if header.PredicateType != st.PredicateType || header.Subject[0].Digest["sha256"] != s.GetSubject()[0].GetDigest()["sha256"] {
				t.Errorf("cosign reads %v", header.StatementHeader)
			}
		})
	}
}

func TestPredicateTypesAreThoseOfCosign(t *testing.T) {
	// The URIs of --type spdxjson, cyclonedx, vuln and slsaprovenance1 in cosign v2.6.5 and v3.
	want := map[string]string{
		"spdx": "https://spdx.dev/Document", "cyclonedx": "https://cyclonedx.org/bom",
		"grype": cosign.CosignVulnProvenanceV01, "trivy": cosign.CosignVulnProvenanceV01,
		"provenance-index": "https://slsa.dev/provenance/v1", "provenance-platform": "https://slsa.dev/provenance/v1",
		"test-result": "https://in-toto.io/attestation/test-result/v0.1",
	}
	all := statements(t)
	for name, predicateType := range want {
		if st, err := all[name](); err != nil || st.PredicateType != predicateType {
			t.Errorf("%s: got %s, %v", name, st.PredicateType, err)
		}
	}
}

func TestDocumentsAreKeptAsTheyAre(t *testing.T) {
	st, err := SPDX(platform(), []byte(strings.ReplaceAll(spdx, ",", " ,\n")))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(st.Payload), `,"predicate":`+spdx+`}`) {
		t.Errorf("got %s", st.Payload)
	}
}

func TestProvenanceIsOneOfSLSA(t *testing.T) {
	tests := map[string]struct {
		in      ProvenanceInput
		digest  string
		builder string
	}{
		"of a platform":       {provenanceOf(gitBuild(), arm64), d("32"), BuilderIsolated},
		"of the index":        {provenanceOf(gitBuild(), pipeline.SubjectIndex), d("30"), BuilderIsolated},
		"of unguarded builds": {unguarded(provenanceOf(gitBuild(), amd64)), d("31"), BuilderUnguarded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := Provenance(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			var p slsa.Provenance
			predicate(t, st, &p)
			if err := p.Validate(); err != nil {
				t.Error(err)
			}
			if got := "sha256:" + parsed(t, st).GetSubject()[0].GetDigest()["sha256"]; got != tt.digest {
				t.Errorf("it is of %s", got)
			}
			if got := p.GetRunDetails().GetBuilder().GetId(); got != tt.builder {
				t.Errorf("the builder is %s", got)
			}
			if got := p.GetRunDetails().GetMetadata().GetStartedOn().AsTime(); !got.Equal(started()) {
				t.Errorf("it started on %s", got)
			}
			if got := p.GetRunDetails().GetMetadata().GetFinishedOn(); (got == nil) != tt.in.FinishedOn.IsZero() {
				t.Errorf("it finished on %s", got)
			}
		})
	}
}

// Some builders write invocationID, which no verifier reads.
func TestInvocationIDIsSpelledAsInTheSpecification(t *testing.T) {
	st, err := Provenance(provenanceOf(gitBuild(), amd64))
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Predicate struct {
			RunDetails struct{ Metadata map[string]string }
		}
	}
	if err := json.Unmarshal(st.Payload, &s); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"invocationId": "urn:uuid:" + uid, "startedOn": "2026-11-23T07:10:00Z", "finishedOn": "2026-11-23T07:17:00Z"}
	if diff := cmp.Diff(want, s.Predicate.RunDetails.Metadata); diff != "" {
		t.Error(diff)
	}
}

func TestVulnerabilitiesAreReadableForPoliciesOfCosign(t *testing.T) {
	tests := map[string]struct {
		scanner         Scanner
		report, version string
	}{
		"Grype says its version":               {Grype, "grype.json", "0.110.0"},
		"Trivy v0.65 does not say its version": {Trivy, "trivy.json", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := Vulnerabilities(scanOf(tt.scanner, document(t, tt.report)))
			if err != nil {
				t.Fatal(err)
			}
			var got cosign.CosignVulnStatement
			if err := json.Unmarshal(st.Payload, &got); err != nil {
				t.Fatal(err)
			}
			p := got.Predicate
			result, _ := p.Scanner.Result.(map[string]any)
			p.Scanner.Result = nil
			want := cosign.CosignVulnPredicate{
				Invocation: cosign.Invocation{Parameters: []any{}, URI: "urn:uuid:" + uid, EventID: uid, BuilderID: BuilderIsolated},
				Scanner: cosign.Scanner{URI: "oci://registry.example/scanner:v1@" + d("72"), Version: tt.version,
					DB: cosign.DB{URI: "oci://registry.example/db:6", Version: "2026-11-23T06:10:00Z"}},
				Metadata: cosign.Metadata{ScanStartedOn: started().Add(8 * time.Minute).UTC(), ScanFinishedOn: started().Add(9 * time.Minute).UTC()},
			}
			if diff := cmp.Diff(want, p); diff != "" {
				t.Error(diff)
			}
			var report map[string]any
			if err := json.Unmarshal(document(t, tt.report), &report); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(report, result); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewerTrivySaysItsVersion(t *testing.T) {
	st, err := Vulnerabilities(scanOf(Trivy, []byte(`{"SchemaVersion":2,"Trivy":{"Version":"0.70.0"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(st.Payload), `"version":"0.70.0"`) {
		t.Errorf("got %s", st.Payload)
	}
}

func TestTestResultIsOneOfInToto(t *testing.T) {
	st, err := TestResult(platform(), []byte(testResult))
	if err != nil {
		t.Fatal(err)
	}
	var got testresult.TestResult
	predicate(t, st, &got)
	if got.GetResult() != "PASSED" || len(got.GetPassedTests()) != 1 {
		t.Errorf("got %v", &got)
	}
}
