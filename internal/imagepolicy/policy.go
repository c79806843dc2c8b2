// Package imagepolicy makes of ImageAdmissionPolicies, and of the ClusterImagePolicies of Sigstore's policy-controller, what pods
// are admitted by. A Policy is compiled once and does no I/O by itself.
package imagepolicy

import (
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

// Policy is what one object of the cluster asks of images. It never changes: another version of the object is another Policy.
type Policy struct {
	// Name of the object.
	Name string
	// Kind of it: ImageAdmissionPolicy or ClusterImagePolicy.
	Kind string
	// Generation of it.
	Generation int64
	// Hash of everything that the verdict on an image depends on. Those of two policies that would judge alike may be the same.
	Hash string
	// Mode says what becomes of a violation.
	Mode v1alpha1.PolicyMode
	// Digest says what becomes of tags.
	Digest v1alpha1.DigestMode
	// Authorities of which one has to vouch for an image. Never empty unless NotReady is set.
	Authorities []Authority
	// Runtime rules; nil if there are none.
	Runtime *Runtime
	// Exceptions from Authorities.
	Exceptions []v1alpha1.ImageException
	// NotReady says why nobody knows what the policy asks for: there was never a good version of it. What it is for is refused.
	NotReady error

	matcher matcher
}

// Authority is somebody who may vouch for an image.
type Authority struct {
	// Name of it in messages.
	Name string
	// Verifier of its signatures; nil if Static is set.
	Verifier *verify.Verifier
	// Static is a verdict without a look at the image.
	Static *Static
	// AttestationsSuffice: no signature is asked for beside them.
	AttestationsSuffice bool
	// Attestations that have to be there, all of them.
	Attestations []Attestation
	// Flags of cosign verify, and of cosign verify-attestation, for the same question.
	Flags []string
}

// Static is the verdict on all images alike.
type Static struct {
	// Pass them; otherwise they are refused.
	Pass bool
	// Message for those who are refused.
	Message string
}

// Attestation is a statement that has to be there.
type Attestation struct {
	// Name of it in messages, for example attestations[0].
	Name string
	// PredicateType exactly.
	PredicateType string
	// Verifier of those who may sign it.
	Verifier *verify.Verifier
	// MaxAge since it was signed; 0 if it does not matter.
	MaxAge time.Duration
	// Rules for what it says; nil if that does not matter.
	Rules *rules.Statement
	// Flags of cosign verify-attestation for the same question.
	Flags []string
}

// Runtime is how containers of an image may run.
type Runtime struct {
	// Profile is Restricted or Baseline.
	Profile v1alpha1.RuntimeProfile
	// Parameters with the defaults of the profile.
	Parameters rules.PodParameters
	// Rules, compiled, with those that were added.
	Rules *rules.Pods
}
