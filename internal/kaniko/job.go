package kaniko

import (
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Containers of a build pod, in the order in which they run.
const (
	ContainerFetch  = "fetch"
	ContainerKaniko = "kaniko"
	ContainerPush   = "push"
)

const (
	volumeInput     = "input"
	volumeWorkspace = "workspace"
	volumeImage     = "image"
	volumePush      = "push-credentials"
	volumeGit       = "git-credentials"

	dirInput     = "/input"
	dirWorkspace = "/workspace"
	dirImage     = "/image"
	dirPush      = "/push-credentials"
	dirGit       = "/git-credentials"

	fetchUser = 65532
)

// JobOptions are what a Job is made of.
type JobOptions struct {
	Build    *v1alpha1.BaseImageBuild
	Platform v1alpha1.PlatformBuild
	// Images of the containers.
	KanikoImage, WorkerImage string
	// Input of the build, see Input.
	Input *corev1.ConfigMap
	// Limits of the pod's volumes. Zero fields have their defaults.
	Limits limits.Build
}

// Job makes the Job that builds one platform: fetch writes the context, kaniko runs the Dockerfile
// without any credential or token and leaves an OCI layout, push uploads it by digest and is the only
// container that sees the push secret.
func Job(o JobOptions) (*batchv1.Job, error) {
	platform, err := pipeline.ParsePlatform(o.Platform.Platform)
	if err != nil {
		return nil, err
	}
	meta := job.Labels(o.Build)
	meta[job.LabelArchitecture] = platform.Architecture
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

func podSpec(o JobOptions, platform pipeline.Platform) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: new(false),
		EnableServiceLinks:           new(false),
		NodeSelector:                 o.Platform.NodeSelector,
		Tolerations:                  o.Platform.Tolerations,
		SecurityContext: &corev1.PodSecurityContext{
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{fetchContainer(o, platform), kanikoContainer(o, platform)},
		Containers:     []corev1.Container{pushContainer(o, platform)},
		Volumes:        volumes(o),
	}
}

// fetchContainer is the only one that sees the credentials of a private repository.
func fetchContainer(o JobOptions, platform pipeline.Platform) corev1.Container {
	c := corev1.Container{
		Name:            ContainerFetch,
		Image:           o.WorkerImage,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"fetch", "--input=" + dirInput, "--input-digest=" + pipeline.InputDigest(o.Input.BinaryData), "--workspace=" + dirWorkspace, "--platform=" + platform.String()},
		Resources:       workerResources(),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To[int64](fetchUser),
			RunAsGroup:               ptr.To[int64](fetchUser),
			RunAsNonRoot:             new(true),
			ReadOnlyRootFilesystem:   new(true),
			AllowPrivilegeEscalation: new(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeInput, MountPath: dirInput, ReadOnly: true},
			{Name: volumeWorkspace, MountPath: dirWorkspace},
		},
	}
	if gitSecret(o.Build) != nil {
		c.Args = append(c.Args, "--git-credentials="+dirGit)
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeGit, MountPath: dirGit, ReadOnly: true})
	}
	return c
}

// kanikoContainer runs as root with the five capabilities that unpacking a base image and a package
// manager need, and a writable root file system, because Kaniko unpacks images over its own.
func kanikoContainer(o JobOptions, platform pipeline.Platform) corev1.Container {
	c := corev1.Container{
		Name:            ContainerKaniko,
		Image:           o.KanikoImage,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            kanikoArgs(o.Build, platform),
		Resources:       kanikoResources(o.Platform.Resources),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To[int64](0),
			RunAsGroup:               ptr.To[int64](0),
			AllowPrivilegeEscalation: new(false),
			Capabilities: &corev1.Capabilities{
				Drop: []corev1.Capability{"ALL"},
				Add:  []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"},
			},
		},
		// The last lines of a failed build are its message.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeWorkspace, MountPath: dirWorkspace, ReadOnly: true},
			{Name: volumeImage, MountPath: dirImage},
		},
	}
	if _, ok := o.Input.BinaryData[pipeline.CAFile]; ok {
		c.Env = []corev1.EnvVar{{Name: "SSL_CERT_DIR", Value: "/kaniko/ssl/certs:" + dirWorkspace + "/certs"}}
	}
	return c
}

