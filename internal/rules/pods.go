package rules

import (
	"context"
	"time"
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

// Pods are the rules for pods, compiled.
type Pods struct{}

// Statement are the rules for an attestation, compiled.
type Statement struct{}

// Evaluate returns what the rules find in a statement.
func (*Statement) Evaluate(context.Context, []byte) ([]string, error) { return nil, nil }
