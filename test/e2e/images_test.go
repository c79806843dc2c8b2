//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/hack/publish"
	"github.com/ibshafique/base-images/internal/registry"
)

// TestBaseImages builds the images of images/base from git on both platforms, checks what is in the registry, and has
// the kubelet run each of them.
func TestBaseImages(t *testing.T) {
	url, commit, err := publish.Directory(t.Context(), checkout, "e2e-base-images", "images")
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range createBaseImages(t, newNamespace(t), url) {
		t.Run(image.Name, func(t *testing.T) {
			ready := awaitReady(t, image)
			checkIndex(t, ready, url, commit)
			for _, p := range ready.Status.Image.Platforms {
				t.Run(strings.TrimPrefix(p.Platform, "linux/"), func(t *testing.T) { checkRuns(t, ready, p) })
			}
		})
	}
}

// createBaseImages applies the files of images/base with the sandbox's servers in place of the public ones.
func createBaseImages(t *testing.T, namespace, url string) []*v1alpha1.BaseImage {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(checkout, "images", "base", "*", "baseimage.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("images/base has %d images, want 3 (%v)", len(files), err)
	}
	var images []*v1alpha1.BaseImage
	for _, file := range files {
		image := read(t, file)
		image.Namespace = namespace
		image.Spec.Source.Git.URL = url
		image.Spec.Output.Repository = registryHost + "/" + namespace + "/" + image.Name
		image.Spec.Output.PushSecretRef.Name = pushSecret
		create(t, image)
		images = append(images, image)
	}
	return images
}

func read(t *testing.T, file string) *v1alpha1.BaseImage {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	image := &v1alpha1.BaseImage{}
	if err := yaml.UnmarshalStrict(raw, image); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return image
}

// registryOptions reach the sandbox's registry without credentials, as anybody may.
func registryOptions(t testing.TB) remote.Option {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := registry.New(registry.Config{CABundle: ca, PrivateHosts: []string{registryHost}})
	if err != nil {
		t.Fatal(err)
	}
	return remote.WithTransport(c.HTTPClient().Transport)
}

// pull reads what a tag of the image points to.
func pull(t *testing.T, image *v1alpha1.BaseImage, tag v1alpha1.Tag) *remote.Descriptor {
	t.Helper()
	ref, err := name.NewTag(image.Spec.Output.Repository + ":" + string(tag))
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(ref, registryOptions(t))
	if err != nil {
		t.Fatalf("reading %s: %v", ref, err)
	}
	return d
}

func checkIndex(t *testing.T, image *v1alpha1.BaseImage, url, commit string) {
	t.Helper()
	for _, tag := range image.Spec.Output.Tags {
		d := pull(t, image, tag)
		if d.Digest.String() != image.Status.Image.Digest || d.MediaType != types.OCIImageIndex {
			t.Errorf("%s is %s (%s), status says %s", tag, d.Digest, d.MediaType, image.Status.Image.Digest)
		}
		var index v1.IndexManifest
		if err := json.Unmarshal(d.Manifest, &index); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{
			"org.opencontainers.image.created":  "2026-01-01T00:00:00Z",
			"org.opencontainers.image.revision": commit,
			"org.opencontainers.image.source":   url,
		} {
			if got := index.Annotations[key]; got != want {
				t.Errorf("annotation %s = %q, want %q", key, got, want)
			}
		}
		based := index.Annotations["org.opencontainers.image.base.name"] != "" && index.Annotations["org.opencontainers.image.base.digest"] != ""
		if fromScratch := image.Name != "distroless-static"; based == fromScratch {
			t.Errorf("base annotations = %v, want them: %t", index.Annotations, !fromScratch)
		}
		var platforms []string
		for _, m := range index.Manifests {
			platforms = append(platforms, m.Platform.String())
		}
		if got := strings.Join(platforms, ","); got != "linux/amd64,linux/arm64" {
			t.Errorf("the index has %s", got)
		}
	}
}

// checkRuns has the kubelet pull a platform's image by digest and run a static program in it, as its user, with a
// read-only root. The images hold no program, so busybox is put into a volume.
func checkRuns(t *testing.T, image *v1alpha1.BaseImage, p v1alpha1.PlatformImage) {
	arch := strings.TrimPrefix(p.Platform, "linux/")
	if arch == "arm64" && !emulated(t) {
		t.Skip("this kernel has no binfmt_misc: arm64 images are built, but can't be run here")
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: image.Namespace, Name: "run-" + image.Name + "-" + arch},
		Spec: corev1.PodSpec{
			RestartPolicy:                corev1.RestartPolicyNever,
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			InitContainers: []corev1.Container{{Name: "tools", Image: standIn(t, arch), Command: []string{"/bin/busybox", "cp", "/bin/busybox", "/tools/busybox"},
				SecurityContext: restricted(), VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}}}},
			Containers: []corev1.Container{{Name: "image", Image: image.Spec.Output.Repository + "@" + p.Digest,
				Command: []string{"/tools/busybox", "sh", "-c", `
					echo "uid $(/tools/busybox id -u)"
					echo "machine $(/tools/busybox uname -m)"
					echo "user $(/tools/busybox awk -F: '$3 == 65532 {print $1}' /etc/passwd)"
					echo "authorities $(/tools/busybox grep -c BEGIN.CERTIFICATE /etc/ssl/certs/ca-certificates.crt)"
					if [ -n "$ZONEINFO" ] || [ -d /usr/share/zoneinfo ]; then echo "zone $(/tools/busybox wc -c < /usr/share/zoneinfo/Europe/Berlin)"; fi
					/tools/busybox touch /written 2>/dev/null && echo "root is writable" || echo "root is read-only"`},
				SecurityContext: restricted(), VolumeMounts: []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}}}},
			Volumes: []corev1.Volume{{Name: "tools", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
	create(t, pod)
	eventually(t, buildTimeout, "pod "+pod.Name+" to succeed", func(ctx context.Context) (bool, string) {
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return false, err.Error()
		}
		return pod.Status.Phase == corev1.PodSucceeded, fmt.Sprintf("%s %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
	})
	log := podLog(t, pod, "image")
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[arch]
	for _, want := range []string{"uid 65532", "machine " + machine, "user nonroot", "root is read-only"} {
		if !strings.Contains(log, want+"\n") {
			t.Errorf("the pod does not say %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "authorities 0") || strings.Contains(log, "authorities \n") {
		t.Errorf("the image has no certificate authorities:\n%s", log)
	}
	if zones := image.Name != "scratch-plus"; zones != strings.Contains(log, "zone ") || strings.Contains(log, "zone \n") {
		t.Errorf("time zones: want them: %t:\n%s", zones, log)
	}
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
}

func podLog(t *testing.T, pod *corev1.Pod, container string) string {
	t.Helper()
	raw, err := clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("reading the log of %s: %v", pod.Name, err)
	}
	return string(raw)
}

// emulated tells whether this node can run arm64 programs.
func emulated(t *testing.T) bool {
	t.Helper()
	entries, err := filepath.Glob("/proc/sys/fs/binfmt_misc/*aarch64*")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) > 0
}

// standIn is the platform digest of the sandbox's alpine.
func standIn(t *testing.T, arch string) string {
	t.Helper()
	repo := registryHost + "/mirror/docker.io/library/alpine"
	ref, err := name.NewTag(repo + ":3.23")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref, registryOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture == arch {
			return repo + "@" + m.Digest.String()
		}
	}
	t.Fatalf("%s has no %s", ref, arch)
	return ""
}
