package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AdmissionLabel on a Namespace, with the value AdmissionEnforced, has its pods admitted by policies alone.
const (
	AdmissionLabel    = "basewright.dev/admission"
	AdmissionEnforced = "enforced"
)

// PolicyMode is what a policy does with an image or a pod that it does not hold for.
//
// +kubebuilder:validation:Enum=Enforce;Warn;Audit
type PolicyMode string

const (
	// ModeEnforce refuses it.
	ModeEnforce PolicyMode = "Enforce"
	// ModeWarn admits it with a warning for whoever makes it.
	ModeWarn PolicyMode = "Warn"
	// ModeAudit admits it, and says so in the audit log and in that of the webhook alone.
	ModeAudit PolicyMode = "Audit"
)

// AuthorityType is how images are signed.
//
// +kubebuilder:validation:Enum=Keyless;Key
type AuthorityType string

const (
	// AuthorityKeyless is a certificate of an identity, from Sigstore.
	AuthorityKeyless AuthorityType = "Keyless"
	// AuthorityKey is a key of one's own.
	AuthorityKey AuthorityType = "Key"
)

// DigestMode is what becomes of an image that is given by tag.
//
// +kubebuilder:validation:Enum=Pin;Require
type DigestMode string

const (
	// DigestPin writes the verified digest behind the tag of pods.
	DigestPin DigestMode = "Pin"
	// DigestRequire refuses images without a digest.
	DigestRequire DigestMode = "Require"
)

// ImageAdmissionPolicySpec says which images may run, and how.
//
// +kubebuilder:validation:XValidation:rule="self.authority != 'Keyless' || (has(self.identities) && size(self.identities) > 0)",message="must have at least one identity: without one, anybody's signature would do",fieldPath=".identities",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.authority != 'Keyless' || !has(self.key)",message="must be left out unless authority is Key",fieldPath=".key",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="self.authority != 'Key' || has(self.key)",message="is required if authority is Key",fieldPath=".key",reason=FieldValueRequired
// +kubebuilder:validation:XValidation:rule="self.authority != 'Key' || !has(self.identities) || size(self.identities) == 0",message="must be left out if authority is Key: a key has no identity",fieldPath=".identities",reason=FieldValueForbidden
type ImageAdmissionPolicySpec struct {
	// images that the policy is for, as globs of host and path without tag or digest: registry.example/team/**. In the host
	// and in each segment of the path, * stands for any characters of it; a segment ** stands for any number of segments.
	// An image without a host is of docker.io, and one without a path there of docker.io/library.
	//
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +listType=set
	Images []string `json:"images"`

	// namespaceSelector selects namespaces by their labels. Default: all in which admission is enforced.
	//
	// +optional
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// mode is what becomes of what the policy does not hold for: Enforce, Warn or Audit. Default: Enforce.
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode PolicyMode `json:"mode,omitempty"`

	// authority is how images are signed: Keyless or Key. Default: Keyless.
	//
	// +optional
	// +kubebuilder:default=Keyless
	Authority AuthorityType `json:"authority,omitempty"`

	// identities of which one has to have signed. Required if authority is Keyless.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Identities []SigningIdentity `json:"identities,omitempty"`

	// key that has to have signed. Required if authority is Key.
	//
	// +optional
	Key *SigningKey `json:"key,omitempty"`

	// attestations that an image must have, all of them. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Attestations []RequiredAttestation `json:"attestations,omitempty"`

	// digest is what becomes of tags: Pin or Require. Default: Pin.
	//
	// +optional
	// +kubebuilder:default=Pin
	Digest DigestMode `json:"digest,omitempty"`

	// runtime says how containers of these images may run. Default: profile Restricted.
	//
	// +optional
	// +kubebuilder:default={profile: "Restricted"}
	Runtime RuntimePolicy `json:"runtime,omitzero"`

	// exceptions are images that need no signature and no attestation for a time; what runtime says holds for them too.
	// Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=digest
	Exceptions []ImageException `json:"exceptions,omitempty"`
}

