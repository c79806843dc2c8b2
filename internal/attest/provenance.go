package attest

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// BuildType is what docs/build-type.md specifies. Another meaning of a field is another build type.
const BuildType = "https://basewright.dev/build-types/base-image/v1"

// Builders, one for each Mode: what is trusted if a provenance is.
const (
	BuilderIsolated  = "https://basewright.dev/builder/v1/isolated"
	BuilderUnguarded = "https://basewright.dev/builder/v1/unguarded"
)

// Mode is how well build pods are guarded against those who may write in their namespace.
type Mode string

const (
	// ModeIsolated means: the cluster forbids everybody but the operator to make or change build pods, and to run
	// commands in them.
	ModeIsolated Mode = "isolated"
	// ModeUnguarded means: it does not, or nobody knows.
	ModeUnguarded Mode = "unguarded"
)

// builder is an error without a mode: the stronger one must have been chosen.
func (m Mode) builder() (string, error) {
	switch m {
	case ModeIsolated:
		return BuilderIsolated, nil
	case ModeUnguarded:
		return BuilderUnguarded, nil
	}
	return "", fmt.Errorf("the mode %q is none: it must be %s or %s", m, ModeIsolated, ModeUnguarded)
}

// ProvenanceInput is what is known of a build.
type ProvenanceInput struct {
	// Build with its inputs in spec, and in status what was built and found.
	Build *v1alpha1.BaseImageBuild
	// Of is the platform that the provenance is of, or pipeline.SubjectIndex.
	Of string
	// Mode in which build pods were guarded, from the start of the build to its end.
	Mode Mode
	// Version of the operator.
	Version string
	// Kaniko and Worker are the images of build pods, by digest.
	Kaniko, Worker string
	// FinishedOn is when the last platform was built; zero is left out.
	FinishedOn time.Time
}

// Provenance says how an index, or one platform's image, was built (https://slsa.dev/spec/v1.1/provenance).
func Provenance(in ProvenanceInput) (pipeline.Statement, error) {
	st, err := in.statement()
	if err != nil {
		return pipeline.Statement{}, fmt.Errorf("making the provenance of %s of build %s: %w", in.Of, in.Build.Name, err)
	}
	return st, nil
}

func (in ProvenanceInput) statement() (pipeline.Statement, error) {
	digest, err := in.digest()
	if err != nil {
		return pipeline.Statement{}, err
	}
	definition, err := in.definition()
	if err != nil {
		return pipeline.Statement{}, err
	}
	details, err := in.details()
	if err != nil {
		return pipeline.Statement{}, err
	}
	provenance := &slsa.Provenance{BuildDefinition: definition, RunDetails: details}
	if err := provenance.Validate(); err != nil {
		return pipeline.Statement{}, err
	}
	// It has spaces that protojson puts in by chance, so that nobody relies on its bytes; the statement has none.
	predicate, err := protojson.Marshal(provenance)
	if err != nil {
		return pipeline.Statement{}, err
	}
	return state(Subject{Name: in.Build.Spec.Output.Repository, Digest: digest}, pipeline.PredicateProvenance, predicate)
}

// digest of the subject.
func (in ProvenanceInput) digest() (string, error) {
	if in.Of == pipeline.SubjectIndex {
		return in.Build.Status.Digest, nil
	}
	for _, p := range in.Build.Status.Platforms {
		if p.Platform == in.Of {
			return p.Digest, nil
		}
	}
	return "", fmt.Errorf("status.platforms does not have %q", in.Of)
}

func (in ProvenanceInput) definition() (*slsa.BuildDefinition, error) {
	external, err := in.externalParameters()
	if err != nil {
		return nil, err
	}
	internal, err := in.internalParameters()
	if err != nil {
		return nil, err
	}
	dependencies, err := resolvedDependencies(&in.Build.Spec)
	if err != nil {
		return nil, err
	}
	return &slsa.BuildDefinition{
		BuildType:            BuildType,
		ExternalParameters:   external,
		InternalParameters:   internal,
		ResolvedDependencies: dependencies,
	}, nil
}

func (in ProvenanceInput) details() (*slsa.RunDetails, error) {
	builder, err := in.builder()
	if err != nil {
		return nil, err
	}
	metadata, err := in.metadata()
	if err != nil {
		return nil, err
	}
	products, err := in.byproducts()
	if err != nil {
		return nil, err
	}
	return &slsa.RunDetails{Builder: builder, Metadata: metadata, Byproducts: products}, nil
}

func (in ProvenanceInput) builder() (*slsa.Builder, error) {
	id, err := in.Mode.builder()
	if err != nil {
		return nil, err
	}
	kaniko, err := imageDescriptor("kaniko", in.Kaniko)
	if err != nil {
		return nil, err
	}
	worker, err := imageDescriptor("worker", in.Worker)
	if err != nil {
		return nil, err
	}
	if in.Version == "" {
		return nil, errors.New("the operator does not know its version")
	}
	return &slsa.Builder{
		Id:                  id,
		Version:             map[string]string{"basewright": in.Version},
		BuilderDependencies: []*intoto.ResourceDescriptor{kaniko, worker},
	}, nil
}

func (in ProvenanceInput) metadata() (*slsa.BuildMetadata, error) {
	id, err := invocationURI(in.Build.UID)
	if err != nil {
		return nil, err
	}
	m := &slsa.BuildMetadata{InvocationId: id}
	if started := in.Build.Status.StartedAt; !started.IsZero() {
		m.StartedOn = timestamppb.New(started.UTC())
		if !in.FinishedOn.IsZero() && in.FinishedOn.Before(started.Time) {
			return nil, fmt.Errorf("it finished at %s, before it started at %s", timestamp(in.FinishedOn), timestamp(started.Time))
		}
	}
	if !in.FinishedOn.IsZero() {
		m.FinishedOn = timestamppb.New(in.FinishedOn.UTC())
	}
	return m, nil
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// invocationURI names a build, of whatever cluster (RFC 9562).
func invocationURI(uid types.UID) (string, error) {
	if !uuid.MatchString(string(uid)) {
		return "", fmt.Errorf("the UID %.100q of the build is not a UUID", uid)
	}
	return "urn:uuid:" + string(uid), nil
}
