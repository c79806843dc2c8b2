package rules

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodParameters are what pods are judged by beside the Pod Security Standards. Zero fields ask for nothing.
type PodParameters struct {
	// Users are ranges, both ends included, of numbers that containers may run as. Empty: any that the profile allows.
	Users []UserRange `json:"users,omitempty"`
	// ReadOnlyRootFilesystem: containers must have one.
	ReadOnlyRootFilesystem bool `json:"readOnlyRootFilesystem,omitempty"`
	// ServiceAccountToken is Forbid, Explicit, or Allow.
	ServiceAccountToken string `json:"serviceAccountToken,omitempty"`
	// RequiredLimits of resources.
	RequiredLimits []string `json:"requiredLimits,omitempty"`
	// NoImageShells: a test must have found none.
	NoImageShells bool `json:"noImageShells,omitempty"`
	// ImageLabels that must have a value.
	ImageLabels []string `json:"imageLabels,omitempty"`
	// ImageMaxAge since the image was signed; 0 for any.
	ImageMaxAge time.Duration `json:"imageMaxAge,omitempty"`
}

// UserRange is a range of users.
type UserRange struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// ImageFacts are what is known of an image without running it. All that nobody knows is zero.
type ImageFacts struct {
	// Known: somebody has looked. Otherwise every rule about the image finds that nothing is known.
	Known bool
	// User of its config, as it stands there.
	User string
	// Labels of its config.
	Labels map[string]string
	// SignedAt is when it was signed, by the word of the log or of a timestamp authority.
	SignedAt time.Time
	// Shells: None, Found, or Unknown if no test attests it.
	Shells Shells
}

// Shells says whether an image has a shell.
type Shells string

// What a test says of shells.
const (
	ShellsUnknown Shells = ""
	ShellsNone    Shells = "None"
	ShellsFound   Shells = "Found"
)

// PodQuestion is a pod, or the template of one, and what it is judged by.
type PodQuestion struct {
	// Spec and Meta of the pod or of the template.
	Spec *corev1.PodSpec
	Meta *metav1.ObjectMeta
	// Path of Spec in the object, for example spec.template.spec. Empty: spec.
	Path string
	// Kind of the object. Anything but Pod is a template, to which the cluster has added nothing yet.
	Kind string
	// Namespace that it is in.
	Namespace string
	// Fields of images, as spec.containers[0].image, whose containers are judged. nil: all. What is of the pod as a whole is judged always.
	Fields map[string]bool
	// Images by the same fields. An image that is not there is not known.
	Images map[string]ImageFacts
	// Profile is Restricted or Baseline.
	Profile string
	// Parameters beside the profile.
	Parameters PodParameters
	// Version of the cluster, as 1.37.
	Version string
	// Now is what the age of images is measured by.
	Now time.Time
	// Automount is automountServiceAccountToken of the ServiceAccount of a template: nil if it does not say, or nobody knows. Pods
	// have the volume of the token instead.
	Automount *bool
}

// PodFinding is something that is wrong with a pod.
type PodFinding struct {
	// Rule is a name of docs/runtime-rules.md, or for example team.labels.deny_owner for an added rule.
	Rule string
	// Field of the object, as spec.containers[0].securityContext.privileged.
	Field string
	// Message says what was expected, and what was found.
	Message string
	// Fix is what to write.
	Fix string
}
