package kaniko

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	buildjob "github.com/ibshafique/base-images/internal/job"
)

func eachJob(t *testing.T, check func(t *testing.T, o JobOptions, job *batchv1.Job)) {
	t.Helper()
	for desc, o := range jobs() {
		t.Run(desc, func(t *testing.T) {
			job, err := Job(o)
			if err != nil {
				t.Fatal(err)
			}
			check(t, o, job)
		})
	}
}

func containersOf(job *batchv1.Job) []corev1.Container {
	return slices.Concat(job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers)
}

func mounted(c corev1.Container) []string {
	var names []string
	for _, m := range c.VolumeMounts {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}

func TestContainersMountWhatTheyNeed(t *testing.T) {
	eachJob(t, func(t *testing.T, o JobOptions, job *batchv1.Job) {
		want := map[string][]string{
			ContainerFetch:  {volumeInput, volumeWorkspace},
			ContainerKaniko: {volumeImage, volumeWorkspace},
			ContainerPush:   {volumeImage, volumeInput},
		}
		if o.Build.Spec.Output.PushSecretRef != nil {
			want[ContainerPush] = []string{volumeImage, volumeInput, volumePush}
		}
		if gitSecret(o.Build) != nil {
			want[ContainerFetch] = []string{volumeGit, volumeInput, volumeWorkspace}
		}
		got := map[string][]string{}
		for _, c := range containersOf(job) {
			got[c.Name] = mounted(c)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOnlyPushComesAfterTheInstructions(t *testing.T) {
	eachJob(t, func(t *testing.T, _ JobOptions, job *batchv1.Job) {
		var names []string
		for _, c := range containersOf(job) {
			names = append(names, c.Name)
		}
		if diff := cmp.Diff([]string{ContainerFetch, ContainerKaniko, ContainerPush}, names); diff != "" {
			t.Error(diff)
		}
		if n := len(job.Spec.Template.Spec.InitContainers); n != 2 {
			t.Errorf("%d init containers: fetch and kaniko must end before push starts", n)
		}
	})
}

// Secrets could come as volumes, as environment, or as the token of a service account.
func TestNothingWorthStealingIsInThePod(t *testing.T) {
	eachJob(t, func(t *testing.T, o JobOptions, job *batchv1.Job) {
		pod := job.Spec.Template.Spec
		if !isFalse(pod.AutomountServiceAccountToken) || pod.ServiceAccountName != "" {
			t.Error("the pod has the token of a service account")
		}
		if pod.HostNetwork || pod.HostPID || pod.HostIPC || ptr.Deref(pod.ShareProcessNamespace, false) {
			t.Error("the pod shares a namespace")
		}
		for _, v := range pod.Volumes {
			refs := map[string]*v1alpha1.LocalReference{volumePush: o.Build.Spec.Output.PushSecretRef, volumeGit: gitSecret(o.Build)}
			if v.Secret != nil && (refs[v.Name] == nil || v.Secret.SecretName != refs[v.Name].Name) {
				t.Errorf("volume %s holds secret %s", v.Name, v.Secret.SecretName)
			}
			if v.HostPath != nil || v.Projected != nil || v.CSI != nil {
				t.Errorf("volume %s is neither the input, nor scratch space, nor the push secret", v.Name)
			}
		}
		for _, c := range containersOf(job) {
			if len(c.EnvFrom) > 0 || slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.ValueFrom != nil || e.Name != "SSL_CERT_DIR" }) {
				t.Errorf("container %s has the environment %v %v", c.Name, c.EnvFrom, c.Env)
			}
		}
	})
}

func TestContainersAreConfined(t *testing.T) {
	eachJob(t, func(t *testing.T, _ JobOptions, job *batchv1.Job) {
		profile := job.Spec.Template.Spec.SecurityContext.SeccompProfile
		if profile == nil || profile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("the pod has the seccomp profile %v", profile)
		}
		for _, c := range containersOf(job) {
			s := c.SecurityContext
			if !isFalse(s.AllowPrivilegeEscalation) || ptr.Deref(s.Privileged, false) {
				t.Errorf("container %s may escalate its privileges", c.Name)
			}
			if diff := cmp.Diff([]corev1.Capability{"ALL"}, s.Capabilities.Drop); diff != "" {
				t.Errorf("container %s: %s", c.Name, diff)
			}
			if c.Name != ContainerKaniko && (len(s.Capabilities.Add) > 0 || !ptr.Deref(s.ReadOnlyRootFilesystem, false)) {
				t.Errorf("container %s has capabilities %v or a writable root file system", c.Name, s.Capabilities.Add)
			}
			if s.SeccompProfile != nil {
				t.Errorf("container %s has a seccomp profile of its own", c.Name)
			}
		}
	})
}

func TestMemoryIsLimited(t *testing.T) {
	eachJob(t, func(t *testing.T, o JobOptions, job *batchv1.Job) {
		for _, c := range containersOf(job) {
			if c.Name == ContainerKaniko && o.Platform.Resources != nil {
				if diff := cmp.Diff(*o.Platform.Resources, c.Resources); diff != "" {
					t.Errorf("the user's resources: %s", diff)
				}
				continue
			}
			if c.Resources.Limits.Memory().IsZero() {
				t.Errorf("container %s has no memory limit", c.Name)
			}
		}
		for _, v := range job.Spec.Template.Spec.Volumes {
			if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.IsZero()) {
				t.Errorf("volume %s has no limit", v.Name)
			}
		}
	})
}

func TestAJobRunsOnce(t *testing.T) {
	eachJob(t, func(t *testing.T, o JobOptions, job *batchv1.Job) {
		if n := job.Spec.BackoffLimit; n == nil || *n != 0 {
			t.Errorf("backoffLimit is %v", n)
		}
		if p := job.Spec.Template.Spec.RestartPolicy; p != corev1.RestartPolicyNever {
			t.Errorf("restartPolicy is %s", p)
		}
		if s := job.Spec.ActiveDeadlineSeconds; s == nil || *s != int64(o.Build.Spec.Timeout.Seconds()) {
			t.Errorf("activeDeadlineSeconds is %v", s)
		}
	})
}

func TestKanikoPushesNothing(t *testing.T) {
	eachJob(t, func(t *testing.T, _ JobOptions, job *batchv1.Job) {
		kaniko := job.Spec.Template.Spec.InitContainers[1]
		for _, flag := range []string{"--no-push", "--no-push-cache"} {
			if !slices.Contains(kaniko.Args, flag) {
				t.Errorf("%s is not among %v", flag, kaniko.Args)
			}
		}
		for _, arg := range kaniko.Args {
			if strings.HasPrefix(arg, "--destination") || strings.HasPrefix(arg, "--cache") {
				t.Errorf("kaniko runs with %s", arg)
			}
		}
	})
}

// The labels of the Job select its pods, so they must not share one map.
func TestLabelsAreNotShared(t *testing.T) {
	eachJob(t, func(t *testing.T, _ JobOptions, job *batchv1.Job) {
		own := maps.Clone(job.Labels)
		maps.DeleteFunc(own, func(name, _ string) bool { return slices.Contains(buildjob.KueueLabels, name) })
		if diff := cmp.Diff(own, job.Spec.Template.Labels); diff != "" {
			t.Error(diff)
		}
		job.Labels["x"] = "y"
		if _, shared := job.Spec.Template.Labels["x"]; shared {
			t.Error("shared")
		}
	})
}

func isFalse(b *bool) bool { return b != nil && !*b }
