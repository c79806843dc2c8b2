package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
)

// Predicate types of what is attested of an image.
const (
	// PredicateProvenance is SLSA provenance (https://slsa.dev/spec/v1.1/provenance).
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	// PredicateSPDX is an SBOM in SPDX JSON (https://github.com/in-toto/attestation/blob/main/spec/predicates/spdx.md).
	PredicateSPDX = "https://spdx.dev/Document"
	// PredicateCycloneDX is an SBOM in CycloneDX JSON (https://github.com/in-toto/attestation/blob/main/spec/predicates/cyclonedx.md).
	PredicateCycloneDX = "https://cyclonedx.org/bom"
	// PredicateVulnerabilities is the report of a scanner (https://github.com/sigstore/cosign/blob/v2.6.5/specs/COSIGN_VULN_ATTESTATION_SPEC.md).
	PredicateVulnerabilities = "https://cosign.sigstore.dev/attestation/vuln/v1"
	// PredicateTestResult is the outcome of runtime tests (https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md).
	PredicateTestResult = "https://in-toto.io/attestation/test-result/v0.1"
	// PredicateSignature is the statement that stands for a signature in a Sigstore bundle
	// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md).
	PredicateSignature = "https://sigstore.dev/cosign/sign/v1"
)

// SubjectIndex stands in status for the index, beside platforms.
const SubjectIndex = "index"

// Statement is an in-toto statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) that is to
// be signed.
type Statement struct {
	// PredicateType of the statement.
	PredicateType string
	// Payload is the statement in JSON. The same facts give the same bytes.
	Payload []byte
}

// Digest of the payload, sha256:….
func (s Statement) Digest() string {
	sum := sha256.Sum256(s.Payload)
	return "sha256:" + hex.EncodeToString(sum[:])
}
