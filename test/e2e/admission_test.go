//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// TestAdmission has the apiserver and the kubelet of the sandbox do with pods what people and controllers do.
func TestAdmission(t *testing.T) {
	a := newAdmission(t)
	for _, group := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"what the pipeline signed runs", a.testRuns},
		{"images", a.testImages},
		{"attestations", a.testAttestations},
		{"runtime rules", a.testRuntime},
		{"later images", a.testLaterImages},
		{"policies", a.testPolicies},
		{"owners", a.testOwners},
		{"labels of builds", a.testBuildLabels},
		// These disturb everybody, so they come last, one after the other.
		{"without a registry", a.testRegistry},
		{"certificates", a.testCertificates},
		{"rolling restarts", a.testRestarts},
	} {
		t.Run(group.name, group.run)
	}
}

// testRuns has the kubelet run what the operator has built, signed and promoted.
func (a *admission) testRuns(t *testing.T) {
	ns := a.tenant(t, func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "https://slsa.dev/provenance/v1", Rego: fromThisOperator},
			{PredicateType: "https://spdx.dev/Document"}, {PredicateType: "https://cosign.sigstore.dev/attestation/vuln/v1"}}
		s.Identities = s.Identities[:1]
	})
	signed := a.signed()
	t.Run("by tag, which gets the digest", func(t *testing.T) {
		pod := podOf(ns, "by-tag", signed.tag())
		admitted(t, pod)
		create(t, pod)
		if got := awaitPod(t, pod).Spec.Containers[0].Image; got != signed.pinned() {
			t.Errorf("the pod runs %s, want %s", got, signed.pinned())
		}
		// The kubelet names an image by any digest that it has been pulled by: the index, or the platform, as the tests of the build did.
		_, runs, _ := strings.Cut(pod.Status.ContainerStatuses[0].ImageID, "@")
		if runs != signed.digest && !slices.Contains(signed.children, runs) {
			t.Errorf("the kubelet runs %s, want %s", runs, signed.digest)
		}
	})
	t.Run("by digest, which stays", func(t *testing.T) {
		pod := podOf(ns, "by-digest", signed.byDigest())
		admitted(t, pod)
		create(t, pod)
		if got := awaitPod(t, pod).Spec.Containers[0].Image; got != signed.byDigest() {
			t.Errorf("the pod runs %s, want %s", got, signed.byDigest())
		}
	})
	t.Run("every container of a pod, and an image volume", func(t *testing.T) {
		pod := admitted(t, podOf(ns, "all", signed.tag(), func(s *corev1.PodSpec) {
			s.InitContainers = []corev1.Container{{Name: "init", Image: signed.tag(), SecurityContext: restricted()}}
			s.Volumes = []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: signed.tag()}}}}
		}))
		got := []string{pod.Spec.InitContainers[0].Image, pod.Spec.Containers[0].Image, pod.Spec.Volumes[0].Image.Reference}
		if want := fmt.Sprint([]string{signed.pinned(), signed.pinned(), signed.pinned()}); fmt.Sprint(got) != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("a Deployment, which is left as it is, and its pods", func(t *testing.T) {
		deployment := deploymentOf(ns, "web", signed.tag())
		admitted(t, deployment)
		create(t, deployment)
		if got := deployment.Spec.Template.Spec.Containers[0].Image; got != signed.tag() {
			t.Errorf("its template has %s, want %s", got, signed.tag())
		}
		eventually(t, 2*time.Minute, "the Deployment to have its pod", func(ctx context.Context) (bool, string) {
			err := k8s.Get(ctx, keyOf(deployment), deployment)
			return err == nil && deployment.Status.ReadyReplicas == 1, fmt.Sprint(err, deployment.Status)
		})
		pods := &corev1.PodList{}
		if err := k8s.List(t.Context(), pods, client.InNamespace(ns), client.MatchingLabels(deployment.Spec.Selector.MatchLabels)); err != nil {
			t.Fatal(err)
		}
		if len(pods.Items) != 1 || pods.Items[0].Spec.Containers[0].Image != signed.pinned() {
			t.Errorf("its pods are %+v", pods.Items)
		}
	})
}

// fromThisOperator is what a platform team writes about provenance.
const fromThisOperator = `package provenance
import rego.v1
deny contains "built by somebody else" if not startswith(input.predicate.runDetails.builder.id, "https://")
deny contains sprintf("built as %v", [input.predicate.buildDefinition.buildType]) if not contains(input.predicate.buildDefinition.buildType, "basewright")
`

func deploymentOf(namespace, called, image string) *appsv1.Deployment {
	labels := map[string]string{"app": called}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: called},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: sleeping(image)},
		},
	}
}
