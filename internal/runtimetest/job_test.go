package runtimetest

import (
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
	"github.com/ibshafique/base-images/internal/pipeline"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func testOptions(platform string, change func(*JobOptions)) JobOptions {
	o := JobOptions{
		Build: &v1alpha1.BaseImageBuild{
			ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "wolfi-micro-7-ab12cd"},
			Spec: v1alpha1.BaseImageBuildSpec{
				BaseImage: "wolfi-micro",
				Output:    v1alpha1.Output{Repository: "registry.example/base/wolfi"},
				Timeout:   metav1.Duration{Duration: 90 * time.Minute},
			},
		},
		Platform:    v1alpha1.PlatformBuild{Platform: platform},
		Image:       "registry.example/base/wolfi@" + digest,
		UID:         65532,
		GID:         65532,
		WorkerImage: "registry.example/worker@" + digest,
	}
	if change != nil {
		change(&o)
	}
	return o
}

// jobs are those of the golden files.
func jobs() map[string]JobOptions {
	return map[string]JobOptions{
		"amd64": testOptions("linux/amd64", nil),
		"arm64": testOptions("linux/arm64", nil),
		"a private repository": testOptions("linux/amd64", func(o *JobOptions) {
			o.Build.Spec.Output.PushSecretRef = &v1alpha1.LocalReference{Name: "push"}
		}),
		"scheduled where it should run": testOptions("linux/arm64", func(o *JobOptions) {
			o.Platform.NodeSelector = map[string]string{"pool": "builds"}
			o.Platform.Tolerations = []corev1.Toleration{{Key: "builds", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}
			o.Build.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "builds", "unrelated": "label"}
		}),
		"another policy and a command": testOptions("linux/amd64", func(o *JobOptions) {
			o.UID, o.GID = 1000, 0
			o.Tests = v1alpha1.TestPolicy{Shells: v1alpha1.Allow, PackageManagers: v1alpha1.Allow, Command: []string{"/bin/app", "--uid=0", "$(HOME) $$ $x", ""}}
		}),
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
			got, err := yaml.Marshal(made)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", strings.ReplaceAll("job "+desc, " ", "-")+".yaml")
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
		})
	}
}

// The Pod Security Standard (https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted), as far
// as the fields that we set.
func TestPodsAreRestricted(t *testing.T) {
	for desc, o := range jobs() {
		t.Run(desc, func(t *testing.T) {
			made, err := Job(o)
			if err != nil {
				t.Fatal(err)
			}
			pod := made.Spec.Template.Spec
			if !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken {
				t.Errorf("the pod has %+v", pod.SecurityContext)
			}
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				s := c.SecurityContext
				if !*s.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
					len(s.Capabilities.Add) > 0 || s.Privileged != nil || s.SeccompProfile != nil {
					t.Errorf("container %s has %+v", c.Name, s)
				}
				if c.Resources.Limits.Memory().IsZero() || c.Resources.Limits.Cpu().IsZero() {
					t.Errorf("container %s has no limits", c.Name)
				}
				for _, m := range c.VolumeMounts {
					if c.Name == ContainerTest && !m.ReadOnly {
						t.Errorf("the image can write to %s", m.MountPath)
					}
				}
			}
			for _, v := range pod.Volumes {
				if v.EmptyDir == nil {
					t.Errorf("volume %s is no emptyDir", v.Name)
				}
			}
			if pod.Containers[0].SecurityContext.RunAsUser != nil {
				t.Error("the image's own user is not what is tested")
			}
		})
	}
}

func TestJobThatCannotBeMade(t *testing.T) {
	for desc, tt := range map[string]struct {
		change func(*JobOptions)
		reason string
	}{
		"an unknown platform": {func(o *JobOptions) { o.Platform.Platform = "linux/riscv64" }, pipeline.ReasonUnknownPlatform},
		"a tag":               {func(o *JobOptions) { o.Image = "registry.example/base/wolfi:latest" }, pipeline.ReasonInternalError},
		"root":                {func(o *JobOptions) { o.UID = 0 }, pipeline.ReasonInternalError},
		"no group":            {func(o *JobOptions) { o.GID = -1 }, pipeline.ReasonInternalError},
	} {
		t.Run(desc, func(t *testing.T) {
			made, err := Job(testOptions("linux/amd64", tt.change))
			assertTerminal(t, err, tt.reason, false)
			if made != nil {
				t.Error("a Job was made")
			}
		})
	}
}

