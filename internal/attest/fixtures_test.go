package attest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	repository = "registry.example/base/wolfi-micro"
	uid        = "6f1f2a7e-3c1b-4e0e-9d2c-0a6c1c1b7f10"
	amd64      = "linux/amd64"
	arm64      = "linux/arm64"
)

// d is a digest that can be told from others.
func d(digits string) string {
	return "sha256:" + strings.Repeat(digits, 64/len(digits))
}

func started() time.Time { return time.Date(2026, 11, 23, 8, 10, 0, 0, time.FixedZone("CET", 3600)) }

// gitBuild has every field of the spec but those of other sources, and everything in status that a provenance tells.
func gitBuild() *v1alpha1.BaseImageBuild {
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{Namespace: "base-images", Name: "wolfi-micro-7-ab12cd", UID: uid},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage:  "wolfi-micro",
			Attempt:    7,
			Reasons:    []v1alpha1.BuildReason{{Type: v1alpha1.BuildReasonSourceChanged, Old: strings.Repeat("b", 40), New: strings.Repeat("c", 40)}},
			Reason:     "SourceChanged",
			Retry:      1,
			Supersedes: "wolfi-micro-6-ab12cd",
			Inputs: v1alpha1.BuildInputs{
				Spec: d("10"), Revision: strings.Repeat("c", 40), Upstream: d("11"), Policy: d("12"), Rules: d("13"), VEX: d("14"),
				ScheduledFor: "2026-11-22T00:00:00Z", RequestedAt: "now", PushSecret: d("15"),
			},
			Source: v1alpha1.Source{
				Git:          &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "refs/heads/main", Path: "wolfi-micro", SecretRef: &v1alpha1.LocalReference{Name: "git"}},
				PollInterval: &metav1.Duration{Duration: time.Minute},
			},
			SourceTime:     metav1.NewTime(time.Date(2026, 11, 20, 15, 4, 5, 0, time.FixedZone("CET", 3600))),
			Dockerfile:     "FROM cgr.dev/chainguard/wolfi-base:latest AS build\nFROM scratch\n",
			DockerfilePath: "Dockerfile",
			Target:         "final",
			BuildArgs:      []v1alpha1.BuildArg{{Name: "VERSION", Value: "1.2.3"}, {Name: "EMPTY"}},
			Upstreams: []v1alpha1.ResolvedUpstream{
				{Ref: "cgr.dev/chainguard/wolfi-base:latest", Name: "cgr.dev/chainguard/wolfi-base:latest", Digest: d("20"), Pull: "mirror.example/chainguard/wolfi-base@" + d("20")},
				{Ref: "alpine@" + d("21"), Name: "docker.io/library/alpine@" + d("21"), Digest: d("21"), Pull: "docker.io/library/alpine@" + d("21")},
			},
			Platforms: []v1alpha1.PlatformBuild{{Platform: amd64}, {
				Platform:     arm64,
				NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"},
				Tolerations:  []corev1.Toleration{{Key: "builds", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
				Resources:    &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi")}},
			}},
			Output:           v1alpha1.Output{Repository: repository, Tags: []v1alpha1.Tag{"latest", "1"}, PushSecretRef: &v1alpha1.LocalReference{Name: "push"}},
			DockerfilePolicy: v1alpha1.DockerfilePolicy{FailOn: v1alpha1.PolicyWarn},
			Scan:             v1alpha1.ScanPolicy{OnlyFixed: true},
			Tests:            v1alpha1.TestPolicy{Shells: v1alpha1.Allow},
			Timeout:          metav1.Duration{Duration: time.Hour},
		},
		Status: v1alpha1.BaseImageBuildStatus{
			StartedAt: new(metav1.NewTime(started())),
			Digest:    d("30"),
			Platforms: []v1alpha1.PlatformImage{{Platform: amd64, Digest: d("31")}, {Platform: arm64, Digest: d("32")}},
			Scan: &v1alpha1.ScanResult{Platforms: []v1alpha1.PlatformReports{
				{Platform: amd64, Packages: 9, SPDX: d("40"), CycloneDX: d("41"), Grype: d("42"), Trivy: d("43"), SARIF: d("44")},
				{Platform: arm64, Packages: 9, SPDX: d("50"), CycloneDX: d("51"), Grype: d("52"), Trivy: d("53"), SARIF: d("54")},
			}},
			Tests: &v1alpha1.TestResult{Platforms: []v1alpha1.PlatformTests{
				{Platform: amd64, Outcome: v1alpha1.TestPassed, Report: d("45")}, {Platform: arm64, Outcome: v1alpha1.TestSkipped},
			}},
		},
	}
}

