package attest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func provenance(t *testing.T, in ProvenanceInput) *slsa.Provenance {
	t.Helper()
	st, err := Provenance(in)
	if err != nil {
		t.Fatal(err)
	}
	p := &slsa.Provenance{}
	predicate(t, st, p)
	return p
}

func names(all descriptors) []string {
	var out []string
	for _, one := range all {
		out = append(out, one.GetName())
	}
	return out
}

func TestByproducts(t *testing.T) {
	reports := func(platform string, kinds ...string) []string {
		for i := range kinds {
			kinds[i] = platform + "/" + kinds[i]
		}
		return kinds
	}
	amd := reports(amd64, "spdx", "cyclonedx", "grype", "trivy", "sarif", "test-result")
	arm := reports(arm64, "spdx", "cyclonedx", "grype", "trivy", "sarif")
	tests := map[string]struct {
		build *v1alpha1.BaseImageBuild
		of    string
		want  []string
	}{
		"a platform has its own reports":                  {gitBuild(), amd64, amd},
		"a platform without a test has no test result":    {gitBuild(), arm64, arm},
		"the index has all images and all reports":        {gitBuild(), pipeline.SubjectIndex, append(append(append([]string{amd64}, amd...), arm64), arm...)},
		"nothing was scanned or tested":                   {smallBuild(), amd64, nil},
		"the index of images that were scanned by nobody": {smallBuild(), pipeline.SubjectIndex, []string{amd64}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, names(provenance(t, provenanceOf(tt.build, tt.of)).GetRunDetails().GetByproducts())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheIndexHasTheDependenciesOfItsPlatforms(t *testing.T) {
	index := provenance(t, provenanceOf(gitBuild(), pipeline.SubjectIndex)).GetBuildDefinition()
	of := provenance(t, provenanceOf(gitBuild(), arm64)).GetBuildDefinition()
	want := []string{"source", "Dockerfile", "cgr.dev/chainguard/wolfi-base:latest", "alpine@" + d("21")}
	for name, b := range map[string]*slsa.BuildDefinition{"the index": index, "a platform": of} {
		if diff := cmp.Diff(want, names(b.GetResolvedDependencies())); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if diff := cmp.Diff(index.GetExternalParameters().AsMap(), of.GetExternalParameters().AsMap()); diff != "" {
		t.Error("one build was requested twice: " + diff)
	}
	if got := of.GetInternalParameters().AsMap()["platform"]; got != arm64 {
		t.Errorf("the platform is %v", got)
	}
	if got, ok := index.GetInternalParameters().AsMap()["platform"]; ok {
		t.Errorf("the index is said to be of %v", got)
	}
}

func TestSourceOfAProvenance(t *testing.T) {
	git := func(url, ref string) *v1alpha1.BaseImageBuild {
		return with(gitBuild(), func(b *v1alpha1.BaseImageBuild) { b.Spec.Source.Git = &v1alpha1.GitSource{URL: url, Ref: ref} })
	}
	commit := map[string]string{"gitCommit": strings.Repeat("c", 40)}
	files := map[string]string{"sha256": strings.TrimPrefix(d("60"), "sha256:")}
	tests := map[string]struct {
		build  *v1alpha1.BaseImageBuild
		url    any
		uri    string
		digest map[string]string
	}{
		"a branch":                        {git("https://git.example/a", "refs/heads/main"), "https://git.example/a", "git+https://git.example/a@refs/heads/main", commit},
		"the default branch":              {git("https://git.example/a", ""), "https://git.example/a", "git+https://git.example/a", commit},
		"a branch of strange characters":  {git("https://git.example/a", "a@b#c+d/e"), "https://git.example/a", "git+https://git.example/a@a%40b%23c+d/e", commit},
		"SSH, whose user is an address":   {git("ssh://git@git.example:22/a", "main"), "ssh://git@git.example:22/a", "git+ssh://git@git.example:22/a@main", commit},
		"a password of SSH":               {git("ssh://git:hunter2@git.example/a", "main"), "ssh://git@git.example/a", "git+ssh://git@git.example/a@main", commit},
		"a user and a password of HTTPS":  {git("https://me:hunter2@git.example/a", "main"), "https://git.example/a", "git+https://git.example/a@main", commit},
		"a token of HTTPS":                {git("https://hunter2@git.example/a", "main"), "https://git.example/a", "git+https://git.example/a@main", commit},
		"a token in a query or a segment": {git("https://git.example/a?token=hunter2#hunter2", "main"), "https://git.example/a", "git+https://git.example/a@main", commit},
		"files":                           {inlineBuild(), nil, "", files},
		"a ConfigMap":                     {configMapBuild(), nil, "", files},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := Provenance(provenanceOf(tt.build, amd64))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(st.Payload), "hunter2") {
				t.Errorf("it tells a secret: %s", st.Payload)
			}
			p := provenance(t, provenanceOf(tt.build, amd64)).GetBuildDefinition()
			source := p.GetExternalParameters().AsMap()["source"].(map[string]any)
			if source["url"] != tt.url || source["revision"] != tt.build.Spec.Inputs.Revision {
				t.Errorf("the parameter is %v", source)
			}
			dependency := p.GetResolvedDependencies()[0]
			if dependency.GetUri() != tt.uri {
				t.Errorf("the dependency is at %s", dependency.GetUri())
			}
			if diff := cmp.Diff(tt.digest, dependency.GetDigest()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProvenanceIsNotMadeOfHalfABuild(t *testing.T) {
	tests := map[string]func(*ProvenanceInput){
		"no mode":                          func(in *ProvenanceInput) { in.Mode = "" },
		"an unknown mode":                  func(in *ProvenanceInput) { in.Mode = "Isolated" },
		"Kaniko by tag":                    func(in *ProvenanceInput) { in.Kaniko = "registry.example/kaniko:v1" },
		"no worker":                        func(in *ProvenanceInput) { in.Worker = "" },
		"a digest that is cut off":         func(in *ProvenanceInput) { in.Worker = "registry.example/worker@sha256:1234" },
		"no version":                       func(in *ProvenanceInput) { in.Version = "" },
		"no UID":                           func(in *ProvenanceInput) { in.Build.UID = "" },
		"a UID that is none":               func(in *ProvenanceInput) { in.Build.UID = "build-7" },
		"a platform that was not built":    func(in *ProvenanceInput) { in.Of = "linux/s390x" },
		"no platform":                      func(in *ProvenanceInput) { in.Of = "" },
		"an index that was not assembled":  func(in *ProvenanceInput) { in.Of, in.Build.Status.Digest = pipeline.SubjectIndex, "" },
		"an image without a digest":        func(in *ProvenanceInput) { in.Build.Status.Platforms[0].Digest = "" },
		"an index of an image without one": func(in *ProvenanceInput) { in.Of, in.Build.Status.Platforms[1].Digest = pipeline.SubjectIndex, "" },
		"no repository":                    func(in *ProvenanceInput) { in.Build.Spec.Output.Repository = "" },
		"no source":                        func(in *ProvenanceInput) { in.Build.Spec.Source = v1alpha1.Source{} },
		"a branch instead of a commit":     func(in *ProvenanceInput) { in.Build.Spec.Inputs.Revision = "main" },
		"a commit in capitals":             func(in *ProvenanceInput) { in.Build.Spec.Inputs.Revision = strings.Repeat("C", 40) },
		"a commit that is none, of files": func(in *ProvenanceInput) {
			in.Build.Spec.Source.Git = nil
			in.Build.Spec.Source.Inline = &v1alpha1.InlineSource{}
		},
		"an upstream by tag":                func(in *ProvenanceInput) { in.Build.Spec.Upstreams[0].Digest = "latest" },
		"a report that is none":             func(in *ProvenanceInput) { in.Build.Status.Scan.Platforms[0].SARIF = "sarif" },
		"a test result that is none":        func(in *ProvenanceInput) { in.Build.Status.Tests.Platforms[0].Report = "sha256:" },
		"it finished before it had started": func(in *ProvenanceInput) { in.FinishedOn = started().Add(-time.Second) },
		"a URL that is none":                func(in *ProvenanceInput) { in.Build.Spec.Source.Git.URL = "https://me:hunter2@git.example:port/a" },
		"a URL in the form of scp":          func(in *ProvenanceInput) { in.Build.Spec.Source.Git.URL = "hunter2@git.example:a" },
		"a URL without a host":              func(in *ProvenanceInput) { in.Build.Spec.Source.Git.URL = "git:hunter2" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			in := provenanceOf(gitBuild(), amd64)
			change(&in)
			st, err := Provenance(in)
			if err == nil || st.Payload != nil {
				t.Fatalf("got %s", st.Payload)
			}
			// A defect of ours is no verdict on somebody's image.
			if pipeline.IsTerminal(err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestScansAreNotAttestedWithoutTheirCircumstances(t *testing.T) {
	tests := map[string]func(*VulnerabilitiesInput){
		"the scanner by tag":                func(in *VulnerabilitiesInput) { in.Image = "registry.example/grype:v1" },
		"no subject":                        func(in *VulnerabilitiesInput) { in.Subject.Digest = "" },
		"no repository":                     func(in *VulnerabilitiesInput) { in.Subject.Name = "" },
		"a database of unknown age":         func(in *VulnerabilitiesInput) { in.DatabaseBuilt = time.Time{} },
		"no place of the database":          func(in *VulnerabilitiesInput) { in.DatabaseLocation = "" },
		"a place that is no URL":            func(in *VulnerabilitiesInput) { in.DatabaseLocation = "https://hunter2@h:p/" },
		"no start":                          func(in *VulnerabilitiesInput) { in.StartedOn = time.Time{} },
		"no end":                            func(in *VulnerabilitiesInput) { in.FinishedOn = time.Time{} },
		"it finished before it had started": func(in *VulnerabilitiesInput) { in.FinishedOn = in.StartedOn.Add(-time.Second) },
		"no build":                          func(in *VulnerabilitiesInput) { in.BuildUID = "" },
		"no mode":                           func(in *VulnerabilitiesInput) { in.Mode = "" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			in := scanOf(Grype, document(t, "grype.json"))
			change(&in)
			st, err := Vulnerabilities(in)
			if err == nil || st.Payload != nil || pipeline.IsTerminal(err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %.100s, %v", st.Payload, err)
			}
		})
	}
}

func TestThePlaceOfADatabaseTellsNoSecret(t *testing.T) {
	in := scanOf(Grype, document(t, "grype.json"))
	in.DatabaseLocation = "https://me:hunter2@db.example/v6/latest.json?key=hunter2"
	st, err := Vulnerabilities(in)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(st.Payload); strings.Contains(text, "hunter2") || !strings.Contains(text, `"uri":"https://db.example/v6/latest.json"`) {
		t.Errorf("got %.600s", text)
	}
}