// SigningIdentity is who may sign. A subject means nothing without its issuer: two clusters have the same ServiceAccounts.
//
// +kubebuilder:validation:ExactlyOneOf=issuer;issuerRegExp
// +kubebuilder:validation:ExactlyOneOf=subject;subjectRegExp
type SigningIdentity struct {
	// issuer of the token that the certificate was given for, exactly.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Issuer string `json:"issuer,omitempty"`

	// issuerRegExp is a regular expression (RE2) for the whole issuer.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	IssuerRegExp string `json:"issuerRegExp,omitempty"`

	// subject alternative name of the certificate, exactly: an address, a workflow, a ServiceAccount.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Subject string `json:"subject,omitempty"`

	// subjectRegExp is a regular expression (RE2) for the whole subject.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	SubjectRegExp string `json:"subjectRegExp,omitempty"`
}

// LogRequirement says whether the transparency log must know a signature.
//
// +kubebuilder:validation:Enum=Required;Ignored
type LogRequirement string

const (
	// LogRequired refuses a signature that the transparency log of the trust root does not have.
	LogRequired LogRequirement = "Required"
	// LogIgnored takes a signature by the key alone. Nobody says then when it was made: there is no maxAge.
	LogIgnored LogRequirement = "Ignored"
)

// SigningKey is a public key.
//
// +kubebuilder:validation:ExactlyOneOf=publicKey;secretRef
type SigningKey struct {
	// publicKey in PEM: ECDSA, RSA of at least 2048 bits, or Ed25519.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	PublicKey string `json:"publicKey,omitempty"`

	// secretRef names a Secret of the namespace basewright-system that has the public key.
	//
	// +optional
	SecretRef *KeySecretReference `json:"secretRef,omitempty"`

	// transparencyLog says whether the log must have the signature: Required or Ignored. Default: Required.
	//
	// +optional
	// +kubebuilder:default=Required
	TransparencyLog LogRequirement `json:"transparencyLog,omitempty"`
}

