package kaniko

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}
)

func gitBuild() *v1alpha1.BaseImageBuild {
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "wolfi-micro-7-ab12cd"},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage:  "wolfi-micro",
			Attempt:    7,
			Inputs:     v1alpha1.BuildInputs{Revision: strings.Repeat("c", 40)},
			Source:     v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "refs/heads/main", Path: "wolfi"}},
			SourceTime: metav1.NewTime(time.Date(2025, 3, 1, 2, 3, 4, 0, time.FixedZone("CET", 3600))),
			Output:     v1alpha1.Output{Repository: "registry.example/base/wolfi", PushSecretRef: &v1alpha1.LocalReference{Name: "push"}},
			Timeout:    metav1.Duration{Duration: 90 * time.Minute},
		},
	}
}

func inlineBuild() *v1alpha1.BaseImageBuild {
	b := gitBuild()
	b.Spec.Source = v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: "FROM scratch\n"}}
	b.Spec.Output.PushSecretRef = nil
	return b
}

func with(b *v1alpha1.BaseImageBuild, change func(*v1alpha1.BaseImageBuildSpec)) *v1alpha1.BaseImageBuild {
	change(&b.Spec)
	return b
}

func options(b *v1alpha1.BaseImageBuild, p v1alpha1.PlatformBuild) JobOptions {
	return JobOptions{Build: b, Platform: p, KanikoImage: "registry.example/kaniko@sha256:1", WorkerImage: "registry.example/worker@sha256:2",
		Input: &corev1.ConfigMap{BinaryData: map[string][]byte{pipeline.InputFile: []byte("{}")}}}
}

// jobs are those of the golden files.
func jobs() map[string]JobOptions {
	withCA := options(gitBuild(), v1alpha1.PlatformBuild{Platform: "linux/amd64"})
	kueue := options(inlineBuild(), v1alpha1.PlatformBuild{Platform: "linux/amd64"})
	kueue.Build.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "builds", "unrelated": "label"}
	kueue.Limits = limits.Build{WorkspaceBytes: 1 << 30, LayoutBytes: 3 << 30}
	withCA.Input.BinaryData[pipeline.CAFile] = []byte("PEM")
	return map[string]JobOptions{
		"git with a push secret for amd64": options(gitBuild(), v1alpha1.PlatformBuild{Platform: "linux/amd64"}),
		"git with a push secret for arm64": options(gitBuild(), v1alpha1.PlatformBuild{Platform: "linux/arm64"}),
		"inline without a push secret":     options(inlineBuild(), v1alpha1.PlatformBuild{Platform: "linux/amd64"}),
		"scheduled where it should run": options(inlineBuild(), v1alpha1.PlatformBuild{
			Platform:     "linux/arm64",
			NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"},
			Tolerations:  []corev1.Toleration{{Key: "builds", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}},
			Resources:    &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}},
		}),
		"a target and build args": options(with(inlineBuild(), func(s *v1alpha1.BaseImageBuildSpec) {
			s.Target = "final"
			s.BuildArgs = []v1alpha1.BuildArg{{Name: "VERSION", Value: "1.2 3"}, {Name: "EMPTY"}, {Name: "QUOTED", Value: `"$HOME"`}}
		}), v1alpha1.PlatformBuild{Platform: "linux/amd64"}),
		"a CA bundle": withCA,
		"a private repository": options(with(gitBuild(), func(s *v1alpha1.BaseImageBuildSpec) {
			s.Source.Git.SecretRef = &v1alpha1.LocalReference{Name: "git"}
		}), v1alpha1.PlatformBuild{Platform: "linux/amd64"}),
		"a queue of Kueue and limits": kueue,
	}
}

func golden(t *testing.T, name string, object any) {
	t.Helper()
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestJobIsAsInItsGoldenFile(t *testing.T) {
	for desc, o := range jobs() {
		t.Run(desc, func(t *testing.T) {
			job, err := Job(o)
			if err != nil {
				t.Fatal(err)
			}
			job.TypeMeta = metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"}
			golden(t, "job "+desc, job)
		})
	}
}

func TestInputIsAsInItsGoldenFile(t *testing.T) {
	dockerfiles := map[pipeline.Platform][]byte{amd64: []byte("FROM a@sha256:1\n"), arm64: []byte("FROM a@sha256:2\n")}
	for desc, o := range map[string]InputOptions{
		"git":                   {Build: gitBuild(), Dockerfiles: dockerfiles},
		"inline with files":     {Build: inlineBuild(), Dockerfiles: dockerfiles, Files: map[string][]byte{"Dockerfile": []byte("FROM a\n"), "etc/b": {0, 255}, "a": nil}},
		"a CA and private host": {Build: gitBuild(), Dockerfiles: dockerfiles, CABundle: "-----BEGIN CERTIFICATE-----\n", PrivateHosts: []string{"git.example"}},
		"limits":                {Build: gitBuild(), Dockerfiles: dockerfiles, Limits: limits.Limits{Source: limits.Source{Bytes: 1 << 30}}},
	} {
		t.Run(desc, func(t *testing.T) {
			cm, err := Input(o)
			if err != nil {
				t.Fatal(err)
			}
			cm.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
			golden(t, "input "+desc, cm)
		})
	}
}

func TestJobOfAnUnknownPlatform(t *testing.T) {
	_, err := Job(options(gitBuild(), v1alpha1.PlatformBuild{Platform: "linux/riscv64"}))
	assertTerminal(t, err, pipeline.ReasonUnknownPlatform)
}
