package scan

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

const repository = "registry.example/base/wolfi"

var (
	digestAMD64 = "sha256:" + strings.Repeat("a", 64)
	digestARM64 = "sha256:" + strings.Repeat("b", 64)
)

func build() *v1alpha1.BaseImageBuild {
	return &v1alpha1.BaseImageBuild{
		ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "wolfi-micro-7-ab12cd"},
		Spec: v1alpha1.BaseImageBuildSpec{
			BaseImage:  "wolfi-micro",
			SourceTime: metav1.NewTime(time.Date(2025, 3, 1, 2, 3, 4, 0, time.UTC)),
			Output:     v1alpha1.Output{Repository: repository, PushSecretRef: &v1alpha1.LocalReference{Name: "push"}},
			Timeout:    metav1.Duration{Duration: 90 * time.Minute},
		},
	}
}

func options(platforms ...string) JobOptions {
	images := map[string]string{}
	for i, p := range platforms {
		images[p] = []string{digestAMD64, digestARM64}[i]
	}
	return JobOptions{
		Build: build(), Images: images,
		WorkerImage: "registry.example/worker@sha256:1", SyftImage: "registry.example/syft@sha256:2",
		GrypeImage: "registry.example/grype@sha256:3", TrivyImage: "registry.example/trivy@sha256:4",
		Input: &corev1.ConfigMap{BinaryData: map[string][]byte{pipeline.InputFile: []byte("{}")}},
	}
}

// jobs are those of the golden files.
func jobs() map[string]JobOptions {
	public := options("linux/amd64")
	public.Build.Spec.Output.PushSecretRef = nil
	queued := options("linux/amd64")
	queued.Build.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "builds", "unrelated": "label"}
	queued.Limits = limits.Scan{VolumeBytes: 3 << 30}
	return map[string]JobOptions{
		"two platforms":               options("linux/amd64", "linux/arm64"),
		"without a push secret":       public,
		"a queue of Kueue and limits": queued,
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
			made, err := Job(o)
			if err != nil {
				t.Fatal(err)
			}
			made.TypeMeta = metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"}
			golden(t, "job "+desc, made)
		})
	}
}

