//go:build apiserver

package apiserver

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// minimalBaseImage has the fields that are required, and no other.
func minimalBaseImage(namespace, name string) *v1alpha1.BaseImage {
	return &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.BaseImageSpec{
			Source: v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: "FROM scratch\n"}},
			Output: v1alpha1.Output{Repository: "registry.example/base"},
		},
	}
}

// minimalBuild has the fields that are required, and no other.
func minimalBuild(namespace, name string) *v1alpha1.BaseImageBuild {
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage: "base", Attempt: 2, Reason: "Scheduled,UpstreamChanged",
			Reasons:    []v1alpha1.BuildReason{{Type: v1alpha1.BuildReasonScheduled}, {Type: v1alpha1.BuildReasonUpstreamChanged}},
			Source:     v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: "FROM scratch\n"}},
			SourceTime: metav1.NewTime(time.Unix(1_700_000_000, 0)),
			Dockerfile: "FROM scratch\n", DockerfilePath: "Dockerfile",
			Platforms: []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}},
			Output:    v1alpha1.Output{Repository: "registry.example/base"},
			Timeout:   metav1.Duration{Duration: time.Hour},
		},
	}
}

func TestDefaults(t *testing.T) {
	want := minimalBaseImage("", "").Spec
	want.Dockerfile = "Dockerfile"
	want.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}, {Platform: "linux/arm64"}}
	want.Output.Tags = []v1alpha1.Tag{"latest"}
	want.Upstream.Refresh = v1alpha1.RefreshAlways
	want.Schedule, want.TimeZone = "0 0 * * 0", "UTC"
	want.History = v1alpha1.History{Successful: new(int32(3)), Failed: new(int32(3))}

	namespace := newNamespace(t)
	minimal := created(t, minimalBaseImage(namespace, "minimal"))
	if diff := cmp.Diff(want, minimal.Spec); diff != "" {
		t.Errorf("required fields alone: %s", diff)
	}
	empty := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "BaseImage",
		"metadata": map[string]any{"namespace": namespace, "name": "empty"},
		"spec": map[string]any{
			"source":  map[string]any{"inline": map[string]any{"dockerfile": "FROM scratch\n"}},
			"output":  map[string]any{"repository": "registry.example/base"},
			"history": map[string]any{}, "upstream": map[string]any{},
		},
	}}
	created(t, empty)
	got := &v1alpha1.BaseImage{}
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(empty), got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Spec); diff != "" {
		t.Errorf("history and upstream without fields: %s", diff)
	}
	build := created(t, minimalBuild(namespace, "minimal"))
	if diff := cmp.Diff([]v1alpha1.Tag{"latest"}, build.Spec.Output.Tags); diff != "" {
		t.Errorf("a build's tags: %s", diff)
	}
}

func TestDefaultsGiveWay(t *testing.T) {
	image := minimalBaseImage(newNamespace(t), "full")
	image.Spec = v1alpha1.BaseImageSpec{
		Source:     v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "main", Path: "base"}},
		Dockerfile: "Other", Target: "final",
		BuildArgs: []v1alpha1.BuildArg{{Name: "VERSION", Value: "1"}},
		Platforms: []v1alpha1.PlatformBuild{{
			Platform: "linux/arm64", NodeSelector: map[string]string{"a": "b"},
			Tolerations: []corev1.Toleration{{Key: "a", Operator: corev1.TolerationOpExists}},
			Resources:   &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
		}},
		Output:   v1alpha1.Output{Repository: "registry.example/base", Tags: []v1alpha1.Tag{"3"}, PushSecretRef: &v1alpha1.LocalReference{Name: "push"}},
		Upstream: v1alpha1.UpstreamPolicy{Refresh: v1alpha1.RefreshNever, PollInterval: &metav1.Duration{}},
		Schedule: "@daily", TimeZone: "Asia/Dhaka", Suspend: true,
		// Zero is a value: no delay at all.
		Jitter:           &metav1.Duration{},
		StartingDeadline: &metav1.Duration{Duration: time.Minute},
		Timeout:          &metav1.Duration{Duration: 2 * time.Minute},
		Retries:          new(int32(0)),
		History:          v1alpha1.History{Successful: new(int32(1)), Failed: new(int32(2))},
	}
	image.Spec.DockerfilePolicy, image.Spec.Scan, image.Spec.Tests = fullGates()
	want := *image.Spec.DeepCopy()
	if diff := cmp.Diff(want, created(t, image).Spec); diff != "" {
		t.Error(diff)
	}
}

// fullGates have every field that a build is judged by.
func fullGates() (v1alpha1.DockerfilePolicy, v1alpha1.ScanPolicy, v1alpha1.TestPolicy) {
	expires := metav1.NewTime(time.Unix(1_900_000_000, 0))
	return v1alpha1.DockerfilePolicy{
			ExtraRules: &v1alpha1.LocalReference{Name: "rules"}, FailOn: v1alpha1.PolicyWarn,
			Exceptions: []v1alpha1.PolicyException{{Rule: "deny_add", Reason: "a tarball", Expires: expires}},
		}, v1alpha1.ScanPolicy{
			Grype: v1alpha1.ScannerGate{FailOn: v1alpha1.ThresholdHigh}, Trivy: v1alpha1.ScannerGate{FailOn: v1alpha1.ThresholdNever},
			OnlyFixed: true, VEXRef: &v1alpha1.LocalReference{Name: "vex"},
			Waivers: []v1alpha1.Waiver{{ID: "CVE-2022-48174", Package: "busybox-static", Reason: "not reachable", Expires: expires}},
			GitHub:  &v1alpha1.GitHubCodeScanning{Repository: "owner/name", Ref: "refs/heads/main", TokenSecretRef: v1alpha1.LocalReference{Name: "github"}},
		}, v1alpha1.TestPolicy{
			User: new(int64(1000)), Shells: v1alpha1.Allow, PackageManagers: v1alpha1.Forbid, SetuidFiles: v1alpha1.Allow,
			MaxSize: new(resource.MustParse("50Mi")), RequiredLabels: []string{"team"}, Command: []string{"/app", "--version"},
		}
}

// A build is judged by a copy: what the API makes of the copy must be what it made of the original.
func TestABuildHasTheGatesOfItsBaseImage(t *testing.T) {
	namespace := newNamespace(t)
	image, build := minimalBaseImage(namespace, "x"), minimalBuild(namespace, "x-1")
	image.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images"}}
	image.Spec.DockerfilePolicy, image.Spec.Scan, image.Spec.Tests = fullGates()
	image = created(t, image)
	build.Spec.DockerfilePolicy, build.Spec.Scan, build.Spec.Tests = image.Spec.DockerfilePolicy, image.Spec.Scan, image.Spec.Tests
	build = created(t, build)
	policy, scan, tests := fullGates()
	for name, diff := range map[string]string{
		"dockerfilePolicy": cmp.Diff(policy, build.Spec.DockerfilePolicy), "scan": cmp.Diff(scan, build.Spec.Scan), "tests": cmp.Diff(tests, build.Spec.Tests),
	} {
		if diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What an object does not say about gates stays unsaid: the operator's defaults are not written into it.
func TestGatesHaveNoDefaultsInObjects(t *testing.T) {
	image := created(t, minimalBaseImage(newNamespace(t), "x"))
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("BaseImage"))
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(image), stored); err != nil {
		t.Fatal(err)
	}
	for _, section := range []string{"dockerfilePolicy", "scan", "tests"} {
		if value, found, _ := unstructured.NestedFieldNoCopy(stored.Object, "spec", section); found {
			t.Errorf("spec.%s is %v", section, value)
		}
	}
}

// What the pages tell people to apply is accepted.
func TestDocumentedObjectsAreAccepted(t *testing.T) {
	namespace := newNamespace(t)
	for _, page := range []string{"baseimage.md", "gates.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		examples := regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n").FindAllSubmatch(text, -1)
		if len(examples) == 0 {
			t.Errorf("docs/%s has no example", page)
		}
		for _, example := range examples {
			object := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict(example[1], &object.Object); err != nil {
				t.Fatalf("docs/%s: %v", page, err)
			}
			object.SetNamespace(namespace)
			if err := k8s.Create(t.Context(), object, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Errorf("docs/%s: %v", page, err)
			}
		}
	}
}

