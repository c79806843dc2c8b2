package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Names of resolved dependencies that are no images.
const (
	nameSource     = "source"
	nameDockerfile = "Dockerfile"
)

const mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"

type descriptors []*intoto.ResourceDescriptor

// resolvedDependencies are what was read to build: the source, its Dockerfile and every upstream.
func resolvedDependencies(spec *v1alpha1.BaseImageBuildSpec) (descriptors, error) {
	source, err := sourceDescriptor(spec)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(spec.Dockerfile))
	all := descriptors{source, {Name: nameDockerfile, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}}}
	for _, u := range spec.Upstreams {
		d, err := upstreamDescriptor(u)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

var gitCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// sourceDescriptor is a commit, or the files of an inline source or a ConfigMap together.
func sourceDescriptor(spec *v1alpha1.BaseImageBuildSpec) (*intoto.ResourceDescriptor, error) {
	revision := spec.Inputs.Revision
	if spec.Source.Git == nil {
		digest, err := digestSet(revision)
		if err != nil {
			return nil, fmt.Errorf("spec.inputs.revision: %w", err)
		}
		return &intoto.ResourceDescriptor{Name: nameSource, Digest: digest}, nil
	}
	if !gitCommit.MatchString(revision) {
		return nil, fmt.Errorf("spec.inputs.revision: %.100q is not a commit: it must be 40 hexadecimal digits", revision)
	}
	source, err := sourceOf(spec)
	if err != nil {
		return nil, err
	}
	return &intoto.ResourceDescriptor{Name: nameSource, Uri: gitURI(source), Digest: map[string]string{"gitCommit": revision}}, nil
}

// gitURI is git+<url>@<ref>, in the form of SPDX download locations; without a ref for the default branch.
func gitURI(s sourceParameters) string {
	if s.Ref == "" {
		return "git+" + s.URL
	}
	ref := (&url.URL{Path: s.Ref}).EscapedPath()
	return "git+" + s.URL + "@" + strings.ReplaceAll(ref, "@", "%40")
}

func upstreamDescriptor(u v1alpha1.ResolvedUpstream) (*intoto.ResourceDescriptor, error) {
	digest, err := digestSet(u.Digest)
	if err != nil {
		return nil, fmt.Errorf("spec.upstreams: %s: %w", u.Ref, err)
	}
	uri := "oci://" + u.Name
	if !strings.HasSuffix(u.Name, "@"+u.Digest) {
		uri += "@" + u.Digest
	}
	return &intoto.ResourceDescriptor{Name: u.Ref, Uri: uri, Digest: digest, DownloadLocation: "oci://" + u.Pull}, nil
}

// imageDescriptor names an image by its digest.
func imageDescriptor(name, image string) (*intoto.ResourceDescriptor, error) {
	_, digest, _ := strings.Cut(image, "@")
	set, err := digestSet(digest)
	if err != nil {
		return nil, fmt.Errorf("the image %q of %s is not given by digest: %w", image, name, err)
	}
	return &intoto.ResourceDescriptor{Name: name, Uri: "oci://" + image, Digest: set}, nil
}

// byproducts of a platform are the reports on it. Those of an index are of all platforms, with the images themselves.
func (in ProvenanceInput) byproducts() (descriptors, error) {
	var all descriptors
	for _, p := range in.Build.Status.Platforms {
		if in.Of == pipeline.SubjectIndex {
			image, err := in.artifact(p.Platform, p.Digest, "")
			if err != nil {
				return nil, err
			}
			all = append(all, image)
		}
		if in.Of != pipeline.SubjectIndex && in.Of != p.Platform {
			continue
		}
		reports, err := in.reports(p.Platform)
		if err != nil {
			return nil, err
		}
		all = append(all, reports...)
	}
	return all, nil
}

// reports on a platform that are in the registry.
func (in ProvenanceInput) reports(platform string) (descriptors, error) {
	var all descriptors
	for _, r := range reportsOn(&in.Build.Status, platform) {
		if r.digest == "" {
			continue
		}
		d, err := in.artifact(platform+"/"+r.name, r.digest, r.kind)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

type keptReport struct{ name, digest, kind string }

func reportsOn(status *v1alpha1.BaseImageBuildStatus, platform string) []keptReport {
	var all []keptReport
	if status.Scan != nil {
		for _, p := range status.Scan.Platforms {
			if p.Platform == platform {
				all = append(all, keptReport{"spdx", p.SPDX, pipeline.ArtifactSPDX}, keptReport{"cyclonedx", p.CycloneDX, pipeline.ArtifactCycloneDX},
					keptReport{"grype", p.Grype, pipeline.ArtifactGrype}, keptReport{"trivy", p.Trivy, pipeline.ArtifactTrivy}, keptReport{"sarif", p.SARIF, pipeline.ArtifactSARIF})
			}
		}
	}
	if status.Tests != nil {
		for _, p := range status.Tests.Platforms {
			if p.Platform == platform {
				all = append(all, keptReport{"test-result", p.Report, pipeline.ArtifactTestResult})
			}
		}
	}
	return all
}

// artifact names a manifest of the output repository; kind is its artifactType, if it has one.
func (in ProvenanceInput) artifact(name, digest, kind string) (*intoto.ResourceDescriptor, error) {
	set, err := digestSet(digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d := &intoto.ResourceDescriptor{Name: name, Uri: "oci://" + in.Build.Spec.Output.Repository + "@" + digest, Digest: set, MediaType: mediaTypeManifest}
	if kind != "" {
		d.Annotations = &structpb.Struct{Fields: map[string]*structpb.Value{"artifactType": structpb.NewStringValue(kind)}}
	}
	return d, nil
}
