package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// externalParameters are what the author of the BaseImage has chosen, and whoever may write the source: the whole request.
// Their fields are named as in the API, and specified in docs/build-type.md.
type externalParameters struct {
	BaseImage  imageName                `json:"baseImage"`
	Source     sourceParameters         `json:"source"`
	SourceTime string                   `json:"sourceTime"`
	Dockerfile string                   `json:"dockerfile"`
	Target     string                   `json:"target,omitempty"`
	BuildArgs  map[string]string        `json:"buildArgs,omitempty"`
	Platforms  []v1alpha1.PlatformBuild `json:"platforms"`
	Output     outputParameters         `json:"output"`
}

// imageName is who has asked: the signer is the same for all.
type imageName struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

type sourceParameters struct {
	Kind string `json:"kind"`
	// URL, Ref and Path of git.
	URL  string `json:"url,omitempty"`
	Ref  string `json:"ref,omitempty"`
	Path string `json:"path,omitempty"`
	// Name of a ConfigMap.
	Name     string `json:"name,omitempty"`
	Revision string `json:"revision"`
}

type outputParameters struct {
	Repository string         `json:"repository"`
	Tags       []v1alpha1.Tag `json:"tags"`
}

// internalParameters are what the operator adds.
type internalParameters struct {
	// Platform is not set for an index.
	Platform string          `json:"platform,omitempty"`
	Build    buildParameters `json:"build"`
	Gates    gateParameters  `json:"gates,omitzero"`
}

type buildParameters struct {
	Name    string `json:"name"`
	Attempt int64  `json:"attempt"`
	Reason  string `json:"reason"`
}

// gateParameters name what an image was judged by. They decide whether it is published, not what is in it.
type gateParameters struct {
	Policy string `json:"policy,omitempty"`
	Rules  string `json:"rules,omitempty"`
	VEX    string `json:"vex,omitempty"`
}

func (in ProvenanceInput) externalParameters() (*structpb.Struct, error) {
	spec := &in.Build.Spec
	source, err := sourceOf(spec)
	if err != nil {
		return nil, err
	}
	arguments := map[string]string{}
	for _, a := range spec.BuildArgs {
		arguments[a.Name] = a.Value
	}
	return structOf(externalParameters{
		BaseImage:  imageName{Namespace: in.Build.Namespace, Name: spec.BaseImage},
		Source:     source,
		SourceTime: timestamp(spec.SourceTime.Time),
		Dockerfile: spec.DockerfilePath,
		Target:     spec.Target,
		BuildArgs:  arguments,
		Platforms:  spec.Platforms,
		Output:     outputParameters{Repository: spec.Output.Repository, Tags: spec.Output.Tags},
	})
}

func (in ProvenanceInput) internalParameters() (*structpb.Struct, error) {
	spec := &in.Build.Spec
	p := internalParameters{
		Build: buildParameters{Name: in.Build.Name, Attempt: spec.Attempt, Reason: spec.Reason},
		Gates: gateParameters{Policy: spec.Inputs.Policy, Rules: spec.Inputs.Rules, VEX: spec.Inputs.VEX},
	}
	if in.Of != pipeline.SubjectIndex {
		p.Platform = in.Of
	}
	return structOf(p)
}

// sourceOf is the source without what only gives access to it.
func sourceOf(spec *v1alpha1.BaseImageBuildSpec) (sourceParameters, error) {
	revision := spec.Inputs.Revision
	switch s := spec.Source; {
	case s.Git != nil:
		address, err := withoutCredentials(s.Git.URL)
		if err != nil {
			return sourceParameters{}, fmt.Errorf("spec.source.git.url: %w", err)
		}
		return sourceParameters{Kind: "Git", URL: address, Ref: s.Git.Ref, Path: s.Git.Path, Revision: revision}, nil
	case s.ConfigMapRef != nil:
		return sourceParameters{Kind: "ConfigMap", Name: s.ConfigMapRef.Name, Revision: revision}, nil
	case s.Inline != nil:
		return sourceParameters{Kind: "Inline", Revision: revision}, nil
	}
	return sourceParameters{}, errors.New("spec.source is empty")
}

// withoutCredentials is a URL without whatever may be a secret; all of it is refused in the spec. The user of SSH is part
// of an address. Errors do not repeat the URL.
func withoutCredentials(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Scheme == "" {
		return "", errors.New("it is not a URL with a scheme")
	}
	name := u.User.Username()
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	if u.Scheme == "ssh" && name != "" {
		u.User = url.User(name)
	}
	return u.String(), nil
}

// structOf is a value with JSON tags in the form that SLSA's type has for it.
func structOf(value any) (*structpb.Struct, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(raw)
}
