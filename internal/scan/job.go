package scan

import (
	"maps"
	"slices"
	"strings"

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

const (
	volumeInput     = "input"
	volumeImages    = "images"
	volumeDatabases = "databases"
	volumeReports   = "reports"
	volumePush      = "push-credentials"

	dirInput     = "/input"
	dirImages    = "/images"
	dirDatabases = "/databases"
	dirReports   = "/reports"
	dirPush      = "/push-credentials"
	dirTemporary = "/tmp"

	// grypeArchive has no extension that Grype knows, so that Grype looks at the content to find its format.
	grypeArchive  = dirDatabases + "/grype.archive"
	grypeDatabase = dirDatabases + "/grype"
	trivyCache    = dirDatabases + "/trivy"

	scanUser = 65532
)

// JobOptions are what a scan Job is made of.
type JobOptions struct {
	Build *v1alpha1.BaseImageBuild
	// Images are digests of the platforms' manifests in the output repository, by platform.
	Images map[string]string
	// Images of the containers.
	WorkerImage, SyftImage, GrypeImage, TrivyImage string
	// Input of the scan, see Input.
	Input *corev1.ConfigMap
	// NodeSelector and Tolerations of the pod: those of build pods, unless a BaseImage has its own.
	NodeSelector map[string]string
	Tolerations  []corev1.Toleration
	// Limits of the pod's volumes. Zero fields have their defaults.
	Limits limits.Scan
}

// target is one image of a scan.
type target struct {
	platform pipeline.Platform
	digest   string
}

// Job makes the Job that scans every platform of a build, one after the other: prepare pulls the images and the
// databases, the scanners see nothing but files, report uploads what they wrote. Only prepare and report see the push
// secret; no container has a token.
func Job(o JobOptions) (*batchv1.Job, error) {
	targets, err := targetsOf(o.Images)
	if err != nil {
		return nil, err
	}
	meta := labelsOf(job.Labels(o.Build))
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: JobName(o.Build.Name), Namespace: o.Build.Namespace, Labels: job.WithKueue(meta, o.Build)},
		Spec: batchv1.JobSpec{
			// A scan is repeated with its build, never inside a Job.
			BackoffLimit:          ptr.To[int32](0),
			ActiveDeadlineSeconds: new(int64(o.Build.Spec.Timeout.Seconds())),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: maps.Clone(meta)},
				Spec:       podSpec(o, targets),
			},
		},
	}, nil
}

func targetsOf(images map[string]string) ([]target, error) {
	var targets []target
	for _, name := range slices.Sorted(maps.Keys(images)) {
		p, err := pipeline.ParsePlatform(name)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target{p, images[name]})
	}
	if len(targets) == 0 {
		return nil, pipeline.Terminalf(pipeline.ReasonInternalError, "making the scan Job: there is no image to scan")
	}
	return targets, nil
}

func podSpec(o JobOptions, targets []target) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: new(false),
		EnableServiceLinks:           new(false),
		NodeSelector:                 o.NodeSelector,
		Tolerations:                  o.Tolerations,
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser:      ptr.To[int64](scanUser),
			RunAsGroup:     ptr.To[int64](scanUser),
			FSGroup:        ptr.To[int64](scanUser),
			RunAsNonRoot:   new(true),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: initContainers(o, targets),
		Containers:     []corev1.Container{reportContainer(o)},
		Volumes:        volumes(o),
	}
}

// initContainers run in this order. Trivy opens its database for writing, and is last: Grype has read its own by then.
func initContainers(o JobOptions, targets []target) []corev1.Container {
	all := []corev1.Container{prepareContainer(o), grypeDBContainer(o)}
	for _, t := range targets {
		all = append(all, syftContainer(o, t), grypeContainer(o, t))
	}
	for _, t := range targets {
		all = append(all, trivyContainer(o, t), sarifContainer(o, t))
	}
	return all
}

func prepareContainer(o JobOptions) corev1.Container {
	return withPushSecret(o, container(ContainerPrepare, o.WorkerImage, workerResources(),
		[]string{"prepare", "--input=" + dirInput, "--input-digest=" + pipeline.InputDigest(o.Input.BinaryData), "--images=" + dirImages, "--databases=" + dirDatabases, "--reports=" + dirReports},
		reads(volumeInput, dirInput), writes(volumeImages, dirImages), writes(volumeDatabases, dirDatabases), writes(volumeReports, dirReports)))
}

func reportContainer(o JobOptions) corev1.Container {
	return withPushSecret(o, container(ContainerReport, o.WorkerImage, workerResources(),
		[]string{"report", "--input=" + dirInput, "--input-digest=" + pipeline.InputDigest(o.Input.BinaryData), "--reports=" + dirReports, "--databases=" + dirDatabases},
		reads(volumeInput, dirInput), reads(volumeReports, dirReports), reads(volumeDatabases, dirDatabases)))
}

func withPushSecret(o JobOptions, c corev1.Container) corev1.Container {
	if o.Build.Spec.Output.PushSecretRef != nil {
		c.Args = append(c.Args, "--docker-config="+dirPush+"/config.json")
		c.VolumeMounts = append(c.VolumeMounts, reads(volumePush, dirPush))
	}
	return c
}

// The scanners' images are unmodified: their entrypoints are the scanners.