func with(b *v1alpha1.BaseImageBuild, change func(*v1alpha1.BaseImageBuild)) *v1alpha1.BaseImageBuild {
	change(b)
	return b
}

func inlineBuild() *v1alpha1.BaseImageBuild {
	return with(gitBuild(), func(b *v1alpha1.BaseImageBuild) {
		b.Spec.Inputs.Revision = d("60")
		b.Spec.Source = v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: b.Spec.Dockerfile, Files: map[string]v1alpha1.FileContent{"motd": "hello\n"}}}
	})
}

func configMapBuild() *v1alpha1.BaseImageBuild {
	return with(inlineBuild(), func(b *v1alpha1.BaseImageBuild) {
		b.Spec.Source = v1alpha1.Source{ConfigMapRef: &v1alpha1.LocalReference{Name: "wolfi-micro"}}
	})
}

// smallBuild has nothing that can be left out.
func smallBuild() *v1alpha1.BaseImageBuild {
	return with(inlineBuild(), func(b *v1alpha1.BaseImageBuild) {
		b.Spec.Target, b.Spec.BuildArgs, b.Spec.Upstreams = "", nil, nil
		b.Spec.Inputs = v1alpha1.BuildInputs{Revision: d("60")}
		b.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: amd64}}
		b.Status = v1alpha1.BaseImageBuildStatus{Digest: d("30"), Platforms: b.Status.Platforms[:1]}
	})
}

func provenanceOf(b *v1alpha1.BaseImageBuild, of string) ProvenanceInput {
	return ProvenanceInput{
		Build: b, Of: of, Mode: ModeIsolated, Version: "v0.4.0",
		Kaniko: "registry.example/kaniko@" + d("70"), Worker: "registry.example/basewright/worker:v0.4.0@" + d("71"),
		FinishedOn: started().Add(7 * time.Minute),
	}
}

func unguarded(in ProvenanceInput) ProvenanceInput {
	in.Mode, in.FinishedOn = ModeUnguarded, time.Time{}
	return in
}

func scanOf(s Scanner, report []byte) VulnerabilitiesInput {
	return VulnerabilitiesInput{
		Subject: platform(), Scanner: s, Report: report, Image: "registry.example/scanner:v1@" + d("72"),
		DatabaseBuilt: started().Add(-time.Hour), DatabaseLocation: "oci://registry.example/db:6",
		StartedOn: started().Add(8 * time.Minute), FinishedOn: started().Add(9 * time.Minute),
		BuildUID: uid, Mode: ModeIsolated,
	}
}

func platform() Subject { return Subject{Name: repository, Digest: d("31")} }

// document is a report of a real scanner.
func document(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "scan", "testdata", "reports", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const (
	spdx       = `{"spdxVersion":"SPDX-2.3","name":"a < b & c","packages":[{"size":9007199254740993}]}`
	testResult = `{"result":"PASSED","passedTests":["user"]}`
)

// statements are those of the golden files, by the names of the files.
func statements(t *testing.T) map[string]func() (pipeline.Statement, error) {
	grype, trivy, cyclonedx := document(t, "empty-grype.json"), document(t, "empty-trivy.json"), document(t, "empty-cyclonedx.json")
	return map[string]func() (pipeline.Statement, error){
		"provenance-index":           func() (pipeline.Statement, error) { return Provenance(provenanceOf(gitBuild(), pipeline.SubjectIndex)) },
		"provenance-platform":        func() (pipeline.Statement, error) { return Provenance(provenanceOf(gitBuild(), arm64)) },
		"provenance-inline":          func() (pipeline.Statement, error) { return Provenance(unguarded(provenanceOf(inlineBuild(), amd64))) },
		"provenance-configmap":       func() (pipeline.Statement, error) { return Provenance(provenanceOf(configMapBuild(), amd64)) },
		"provenance-nothing-to-tell": func() (pipeline.Statement, error) { return Provenance(provenanceOf(smallBuild(), amd64)) },
		"spdx":                       func() (pipeline.Statement, error) { return SPDX(platform(), []byte(spdx)) },
		"cyclonedx":                  func() (pipeline.Statement, error) { return CycloneDX(platform(), cyclonedx) },
		"grype":                      func() (pipeline.Statement, error) { return Vulnerabilities(scanOf(Grype, grype)) },
		"trivy":                      func() (pipeline.Statement, error) { return Vulnerabilities(scanOf(Trivy, trivy)) },
		"test-result":                func() (pipeline.Statement, error) { return TestResult(platform(), []byte(testResult)) },
	}
}
