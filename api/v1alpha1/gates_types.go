package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicySeverity is how bad a finding of the Dockerfile policy is.
//
// +kubebuilder:validation:Enum=Deny;Warn
type PolicySeverity string

const (
	// PolicyDeny is a finding of a rule deny_….
	PolicyDeny PolicySeverity = "Deny"
	// PolicyWarn is a finding of a rule warn_….
	PolicyWarn PolicySeverity = "Warn"
)

// DockerfilePolicy says what a Dockerfile must be like before anything is built from it.
type DockerfilePolicy struct {
	// extraRules names a ConfigMap of this namespace whose keys *.rego hold rules of the team's own, beside those of the
	// operator, in any Rego package but main, basewright, conftest and system. They can add findings, and take none
	// away. Default: none.
	//
	// +optional
	ExtraRules *LocalReference `json:"extraRules,omitempty"`

	// failOn is the severity from which a finding refuses the Dockerfile: Deny, or Warn for warnings too. Default: Deny.
	//
	// +optional
	FailOn PolicySeverity `json:"failOn,omitempty"`

	// exceptions are rules whose findings refuse nothing for a time. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=rule
	Exceptions []PolicyException `json:"exceptions,omitempty"`
}

// PolicyException lets a Dockerfile break one rule.
type PolicyException struct {
	// rule that may be broken, for example deny_add, or team.deny_curl for one of a team's package. A package and a rule
	// may have 128 characters each.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=257
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`
	Rule string `json:"rule"`

	// reason why, for whoever asks later.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`

	// expires is when the exception stops counting, for example 2027-01-31T00:00:00Z.
	//
	// +required
	Expires metav1.Time `json:"expires"`
}

// VulnerabilityThreshold is the severity from which a vulnerability refuses an image.
//
// +kubebuilder:validation:Enum=Critical;High;Medium;Low;Negligible;Never
type VulnerabilityThreshold string

// Thresholds. Never reports and refuses nothing.
const (
	ThresholdCritical   VulnerabilityThreshold = "Critical"
	ThresholdHigh       VulnerabilityThreshold = "High"
	ThresholdMedium     VulnerabilityThreshold = "Medium"
	ThresholdLow        VulnerabilityThreshold = "Low"
	ThresholdNegligible VulnerabilityThreshold = "Negligible"
	ThresholdNever      VulnerabilityThreshold = "Never"
)

// ScanPolicy says which vulnerabilities refuse an image. Both scanners always run.
type ScanPolicy struct {
	// grype is the gate on what Grype finds.
	//
	// +optional
	Grype ScannerGate `json:"grype,omitzero"`

	// trivy is the gate on what Trivy finds.
	//
	// +optional
	Trivy ScannerGate `json:"trivy,omitzero"`

	// onlyFixed lets vulnerabilities pass for which there is no fixed version yet; they are still counted and shown.
	// Default: false.
	//
	// +optional
	OnlyFixed bool `json:"onlyFixed,omitempty"`

	// waivers are vulnerabilities that refuse nothing for a time. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=128
	// +listType=atomic
	Waivers []Waiver `json:"waivers,omitempty"`

	// vexRef names a ConfigMap of this namespace whose keys hold OpenVEX documents
	// (https://github.com/openvex/spec): what they call not_affected or fixed refuses nothing. Default: none.
	//
	// +optional
	VEXRef *LocalReference `json:"vexRef,omitempty"`

	// github uploads Trivy's findings to the code scanning of a GitHub repository. Default: no upload.
	//
	// +optional
	GitHub *GitHubCodeScanning `json:"github,omitempty"`
}

// ScannerGate is what one scanner may find.
type ScannerGate struct {
	// failOn is the severity from which a vulnerability refuses the image; Never refuses none. Default: Critical.
	//
	// +optional
	FailOn VulnerabilityThreshold `json:"failOn,omitempty"`
}

// Waiver accepts a vulnerability for a time.
type Waiver struct {
	// id of the vulnerability, for example CVE-2022-48174 or GHSA-….
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._:-]*$`
	ID string `json:"id"`

	// package that it is waived for, as the scanners name it. Default: every package.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Package string `json:"package,omitempty"`

	// reason why, for whoever asks later.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason"`

	// expires is when the waiver stops counting, for example 2027-01-31T00:00:00Z.
	//
	// +required
	Expires metav1.Time `json:"expires"`
}

// GitHubCodeScanning is where SARIF is uploaded to
// (https://docs.github.com/en/rest/code-scanning/code-scanning#upload-an-analysis-as-sarif-data). The commit is that of
// the git source.
type GitHubCodeScanning struct {
	// repository as owner/name.
	//
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=140
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$`
	Repository string `json:"repository"`

	// ref that the commit belongs to: refs/heads/…, refs/tags/… or refs/pull/…. Default: refs/heads/main.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^refs/(heads|tags|pull)/[A-Za-z0-9._/+@#-]+$`
	Ref string `json:"ref,omitempty"`

	// tokenSecretRef names a Secret of this namespace whose key token holds a GitHub token that may write security events.
	//
	// +required
	TokenSecretRef LocalReference `json:"tokenSecretRef"`
}

// Allowance says whether an image may have something.
//
// +kubebuilder:validation:Enum=Forbid;Allow
type Allowance string

const (
	// Forbid refuses an image that has it.
	Forbid Allowance = "Forbid"
	// Allow reports nothing.
	Allow Allowance = "Allow"
)

// TestPolicy says what an image must be like, and what it must be able to do.
type TestPolicy struct {
	// user is the numeric user that the image must declare, have an entry for in /etc/passwd, and run as. Default: 65532.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	User *int64 `json:"user,omitempty"`

	// shells in the image, also as links to busybox or toybox. Default: Forbid.
	//
	// +optional
	Shells Allowance `json:"shells,omitempty"`

	// packageManagers in the image, and their databases. Default: Forbid.
	//
	// +optional
	PackageManagers Allowance `json:"packageManagers,omitempty"`

	// setuidFiles are files with the setuid or setgid bit. Default: Forbid.
	//
	// +optional
	SetuidFiles Allowance `json:"setuidFiles,omitempty"`

	// maxSize of the compressed layers of one platform, for example 50Mi. Default: the operator's, 512Mi unless it is
	// configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(string(self)) <= 32 && isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self)).compareTo(quantity('1Ti')) <= 0",message="must be between 1Ki and 1Ti",reason=FieldValueInvalid
	MaxSize *resource.Quantity `json:"maxSize,omitempty"`

	// requiredLabels that the image must have, each with a value; a list takes the place of the default:
	// org.opencontainers.image.title, org.opencontainers.image.description and org.opencontainers.image.source.
	//
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	RequiredLabels []string `json:"requiredLabels,omitempty"`

	// command of the image that must exit with 0 in the test pod: as the image's user, without capabilities, on a
	// read-only root file system, within 30 seconds. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Command []string `json:"command,omitempty"`
}