func kanikoArgs(build *v1alpha1.BaseImageBuild, platform pipeline.Platform) []string {
	args := []string{
		"--dockerfile=" + dirWorkspace + "/Dockerfile",
		"--context=dir://" + dirWorkspace + "/context",
		"--no-push",
		"--no-push-cache",
		"--oci-layout-path=" + dirImage + "/layout",
		"--custom-platform=" + platform.String(),
		"--reproducible",
		"--skip-unused-stages",
		"--image-download-retry=3",
		"--log-format=text",
	}
	if build.Spec.Target != "" {
		args = append(args, "--target="+build.Spec.Target)
	}
	auto := platform.BuildArgs()
	for _, name := range slices.Sorted(maps.Keys(auto)) {
		args = append(args, "--build-arg="+name+"="+auto[name])
	}
	for _, a := range build.Spec.BuildArgs {
		args = append(args, "--build-arg="+a.Name+"="+a.Value)
	}
	return args
}

// pushContainer runs as root without any capability: Kaniko leaves its layout readable by its own
// user alone.
func pushContainer(o JobOptions, platform pipeline.Platform) corev1.Container {
	c := corev1.Container{
		Name:            ContainerPush,
		Image:           o.WorkerImage,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"push", "--input=" + dirInput, "--input-digest=" + pipeline.InputDigest(o.Input.BinaryData), "--layout=" + dirImage + "/layout", "--platform=" + platform.String()},
		Resources:       workerResources(),
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To[int64](0),
			RunAsGroup:               ptr.To[int64](0),
			ReadOnlyRootFilesystem:   new(true),
			AllowPrivilegeEscalation: new(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeInput, MountPath: dirInput, ReadOnly: true},
			{Name: volumeImage, MountPath: dirImage, ReadOnly: true},
		},
	}
	if o.Build.Spec.Output.PushSecretRef != nil {
		c.Args = append(c.Args, "--docker-config="+dirPush+"/config.json")
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumePush, MountPath: dirPush, ReadOnly: true})
	}
	return c
}

func volumes(o JobOptions) []corev1.Volume {
	size := o.Limits.WithDefaults()
	vs := []corev1.Volume{
		{Name: volumeInput, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: InputName(o.Build.Name)},
		}}},
		{Name: volumeWorkspace, VolumeSource: emptyDir(size.WorkspaceBytes)},
		{Name: volumeImage, VolumeSource: emptyDir(size.LayoutBytes)},
	}
	if ref := o.Build.Spec.Output.PushSecretRef; ref != nil {
		vs = append(vs, corev1.Volume{Name: volumePush, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: ref.Name,
			Items:      []corev1.KeyToPath{{Key: corev1.DockerConfigJsonKey, Path: "config.json"}},
		}}})
	}
	if ref := gitSecret(o.Build); ref != nil {
		vs = append(vs, corev1.Volume{Name: volumeGit, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: ref.Name}}})
	}
	return vs
}

func gitSecret(build *v1alpha1.BaseImageBuild) *v1alpha1.LocalReference {
	if build.Spec.Source.Git == nil {
		return nil
	}
	return build.Spec.Source.Git.SecretRef
}

func emptyDir(limit limits.Bytes) corev1.VolumeSource {
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(limit.Quantity())}}
}

func workerResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

// kanikoResources never leave a build without a limit, whoever made it.
func kanikoResources(asked *corev1.ResourceRequirements) corev1.ResourceRequirements {
	if asked != nil {
		return *asked
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
	}
}