func TestBaseImageNames(t *testing.T) {
	namespace := newNamespace(t)
	tests := map[string]struct {
		name    string
		refused bool
	}{
		"63 characters fit into a label": {text(63), false},
		"64 characters do not":           {text(64), true},
		"a hyphen is part of a name":     {"a-b", false},
		"a dot is not":                   {"a.b", true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := k8s.Create(t.Context(), minimalBaseImage(namespace, tt.name))
			if !tt.refused {
				if err != nil {
					t.Error(err)
				}
				return
			}
			// A rule about metadata can't have a field path, so the message names the field.
			assertRefused(t, err, "metadata.name must have at most 63 characters and no dots", "<nil>")
		})
	}
}

func TestSpecIsRequired(t *testing.T) {
	namespace := newNamespace(t)
	for _, kind := range []string{"BaseImage", "BaseImageBuild"} {
		r := rule{field: "spec"}
		if err := k8s.Create(t.Context(), r.object(t, kind, namespace, complete(kind)["spec"])); err != nil {
			t.Errorf("%s with spec: %v", kind, err)
		}
		assertRefused(t, k8s.Create(t.Context(), r.object(t, kind, namespace, absent)), "Required", "spec")
	}
}

func TestBuildSpecNeverChanges(t *testing.T) {
	build := created(t, minimalBuild(newNamespace(t), "x"))
	changes := map[string]func(*v1alpha1.BaseImageBuildSpec){
		"a value":     func(s *v1alpha1.BaseImageBuildSpec) { s.Output.Repository = "registry.example/other" },
		"a list":      func(s *v1alpha1.BaseImageBuildSpec) { s.Output.Tags = append(s.Output.Tags, "other") },
		"a new field": func(s *v1alpha1.BaseImageBuildSpec) { s.Target = "x" },
		"a waiver": func(s *v1alpha1.BaseImageBuildSpec) {
			s.Scan.Waivers = []v1alpha1.Waiver{{ID: "CVE-1", Reason: "late", Expires: metav1.Now()}}
		},
		"a threshold":  func(s *v1alpha1.BaseImageBuildSpec) { s.Scan.Grype.FailOn = v1alpha1.ThresholdNever },
		"a test":       func(s *v1alpha1.BaseImageBuildSpec) { s.Tests.Shells = v1alpha1.Allow },
		"a policy":     func(s *v1alpha1.BaseImageBuildSpec) { s.DockerfilePolicy.FailOn = v1alpha1.PolicyWarn },
		"the platform": func(s *v1alpha1.BaseImageBuildSpec) { s.Platforms[0].NodeSelector = map[string]string{"a": "b"} },
	}
	for desc, change := range changes {
		t.Run(desc, func(t *testing.T) {
			changed := build.DeepCopy()
			change(&changed.Spec)
			assertRefused(t, k8s.Update(t.Context(), changed), "is immutable", "spec")
		})
	}
	t.Run("labels and status may change", func(t *testing.T) {
		changed := build.DeepCopy()
		changed.Labels = map[string]string{"a": "b"}
		if err := k8s.Update(t.Context(), changed); err != nil {
			t.Error(err)
		}
		changed.Status.Phase = v1alpha1.PhaseBuilding
		if err := k8s.Status().Update(t.Context(), changed); err != nil {
			t.Error(err)
		}
	})
}

func TestBaseImageSpecMayChange(t *testing.T) {
	image := created(t, minimalBaseImage(newNamespace(t), "x"))
	image.Spec.Suspend = true
	image.Spec.Schedule = "@monthly"
	if err := k8s.Update(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	image.Spec.Schedule = "TZ=UTC @monthly"
	assertRefused(t, k8s.Update(t.Context(), image), "spec.timeZone", "spec.schedule")
}

func TestStatusIsWrittenApart(t *testing.T) {
	image := minimalBaseImage(newNamespace(t), "x")
	image.Status.NextBuild = "soon"
	created(t, image)
	if image.Status.NextBuild != "" {
		t.Error("creating an object writes its status")
	}
	image.Status.NextBuild = strings.Repeat("1", 20)
	image.Spec.Schedule = "@monthly"
	if err := k8s.Status().Update(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	if image.Spec.Schedule == "@monthly" || image.Status.NextBuild == "" {
		t.Errorf("the status subresource writes %+v", image)
	}
}
