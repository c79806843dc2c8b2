package pipeline

import "errors"

// Reasons of admission, beside those of signatures and registries.
const (
	// ReasonNoPolicy: no policy is for an image.
	ReasonNoPolicy = "NoPolicy"
	// ReasonTooManyImages: an object has more different images than are looked at.
	ReasonTooManyImages = "TooManyImages"
	// ReasonTagRefused: an image is given by tag where a digest is asked for, or nothing has pinned it.
	ReasonTagRefused = "TagRefused"
	// ReasonRuntimeRule: a pod asks for what a runtime rule forbids.
	ReasonRuntimeRule = "RuntimeRule"
	// ReasonPolicyNotReady: nobody knows what a policy asks for, because there was never a good version of it.
	ReasonPolicyNotReady = "PolicyNotReady"
	// ReasonPolicyUnsupported: a ClusterImagePolicy asks for what is not supported, or is wrong.
	ReasonPolicyUnsupported = "PolicyUnsupported"
	// ReasonPolicyKeyNotFound: spec.key.secretRef names no Secret, or one without such a public key.
	ReasonPolicyKeyNotFound = "PolicyKeyNotFound"
	// ReasonPoliciesNotLoaded: the webhook has just started, and has not read all policies yet.
	ReasonPoliciesNotLoaded = "PoliciesNotLoaded"
	// ReasonAdmissionTimeout: the time of a request was over.
	ReasonAdmissionTimeout = "AdmissionTimeout"
)

// ReasonOf is the reason of a fault, and InternalError for all other errors.
func ReasonOf(err error) string {
	if t, ok := errors.AsType[*Terminal](err); ok {
		return t.Reason
	}
	if t, ok := errors.AsType[*Transient](err); ok {
		return t.Reason
	}
	if w, ok := errors.AsType[*Waiting](err); ok {
		return w.Reason
	}
	return ReasonInternalError
}