// KeySecretReference is a key of a Secret.
type KeySecretReference struct {
	// name of the Secret.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// key of the Secret. Default: cosign.pub.
	//
	// +optional
	// +kubebuilder:default=cosign.pub
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// RequiredAttestation is a statement that an image must have: of its index, or of each platform that a node can run.
type RequiredAttestation struct {
	// predicateType of the statement, exactly, for example https://slsa.dev/provenance/v1.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	PredicateType string `json:"predicateType"`

	// identities of which one has to have signed it. Default: those of the policy, or its key.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Identities []SigningIdentity `json:"identities,omitempty"`

	// maxAge is how long ago it may have been signed, by the word of the log or of a timestamp authority. Default: any time.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="must be at least 1m",reason=FieldValueInvalid
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`

	// rego is a module, in any package, whose rules deny… and violation… are sets of messages about the statement, which is
	// the input. One statement of the type for which they are empty suffices. Default: what it says does not matter.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	Rego string `json:"rego,omitempty"`
}

// RuntimeProfile is a set of rules for pods.
//
// +kubebuilder:validation:Enum=Restricted;Baseline;Off
type RuntimeProfile string

const (
	// ProfileRestricted is the Pod Security Standard restricted, and what parameters add by default.
	ProfileRestricted RuntimeProfile = "Restricted"
	// ProfileBaseline is the Pod Security Standard baseline, and the parameters that are set.
	ProfileBaseline RuntimeProfile = "Baseline"
	// ProfileOff has no rules.
	ProfileOff RuntimeProfile = "Off"
)

// RuntimePolicy says how containers may run.
//
// +kubebuilder:validation:XValidation:rule="!has(self.profile) || self.profile != 'Off' || !has(self.parameters)",message="must be left out if profile is Off",fieldPath=".parameters",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="!has(self.profile) || self.profile != 'Off' || !has(self.extraRules)",message="must be left out if profile is Off",fieldPath=".extraRules",reason=FieldValueForbidden
type RuntimePolicy struct {
	// profile of rules: Restricted, Baseline or Off. Default: Restricted.
	//
	// +optional
	// +kubebuilder:default=Restricted
	Profile RuntimeProfile `json:"profile,omitempty"`

	// parameters of rules beside the Pod Security Standards. What is left out has its default with profile Restricted, and
	// is not looked at with Baseline.
	//
	// +optional
	Parameters *RuntimeParameters `json:"parameters,omitempty"`

	// extraRules names a ConfigMap of the namespace basewright-system whose keys *.rego hold more rules. Default: none.
	//
	// +optional
	ExtraRules *LocalReference `json:"extraRules,omitempty"`
}

// TokenAllowance says when a container may have a token of the pod's ServiceAccount.
//
// +kubebuilder:validation:Enum=Forbid;Explicit;Allow
type TokenAllowance string

const (
	// TokenForbid refuses every pod that has one.
	TokenForbid TokenAllowance = "Forbid"
	// TokenExplicit refuses those that only have one because they do not say otherwise.
	TokenExplicit TokenAllowance = "Explicit"
	// TokenAllow looks at nothing.
	TokenAllow TokenAllowance = "Allow"
)

// RuntimeParameters are what a platform team decides about its pods.
//
// +kubebuilder:validation:MinProperties=1
type RuntimeParameters struct {
	// users are the numbers that containers may run as, whether the pod or the image says so. Default: 65532.
	//
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	Users []UserRange `json:"users,omitempty"`

	// writableRootFilesystem: whether containers may write to their root file system. Default: Forbid.
	//
	// +optional
	WritableRootFilesystem Allowance `json:"writableRootFilesystem,omitempty"`

	// serviceAccountToken: Forbid, Explicit (a pod must ask for it by automountServiceAccountToken: true, or by a volume of
	// its own) or Allow. Default: Explicit.
	//
	// +optional
	ServiceAccountToken TokenAllowance `json:"serviceAccountToken,omitempty"`

	// requiredLimits are resources of which each container must have a limit: cpu, memory, ephemeral-storage. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=3
	// +kubebuilder:validation:items:Enum=cpu;memory;ephemeral-storage
	// +listType=set
	RequiredLimits []string `json:"requiredLimits,omitempty"`

	// imageShells: whether images may have a shell, by the runtime tests that attest them. With Forbid an image without such
	// an attestation is refused. Default: Allow.
	//
	// +optional
	ImageShells Allowance `json:"imageShells,omitempty"`

	// imageLabels that images must have, each with a value. Default: none.
	//
	// +optional
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +listType=set
	ImageLabels []string `json:"imageLabels,omitempty"`

	// imageMaxAge is how long ago images may have been signed. Default: any time.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="must be at least 1m",reason=FieldValueInvalid
	ImageMaxAge *metav1.Duration `json:"imageMaxAge,omitempty"`
}

// UserRange is a range of numeric users, both ends included.
//
// +kubebuilder:validation:XValidation:rule="!has(self.max) || self.max >= self.min",message="must not be less than min",fieldPath=".max",reason=FieldValueInvalid
type UserRange struct {
	// min is the first.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Min int64 `json:"min"`

	// max is the last. Default: min.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Max *int64 `json:"max,omitempty"`
}

// ImageException lets an image run without signature and attestations.
type ImageException struct {
	// digest of the image, or of the index that pods name: sha256:….
	//
	// +required
	// +kubebuilder:validation:Pattern=`^sha256:[a-f0-9]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`

	// namespaces in which it may run.
	//
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=set
	Namespaces []string `json:"namespaces"`

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

// ImageAdmissionPolicyStatus says whether a policy is in force, and what it did.
type ImageAdmissionPolicyStatus struct {
	// observedGeneration that conditions and warnings are about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// inForceGeneration of the spec by which pods are admitted: the last one that was good. 0: none was.
	//
	// +optional
	InForceGeneration int64 `json:"inForceGeneration,omitempty"`

	// conditions of the policy: Ready.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// warnings are about what is good but looks unintended.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	// +listType=atomic
	Warnings []string `json:"warnings,omitempty"`

	// matched counts the requests with an image that the policy is for. It is written every half a minute, and requests of the last
	// moments before a replica of the webhook is killed may be missing.
	//
	// +optional
	Matched int64 `json:"matched,omitempty"`

	// denied counts those that the policy did not hold for, in any mode. Outages do not count.
	//
	// +optional
	Denied int64 `json:"denied,omitempty"`
}

// ImageAdmissionPolicy says whose images may run in a cluster, and how. All policies that match an image must hold.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=iap,categories=basewright
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.matched`
// +kubebuilder:printcolumn:name="Denied",type=integer,JSONPath=`.status.denied`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must have at most 63 characters",reason=FieldValueInvalid
type ImageAdmissionPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the platform team wants.
	//
	// +required
	Spec ImageAdmissionPolicySpec `json:"spec"`

	// status is what the webhook does.
	//
	// +optional
	Status ImageAdmissionPolicyStatus `json:"status,omitzero"`
}

// ImageAdmissionPolicyList is a list of ImageAdmissionPolicies.
//
// +kubebuilder:object:root=true
type ImageAdmissionPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ImageAdmissionPolicy `json:"items"`
}
