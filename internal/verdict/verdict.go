// Package verdict says whether images are what policies ask for, from evidence in registries, and remembers it.
package verdict

import (
	"context"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
)

// Question is about one image and one policy.
type Question struct {
	// Image by digest.
	Image name.Digest
	// Policy that it has to satisfy.
	Policy *imagepolicy.Policy
	// Access to the registry.
	Access Access
	// Platforms that nodes of the cluster run: of an index, those have to be vouched for.
	Platforms []pipeline.Platform
}

// Access to registries with one set of credentials.
type Access struct {
	// Client that has the credentials.
	Client *registry.Client
	// Scope tells sets of credentials apart: nobody gets a verdict that was made with somebody else's.
	Scope string
	// Tenant is the namespace that the work is for. Nobody gets all the places of those who verify. It is part of no key: what was
	// found for one is known to all who have the same credentials.
	Tenant string
}

// Verdict on an image. The zero value is that nothing speaks for it: only the Judge, with evidence, makes one that holds. It is
// shared, so nobody may change what is in it.
type Verdict struct {
	// Findings are what is wrong with it, sorted.
	Findings []Finding
	// Facts that runtime rules ask for.
	Facts rules.ImageFacts
	// Until is when it has to be asked again, because an attestation is too old then; zero: never.
	Until time.Time

	proven bool
}

// Holds reports whether the image is what the policy asks for.
func (v Verdict) Holds() bool { return v.proven && len(v.Findings) == 0 }

// Finding is something that is wrong with an image.
type Finding struct {
	// Reason is a reason of internal/pipeline, such as SignatureMissing.
	Reason string
	// Message says what was expected and what was found.
	Message string
	// Fix is what to do.
	Fix string
	// Command shows it, with stock cosign; empty if none does.
	Command string
}

// Judge is asked by the webhook.
type Judge interface {
	// Judge answers from what it remembers, or from evidence. An error is an outage: nothing is known then.
	Judge(ctx context.Context, q Question) (Verdict, error)
	// Facts of an image for which nobody vouches, such as one under an exception. A Terminal error is about the image; all others are
	// outages.
	Facts(ctx context.Context, q Question) (rules.ImageFacts, error)
	// Resolve says which digest a tag has. Errors are those of registry.Client.
	Resolve(ctx context.Context, access Access, tag name.Tag) (name.Digest, error)
}