func TestInputIsAsInItsGoldenFile(t *testing.T) {
	cm, err := Input(InputOptions{
		Build: build(), Images: map[string]string{"linux/amd64": digestAMD64}, CABundle: "-----BEGIN CERTIFICATE-----\n",
		TrivyDatabase: "oci://registry.example/trivy-db:2", GrypeDatabase: "https://grype.example/latest.json",
		PrivateHosts: []string{"grype.example"}, TokenHosts: []pipeline.TokenHost{{Registry: "registry.example", Host: "auth.example"}},
		Limits: limits.Limits{Scan: limits.Scan{Matches: 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	cm.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
	golden(t, "input", cm)
	var in pipeline.WorkerInput
	if err := json.Unmarshal(cm.BinaryData[pipeline.InputFile], &in); err != nil {
		t.Fatal(err)
	}
	if in.Repository != repository || in.Scan.Images["linux/amd64"] != digestAMD64 || in.Limits.Scan.Matches != 7 {
		t.Errorf("the input says %+v", in)
	}
}

func TestInputWithoutACAHasNone(t *testing.T) {
	cm, err := Input(InputOptions{Build: build()})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(cm.BinaryData)); !slices.Equal(got, []string{pipeline.InputFile}) {
		t.Errorf("got %v", got)
	}
}

func eachContainer(t *testing.T, check func(t *testing.T, o JobOptions, spec corev1.PodSpec, c corev1.Container)) {
	t.Helper()
	for desc, o := range jobs() {
		made, err := Job(o)
		if err != nil {
			t.Fatal(err)
		}
		spec := made.Spec.Template.Spec
		for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
			t.Run(desc+", "+c.Name, func(t *testing.T) { check(t, o, spec, c) })
		}
	}
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
func TestEveryContainerIsRestricted(t *testing.T) {
	eachContainer(t, func(t *testing.T, _ JobOptions, spec corev1.PodSpec, c corev1.Container) {
		s := c.SecurityContext
		if s == nil || s.RunAsUser == nil || *s.RunAsUser == 0 || !isTrue(s.RunAsNonRoot) || !isTrue(s.ReadOnlyRootFilesystem) || !isFalse(s.AllowPrivilegeEscalation) {
			t.Errorf("security context %+v", s)
		}
		if s.Privileged != nil || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("capabilities %+v", s.Capabilities)
		}
		if p := spec.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("seccomp %+v", p)
		}
		if !isFalse(spec.AutomountServiceAccountToken) || !isFalse(spec.EnableServiceLinks) || spec.HostNetwork || spec.HostPID || spec.HostIPC {
			t.Error("the pod sees the cluster or the host")
		}
		if c.Resources.Limits.Memory().IsZero() || len(c.Command) > 0 {
			t.Errorf("resources %+v, command %v", c.Resources, c.Command)
		}
	})
}

func TestScannersSeeNoCredentialAndNoNetworkSetting(t *testing.T) {
	eachContainer(t, func(t *testing.T, o JobOptions, spec corev1.PodSpec, c corev1.Container) {
		ours := c.Image == o.WorkerImage
		if sees := mounts(c, volumePush); sees != (ours && o.Build.Spec.Output.PushSecretRef != nil) {
			t.Errorf("sees the push secret: %t", sees)
		}
		if mounts(c, volumeInput) != ours {
			t.Error("the worker alone reads the input")
		}
		for _, m := range c.VolumeMounts {
			if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				t.Errorf("there is no volume %s", m.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil {
				t.Errorf("%s comes from elsewhere", e.Name)
			}
		}
	})
}

func TestVolumesAreFilesAndBounded(t *testing.T) {
	for desc, o := range jobs() {
		made, err := Job(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range made.Spec.Template.Spec.Volumes {
			if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.Value() != int64(o.Limits.WithDefaults().VolumeBytes)) {
				t.Errorf("%s: %s has the limit %v", desc, v.Name, v.EmptyDir.SizeLimit)
			}
			if v.EmptyDir == nil && v.ConfigMap == nil && v.Secret == nil {
				t.Errorf("%s: %s is of another kind", desc, v.Name)
			}
		}
	}
}

func TestNamesFitTheirPlaces(t *testing.T) {
	name := job.BuildName(strings.Repeat("a", 63), 1<<62, "x")
	for _, n := range []string{JobName(name), InputName(name)} {
		if errs := validation.IsDNS1123Label(n); len(errs) > 0 {
			t.Errorf("%s: %v", n, errs)
		}
	}
}

func TestJobOfNothingOrOfAnUnknownPlatform(t *testing.T) {
	for desc, tt := range map[string]struct {
		images map[string]string
		reason string
	}{
		"no image":            {nil, pipeline.ReasonInternalError},
		"an unknown platform": {map[string]string{"linux/riscv64": digestAMD64}, pipeline.ReasonUnknownPlatform},
	} {
		t.Run(desc, func(t *testing.T) {
			o := options("linux/amd64")
			o.Images = tt.images
			_, err := Job(o)
			wantTerminal(t, err, tt.reason, false)
		})
	}
}

// The labels of the Job select its pods, so they must not share one map.
func TestLabelsAreNotShared(t *testing.T) {
	made, err := Job(options("linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	made.Labels["x"] = "y"
	if _, shared := made.Spec.Template.Labels["x"]; shared || made.Spec.Template.Labels[job.LabelJob] != JobScan {
		t.Errorf("the pod has the labels %v", made.Spec.Template.Labels)
	}
}

func wantTerminal(t *testing.T, err error, reason string, again bool) {
	t.Helper()
	terminal, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok || terminal.Reason != reason || terminal.Retryable != again {
		t.Errorf("got %v, want a Terminal with reason %s (retryable: %t)", err, reason, again)
	}
}

func mounts(c corev1.Container, volume string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
}

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }
