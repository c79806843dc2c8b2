package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImageSignature is who has signed an index, its platforms and their attestations, as it was read back and verified
// before tags moved.
type ImageSignature struct {
	// identity that signed: the subject alternative name of the certificate, such as
	// https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Identity string `json:"identity"`

	// issuer of the token that the certificate was given for. An identity means nothing without it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer"`

	// signedAt is when the log, or the timestamp authority, has seen the signature of the index.
	//
	// +required
	SignedAt metav1.Time `json:"signedAt"`

	// logIndex of the signature of the index in the transparency log; not set without a log.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	LogIndex *int64 `json:"logIndex,omitempty"`

	// formats in which signatures were found and verified: Legacy (tags that end in .sig and .att), Bundle (referrers).
	//
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=set
	Formats []SignatureFormat `json:"formats"`

	// verifyCommand is the command with which anybody can verify the index.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	VerifyCommand string `json:"verifyCommand"`

	// attestationCommand is the command with which anybody can verify and read the provenance of the index.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	AttestationCommand string `json:"attestationCommand"`

	// attestations of the index and of each platform.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Attestations []AttestationReference `json:"attestations,omitempty"`
}

// SignatureFormat is how a signature is kept in a registry.
//
// +kubebuilder:validation:Enum=Legacy;Bundle
type SignatureFormat string

const (
	// FormatLegacy keeps signatures in tags that end in .sig, and attestations in tags that end in .att
	// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/SIGNATURE_SPEC.md).
	FormatLegacy SignatureFormat = "Legacy"
	// FormatBundle keeps each signature and attestation as a Sigstore bundle that refers to the image
	// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md).
	FormatBundle SignatureFormat = "Bundle"
)

// AttestationReference is a statement about one digest that was signed.
type AttestationReference struct {
	// subject is the platform in OCI form, or index.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Subject string `json:"subject"`

	// predicateType says what the statement is (https://github.com/in-toto/attestation/tree/main/spec/predicates).
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	PredicateType string `json:"predicateType"`

	// digest of the statement, which is the payload of the attestation's envelope.
	//
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`

	// logIndex in the transparency log; not set without a log.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	LogIndex *int64 `json:"logIndex,omitempty"`
}
