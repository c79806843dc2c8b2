// Package runtimetest turns a platform's image into a Job that tests it from inside, and the probe's report into
// results. It is pure: nothing here talks to a cluster or a registry.
package runtimetest

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/probe"
)

// Containers of a test pod, in the order in which they run.
const (
	// ContainerInstall is the worker, which runs natively and puts the platform's probe into a volume.
	ContainerInstall = "install"
	// ContainerTest is the image, with the probe as its command.
	ContainerTest = "test"
)

const (
	volumeProbe = "probe"
	// dirInstall is where the worker sees the volume, dirProbe where the image does. A file that an image has there is
	// hidden by the volume.
	dirInstall = "/probe-volume"
	dirProbe   = "/basewright-probe"
	probeName  = "probe"
	// probeBytes is the size of the volume.
	probeBytes = 32 << 20

	installUser = 65532
	// deadline in seconds, of pulling the images, the probe, and 30 seconds for the image's command. It counts from when a
	// node has taken the pod.
	deadline = 300
)

// defaultUser is that of spec.tests.user.
const defaultUser = 65532

// JobOptions are what a Job is made of.
type JobOptions struct {
	Build    *v1alpha1.BaseImageBuild
	Platform v1alpha1.PlatformBuild
	// Image of the platform in the output repository, by digest: repository@sha256:….
	Image string
	// UID and GID that the image declares. The test fails if it runs as another. The user is left to the kubelet, which
	// takes it from the image; it does not take the group.
	UID, GID int64
	// WorkerImage has the probes.
	WorkerImage string
	Tests       v1alpha1.TestPolicy
}

// Job makes the Job that tests the image of one platform: install puts the probe into a volume, test is the image with
// the probe as its command, under everything that the Pod Security Standard "restricted" asks for and a read-only root.
func Job(o JobOptions) (*batchv1.Job, error) {
	platform, err := pipeline.ParsePlatform(o.Platform.Platform)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(o.Image, "@sha256:") {
		return nil, pipeline.Terminalf(pipeline.ReasonInternalError, "%s: the image to test, %q, is not given by digest", platform, o.Image)
	}
	if o.UID < 1 || o.GID < 0 {
		return nil, pipeline.Terminalf(pipeline.ReasonInternalError, "%s: an image of the user %d:%d can't be tested: it must be numeric and not root", platform, o.UID, o.GID)
	}
	meta := job.Labels(o.Build)
	meta[job.LabelArchitecture], meta[job.LabelJob] = platform.Architecture, job.KindTest
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: JobName(o.Build.Name, platform), Namespace: o.Build.Namespace, Labels: job.WithKueue(meta, o.Build)},
		Spec: batchv1.JobSpec{
			// A build is repeated as a new build, with its own record, never inside a Job.
			BackoffLimit:          ptr.To[int32](0),
			ActiveDeadlineSeconds: new(int64(o.Build.Spec.Timeout.Seconds())),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(meta)},
				Spec:       podSpec(o, platform),
			},
		},
	}, nil
}

// JobName is the name of the Job that tests a platform.
func JobName(build string, p pipeline.Platform) string {
	return job.Name(build, job.KindTest+"-"+p.Architecture)
}

func podSpec(o JobOptions, platform pipeline.Platform) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		ActiveDeadlineSeconds:        ptr.To[int64](deadline),
		AutomountServiceAccountToken: new(false),
		EnableServiceLinks:           new(false),
		NodeSelector:                 o.Platform.NodeSelector,
		Tolerations:                  o.Platform.Tolerations,
		Affinity:                     &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: nodesFor(platform)}},
		ImagePullSecrets:             pullSecrets(o.Build),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   new(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{installContainer(o, platform)},
		Containers:     []corev1.Container{testContainer(o)},
		Volumes: []corev1.Volume{{Name: volumeProbe, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(probeBytes, resource.BinarySI)},
		}}},
	}
}

// pullSecrets let the kubelet pull from a private repository what was just pushed there. No container sees them.
func pullSecrets(build *v1alpha1.BaseImageBuild) []corev1.LocalObjectReference {
	if ref := build.Spec.Output.PushSecretRef; ref != nil {
		return []corev1.LocalObjectReference{{Name: ref.Name}}
	}
	return nil
}

// locked is what both containers may do: nothing.
func locked() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot:             new(true),
		ReadOnlyRootFilesystem:   new(true),
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func installContainer(o JobOptions, platform pipeline.Platform) corev1.Container {
	security := locked()
	security.RunAsUser, security.RunAsGroup = ptr.To[int64](installUser), ptr.To[int64](installUser)
	return corev1.Container{
		Name:                     ContainerInstall,
		Image:                    o.WorkerImage,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		Args:                     []string{"install-probe", "--platform=" + platform.String(), "--to=" + dirInstall + "/" + probeName},
		Resources:                small("128Mi"),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             []corev1.VolumeMount{{Name: volumeProbe, MountPath: dirInstall}},
	}
}

func testContainer(o JobOptions) corev1.Container {
	security := locked()
	security.RunAsGroup = new(o.GID)
	return corev1.Container{
		Name:                     ContainerTest,
		Image:                    o.Image,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		Command:                  []string{dirProbe + "/" + probeName},
		Args:                     arguments(options(o.UID, o.GID, o.Tests)),
		Resources:                small("256Mi"),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             []corev1.VolumeMount{{Name: volumeProbe, MountPath: dirProbe, ReadOnly: true}},
	}
}

// options are what the probe is asked for.
func options(uid, gid int64, tests v1alpha1.TestPolicy) probe.Options {
	return probe.Options{
		UID: uid, GID: gid,
		AllowShells:          tests.Shells == v1alpha1.Allow,
		AllowPackageManagers: tests.PackageManagers == v1alpha1.Allow,
		Command:              tests.Command,
	}
}

func arguments(o probe.Options) []string {
	args := []string{"--uid=" + strconv.FormatInt(o.UID, 10), "--gid=" + strconv.FormatInt(o.GID, 10)}
	if o.AllowShells {
		args = append(args, "--allow-shells")
	}
	if o.AllowPackageManagers {
		args = append(args, "--allow-package-managers")
	}
	if len(o.Command) > 0 {
		args = append(append(args, "--"), literal(o.Command)...)
	}
	return args
}

// literal keeps the kubelet from replacing $(NAME) and $$ in the arguments of a command.
func literal(command []string) []string {
	args := slices.Clone(command)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$", "$$")
	}
	return args
}

func small(memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse(memory)},
	}
}
