package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyResult is what the Dockerfile policy found.
type PolicyResult struct {
	// denied findings of rules deny_… that count.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Denied int32 `json:"denied"`

	// warned findings of rules warn_… that count.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Warned int32 `json:"warned"`

	// excepted findings that an exception lets pass.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Excepted int32 `json:"excepted,omitempty"`

	// findings in words, with line, rule and fix: the refused ones first. At most 20.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Findings []string `json:"findings,omitempty"`

	// expired are exceptions that would have let a finding pass.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Expired []string `json:"expired,omitempty"`
}

// VulnerabilityCounts are vulnerabilities by severity: each counts once for a package version, whichever scanner and
// platform has it, by the higher severity of the two scanners. Waived ones, and those that a VEX document rules out, are left out.
type VulnerabilityCounts struct {
	// critical vulnerabilities.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Critical int32 `json:"critical"`
	// high vulnerabilities.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	High int32 `json:"high"`
	// medium vulnerabilities.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Medium int32 `json:"medium"`
	// low vulnerabilities.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Low int32 `json:"low"`
	// negligible vulnerabilities.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Negligible int32 `json:"negligible"`
	// unknown severity.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Unknown int32 `json:"unknown"`
}

// VulnerabilityDatabase is what a scanner knew.
type VulnerabilityDatabase struct {
	// scanner that used it: Grype or Trivy.
	//
	// +required
	// +kubebuilder:validation:Enum=Grype;Trivy
	Scanner string `json:"scanner"`

	// builtAt is when the database was made.
	//
	// +required
	BuiltAt metav1.Time `json:"builtAt"`

	// age of the database at the time of the scan for people, for example 7h or 3d.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Age string `json:"age,omitempty"`
}

// PlatformReports are the reports on one platform: digests of OCI artifacts in the output repository that refer to the
// platform's digest (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md, "subject").
type PlatformReports struct {
	// platform in OCI form.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Platform string `json:"platform"`

	// packages that Syft found.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Packages int32 `json:"packages"`

	// spdx is the SBOM in SPDX 2.3 JSON.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	SPDX string `json:"spdx,omitempty"`

	// cyclonedx is the SBOM in CycloneDX 1.6 JSON.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	CycloneDX string `json:"cyclonedx,omitempty"`

	// grype is Grype's report in JSON.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Grype string `json:"grype,omitempty"`

	// trivy is Trivy's report in JSON.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Trivy string `json:"trivy,omitempty"`

	// sarif is Trivy's report in SARIF 2.1.0.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	SARIF string `json:"sarif,omitempty"`
}

// ScanResult is what the scanners found, over all platforms.
type ScanResult struct {
	// packages of the platform that has the most. 0: the scanners found nothing that they could judge, which does not
	// mean that there is nothing.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Packages int32 `json:"packages"`

	// vulnerabilities by severity; not set where there was nothing to judge: no packages, or none that a scanner knows.
	//
	// +optional
	Vulnerabilities *VulnerabilityCounts `json:"vulnerabilities,omitempty"`

	// refusing is how many of them refuse the image.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Refusing int32 `json:"refusing,omitempty"`

	// waived vulnerabilities.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Waived int32 `json:"waived,omitempty"`

	// vex is how many vulnerabilities a VEX document rules out.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	VEX int32 `json:"vex,omitempty"`

	// onlyGrype is how many vulnerabilities Grype alone reports.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	OnlyGrype int32 `json:"onlyGrype,omitempty"`

	// onlyTrivy is how many vulnerabilities Trivy alone reports.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	OnlyTrivy int32 `json:"onlyTrivy,omitempty"`

	// findings in words, with severity, package, fixed version and scanners: those that refuse first, then the worst.
	// At most 20; the reports have all.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=atomic
	Findings []string `json:"findings,omitempty"`

	// expired are waivers that would have let a vulnerability pass.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Expired []string `json:"expired,omitempty"`

	// databases that the scanners used.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=scanner
	Databases []VulnerabilityDatabase `json:"databases,omitempty"`

	// platforms with their reports.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformReports `json:"platforms,omitempty"`
}

// TestOutcome of a platform.
//
// +kubebuilder:validation:Enum=Passed;Failed;Skipped
type TestOutcome string

const (
	// TestPassed means: all tests ran and passed.
	TestPassed TestOutcome = "Passed"
	// TestFailed means: at least one failed.
	TestFailed TestOutcome = "Failed"
	// TestSkipped means: no node can run the platform, and nothing was tested.
	TestSkipped TestOutcome = "Skipped"
)

// PlatformTests are the runtime tests of one platform.
type PlatformTests struct {
	// platform in OCI form.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Platform string `json:"platform"`

	// outcome of all tests together.
	//
	// +required
	Outcome TestOutcome `json:"outcome"`

	// passed are the names of the tests that passed.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	// +listType=atomic
	Passed []string `json:"passed,omitempty"`

	// failed are the tests that failed, in words; or why none ran.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=atomic
	Failed []string `json:"failed,omitempty"`

	// report is the digest of an OCI artifact that refers to the platform's digest: an in-toto test-result predicate
	// (https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md).
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Report string `json:"report,omitempty"`
}

// TestResult is what the runtime tests found.
type TestResult struct {
	// summary for people: platforms that passed, of all, for example 2/2 or 1/2, 1 skipped.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Summary string `json:"summary"`

	// platforms with their outcomes.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformTests `json:"platforms,omitempty"`
}

// CodeScanningUpload is how far the upload of SARIF to GitHub has come; the condition SARIFUploaded says how it went.
type CodeScanningUpload struct {
	// attempts that were made.
	//
	// +required
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts"`

	// nextAttempt is when the upload is tried again; not set if it is not.
	//
	// +optional
	NextAttempt *metav1.Time `json:"nextAttempt,omitempty"`

	// uploads are the ids that GitHub gave, by platform.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Uploads []SARIFUpload `json:"uploads,omitempty"`
}

// SARIFUpload is one that GitHub accepted.
type SARIFUpload struct {
	// platform in OCI form.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Platform string `json:"platform"`

	// id of the upload.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
}
