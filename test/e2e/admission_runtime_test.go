//go:build e2e

package e2e

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// testRuntime has pods of a good image refused for how they would run. Each message names the policy, the field and the fix.
func (a *admission) testRuntime(t *testing.T) {
	ns := a.tenant(t)
	image := a.signed().byDigest()
	for name, test := range map[string]struct {
		change func(*corev1.PodSpec)
		words  []string
	}{
		"root": {func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.RunAsUser = ptr.To[int64](0) },
			[]string{"spec.containers[0].securityContext.runAsUser"}},
		"another user": {func(s *corev1.PodSpec) { s.SecurityContext.RunAsUser = ptr.To[int64](1000) },
			[]string{"runAsUser", "65532"}},
		"a privileged container": {func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext.Privileged, s.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true), new(true)
		}, []string{"spec.containers[0].securityContext.privileged", "spec.containers[0].securityContext.allowPrivilegeEscalation"}},
		"a directory of the node": {func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "node", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}, []string{"spec.volumes[0].hostPath"}},
		"the network of the node": {func(s *corev1.PodSpec) { s.HostNetwork = true }, []string{"spec.hostNetwork"}},
		"a root file system that it writes to": {func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.ReadOnlyRootFilesystem = nil },
			[]string{"spec.containers[0].securityContext.readOnlyRootFilesystem"}},
		"capabilities": {func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil },
			[]string{"spec.containers[0].securityContext.capabilities"}},
		"no seccomp": {func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil }, []string{"seccompProfile"}},
		"a token that it never asked for": {func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = nil },
			[]string{"spec.automountServiceAccountToken"}},
		"an init container that is root": {func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "init", Image: image, SecurityContext: restricted()}}
			s.InitContainers[0].SecurityContext.RunAsUser = ptr.To[int64](0)
		}, []string{"spec.initContainers[0].securityContext.runAsUser"}},
	} {
		t.Run("refused with "+name, func(t *testing.T) {
			t.Parallel()
			words := append(test.words, "Pod refused", "is refused", "policy "+ns, "rule ", "fix: ")
			refused(t, podOf(ns, "refused", image, test.change), forbidden, words...)
		})
	}
	t.Run("all that is wrong is said at once", func(t *testing.T) {
		t.Parallel()
		unsigned := a.variant(t, "wrong-everywhere").byDigest()
		refused(t, podOf(ns, "refused", unsigned, func(s *corev1.PodSpec) {
			s.HostPID = true
			s.Containers[0].SecurityContext.RunAsUser = ptr.To[int64](0)
		}), forbidden, "it is not signed", "spec.hostPID", "spec.containers[0].securityContext.runAsUser", "is refused for ")
	})
	t.Run("the resources of a pod may not grow beyond what is asked for", func(t *testing.T) {
		t.Parallel()
		a.testResize(t)
	})
}

// testResize changes a pod in place, which only runtime rules look at.
func (a *admission) testResize(t *testing.T) {
	ns := a.tenant(t, func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Runtime.Parameters = &v1alpha1.RuntimeParameters{RequiredLimits: []string{"memory"}}
	})
	limits := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	pod := podOf(ns, "resized", a.signed().byDigest(), func(s *corev1.PodSpec) { s.Containers[0].Resources.Limits = limits })
	refused(t, podOf(ns, "unlimited", a.signed().byDigest()), forbidden, "spec.containers[0].resources.limits", "memory", "policy "+ns)
	admitted(t, pod)
	create(t, pod)
	awaitPod(t, pod)
	resized := pod.DeepCopy()
	resized.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("80Mi")}
	resized.Spec.Containers[0].Resources.Requests = resized.Spec.Containers[0].Resources.Limits
	_, err := clientset.CoreV1().Pods(ns).UpdateResize(t.Context(), pod.Name, resized, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Errorf("resizing a pod that keeps its limit: %v", err)
	}
}

// testLaterImages are those that come into a pod beside its containers, or after it was made.
func (a *admission) testLaterImages(t *testing.T) {
	ns := a.tenant(t)
	unsigned, signed := a.variant(t, "unsigned-later"), a.signed()
	pod := podOf(ns, "debugged", signed.byDigest())
	admitted(t, pod)
	create(t, pod)
	awaitPod(t, pod)
	t.Run("an ephemeral container of an image that nobody signed is refused", func(t *testing.T) {
		t.Parallel()
		out, err := exec.CommandContext(t.Context(), kubectl, "--namespace="+ns, "debug", pod.Name, "--image="+unsigned.byDigest(), "--container=debugger", "--profile=restricted").CombinedOutput()
		if err == nil || lacks(string(out), []string{"spec.ephemeralContainers[0].image", unsigned.byDigest(), "policy " + ns, "it is not signed", "fix: "}) != "" {
			t.Errorf("kubectl debug: %v\n%s", err, out)
		}
		t.Logf("%s", out)
	})
	t.Run("one of a signed image is admitted, and pinned", func(t *testing.T) {
		t.Parallel()
		got, err := addEphemeral(t.Context(), pod, signed.tag(), restricted())
		if err != nil {
			t.Fatal(err)
		}
		if image := got.Spec.EphemeralContainers[0].Image; image != signed.pinned() {
			t.Errorf("it has %s, want %s", image, signed.pinned())
		}
	})
	t.Run("one of a signed image that is privileged is refused", func(t *testing.T) {
		t.Parallel()
		refusedFor(t, pod, forbidden, []string{"spec.ephemeralContainers[0].securityContext.privileged", "policy " + ns}, func(ctx context.Context) error {
			_, err := addEphemeral(ctx, pod, signed.tag(), &corev1.SecurityContext{Privileged: new(true)})
			return err
		})
	})
	t.Run("an image volume of an image that nobody signed is refused", func(t *testing.T) {
		t.Parallel()
		refused(t, podOf(ns, "volume", signed.byDigest(), func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: unsigned.tag()}}}}
		}), forbidden, "spec.volumes[0].image.reference", unsigned.tag(), "policy "+ns, "it is not signed")
	})
	t.Run("another image in a pod that is there is refused", func(t *testing.T) {
		t.Parallel()
		out, err := exec.CommandContext(t.Context(), kubectl, "--namespace="+ns, "set", "image", "--dry-run=server", "pod/"+pod.Name, "app="+unsigned.tag()).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "it is not signed") {
			t.Errorf("kubectl set image: %v\n%s", err, out)
		}
	})
	t.Run("labels of a pod change without a question", func(t *testing.T) {
		t.Parallel()
		run(t, nil, kubectl, "--namespace="+ns, "label", "--overwrite", "pod", pod.Name, "changed=yes")
	})
}

// addEphemeral tries to add a container to a pod that runs, without doing it.
func addEphemeral(ctx context.Context, pod *corev1.Pod, image string, security *corev1.SecurityContext) (*corev1.Pod, error) {
	pods := clientset.CoreV1().Pods(pod.Namespace)
	current, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	current.Spec.EphemeralContainers = append(current.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Image: image, SecurityContext: security}})
	return pods.UpdateEphemeralContainers(ctx, pod.Name, current, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
}