func TestNamesFit(t *testing.T) {
	build := job.BuildName(strings.Repeat("a", 63), 1<<62, "decision")
	for _, p := range pipeline.Supported {
		if errs := validation.IsDNS1123Label(JobName(build, p)); len(errs) > 0 {
			t.Errorf("%s: %v", JobName(build, p), errs)
		}
	}
}

func TestCanRun(t *testing.T) {
	node := func(labels ...string) NodeFacts {
		all := map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
		for _, l := range labels {
			key, value, _ := strings.Cut(l, "=")
			all[key] = value
		}
		return NodeFacts{Labels: all}
	}
	builds := map[string]string{"pool": "builds"}
	tests := map[string]struct {
		nodes    []NodeFacts
		platform pipeline.Platform
		selector map[string]string
		want     bool
	}{
		"no nodes":                                    {nil, amd64, nil, false},
		"a node of the architecture":                  {[]NodeFacts{node()}, amd64, nil, true},
		"a node of another":                           {[]NodeFacts{node()}, arm64, nil, false},
		"the second is the one":                       {[]NodeFacts{node(), node("kubernetes.io/arch=arm64")}, arm64, nil, true},
		"a node that emulates it":                     {[]NodeFacts{node("emulation.basewright.dev/arm64=")}, arm64, nil, true},
		"a node that emulates another":                {[]NodeFacts{node("emulation.basewright.dev/riscv64=")}, arm64, nil, false},
		"a node of another operating system":          {[]NodeFacts{node("kubernetes.io/os=windows")}, amd64, nil, false},
		"one of another system that says it emulates": {[]NodeFacts{node("kubernetes.io/os=windows", "emulation.basewright.dev/amd64=")}, amd64, nil, false},
		"a node that the selector asks for":           {[]NodeFacts{node("pool=builds")}, amd64, builds, true},
		"a node with another value":                   {[]NodeFacts{node("pool=other")}, amd64, builds, false},
		"a node without the label":                    {[]NodeFacts{node()}, amd64, builds, false},
		"no label is not an empty one":                {[]NodeFacts{node()}, amd64, map[string]string{"pool": ""}, false},
		"two nodes that fit only together":            {[]NodeFacts{node("pool=builds"), node("kubernetes.io/arch=arm64")}, arm64, builds, false},
		"a node without labels":                       {[]NodeFacts{{}}, amd64, nil, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := CanRun(tt.nodes, tt.platform, tt.selector); got != tt.want {
				t.Errorf("got %t", got)
			}
			// The scheduler must come to the same.
			matches := slices.ContainsFunc(tt.nodes, func(n NodeFacts) bool {
				for key, value := range tt.selector {
					if got, ok := n.Labels[key]; !ok || got != value {
						return false
					}
				}
				return slices.ContainsFunc(nodesFor(tt.platform).NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool { return fits(t, term, n.Labels) })
			})
			if matches != tt.want {
				t.Errorf("the node affinity says %t", matches)
			}
		})
	}
}

func fits(t *testing.T, term corev1.NodeSelectorTerm, labels map[string]string) bool {
	for _, r := range term.MatchExpressions {
		value, ok := labels[r.Key]
		switch r.Operator {
		case corev1.NodeSelectorOpExists:
		case corev1.NodeSelectorOpIn:
			ok = ok && slices.Contains(r.Values, value)
		default:
			t.Fatalf("operator %s", r.Operator)
		}
		if !ok {
			return false
		}
	}
	return true
}

func TestJobsShareNothing(t *testing.T) {
	made, err := Job(testOptions("linux/amd64", nil))
	if err != nil {
		t.Fatal(err)
	}
	want := maps.Clone(made.Spec.Template.Labels)
	made.Labels["x"] = "y"
	if diff := cmp.Diff(want, made.Spec.Template.Labels); diff != "" {
		t.Error(diff)
	}
}