func syftContainer(o JobOptions, t target) corev1.Container {
	c := container(ContainerOn(ContainerSyft, t.platform), o.SyftImage, scannerResources(),
		[]string{"scan", "oci-dir:" + t.dir(dirImages),
			// The layout has no name: these two become the subject of the SBOMs.
			"--source-name=" + o.Build.Spec.Output.Repository, "--source-version=" + t.digest,
			"--output=syft-json=" + t.report(pipeline.FileSyft), "--output=spdx-json@2.3=" + t.report(pipeline.FileSPDX), "--output=cyclonedx-json@1.6=" + t.report(pipeline.FileCycloneDX)},
		reads(volumeImages, dirImages), writes(volumeReports, dirReports))
	return scanner(c, ContainerSyft, "SYFT_CHECK_FOR_APP_UPDATE=false")
}

// grypeSettings keep Grype from the network. The age of its database is judged with the report.
var grypeSettings = []string{"GRYPE_DB_CACHE_DIR=" + grypeDatabase, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false", "GRYPE_CHECK_FOR_APP_UPDATE=false"}

func grypeDBContainer(o JobOptions) corev1.Container {
	c := container(ContainerGrypeDB, o.GrypeImage, scannerResources(), []string{"db", "import", grypeArchive}, writes(volumeDatabases, dirDatabases))
	return scanner(c, ContainerGrype, grypeSettings...)
}

func grypeContainer(o JobOptions, t target) corev1.Container {
	c := container(ContainerOn(ContainerGrype, t.platform), o.GrypeImage, scannerResources(),
		[]string{"sbom:" + t.report(pipeline.FileSyft), "--output=json", "--file=" + t.report(pipeline.FileGrype)},
		reads(volumeDatabases, dirDatabases), writes(volumeReports, dirReports))
	return scanner(c, ContainerGrype, grypeSettings...)
}

func trivyContainer(o JobOptions, t target) corev1.Container {
	c := container(ContainerOn(ContainerTrivy, t.platform), o.TrivyImage, scannerResources(),
		[]string{"image", "--input=" + t.dir(dirImages), "--cache-dir=" + trivyCache, "--cache-backend=memory",
			"--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--offline-scan", "--disable-telemetry", "--quiet",
			"--scanners=vuln", "--list-all-pkgs", "--format=json", "--output=" + t.report(pipeline.FileTrivy)},
		reads(volumeImages, dirImages), writes(volumeDatabases, dirDatabases), writes(volumeReports, dirReports))
	return scanner(c, ContainerTrivy)
}

func sarifContainer(o JobOptions, t target) corev1.Container {
	c := container(ContainerOn(ContainerSARIF, t.platform), o.TrivyImage, scannerResources(),
		[]string{"convert", "--cache-dir=" + dirTemporary + "/trivy", "--quiet", "--format=sarif", "--output=" + t.report(pipeline.FileSARIF), t.report(pipeline.FileTrivy)},
		writes(volumeReports, dirReports))
	return scanner(c, ContainerTrivy)
}

func (t target) dir(root string) string    { return root + "/" + t.platform.Architecture }
func (t target) report(file string) string { return t.dir(dirReports) + "/" + file }

// container is one without any privilege.
func container(name, image string, resources corev1.ResourceRequirements, args []string, mounts ...corev1.VolumeMount) corev1.Container {
	return corev1.Container{
		Name:            name,
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            args,
		Resources:       resources,
		SecurityContext: &corev1.SecurityContext{
			RunAsUser:                ptr.To[int64](scanUser),
			RunAsGroup:               ptr.To[int64](scanUser),
			RunAsNonRoot:             new(true),
			ReadOnlyRootFilesystem:   new(true),
			AllowPrivilegeEscalation: new(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		// The last lines of a scanner that fails are its message.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts:             mounts,
	}
}

// scanner gives a container of a tool settings of the form NAME=value, and a place for what it leaves behind.
func scanner(c corev1.Container, tool string, settings ...string) corev1.Container {
	for _, s := range append([]string{"HOME=" + dirTemporary, "TMPDIR=" + dirTemporary, "NO_COLOR=1"}, settings...) {
		name, value, _ := strings.Cut(s, "=")
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
	c.VolumeMounts = append(c.VolumeMounts, writes(temporary(tool), dirTemporary))
	return c
}

func temporary(tool string) string { return "tmp-" + tool }

func reads(volume, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: true}
}

func writes(volume, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: path}
}

func volumes(o JobOptions) []corev1.Volume {
	size := o.Limits.WithDefaults().VolumeBytes
	vs := []corev1.Volume{{Name: volumeInput, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: InputName(o.Build.Name)},
	}}}}
	for _, name := range []string{volumeImages, volumeDatabases, volumeReports, temporary(ContainerSyft), temporary(ContainerGrype), temporary(ContainerTrivy)} {
		vs = append(vs, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(size.Quantity())}}})
	}
	if ref := o.Build.Spec.Output.PushSecretRef; ref != nil {
		vs = append(vs, corev1.Volume{Name: volumePush, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: ref.Name,
			Items:      []corev1.KeyToPath{{Key: corev1.DockerConfigJsonKey, Path: "config.json"}},
		}}})
	}
	return vs
}

func workerResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

// scannerResources have room for a database of all distributions and an image of the largest size.
func scannerResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
	}
}
