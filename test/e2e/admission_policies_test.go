//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// testPolicies is about what policies make of what they find.
func (a *admission) testPolicies(t *testing.T) {
	unsigned := a.variant(t, "unsigned-by-policy")
	t.Run("a digest is required", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Digest = v1alpha1.DigestRequire })
		signed := a.signed()
		refused(t, podOf(ns, "by-tag", signed.tag()), forbidden, "by tag", "policy "+ns, "fix: write "+signed.pinned())
		admitted(t, podOf(ns, "by-digest", signed.pinned()))
	})
	t.Run("an exception lets one image pass, and runtime rules hold", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t)
		a.except(t, ns, unsigned, time.Now().Add(time.Hour))
		pod := podOf(ns, "excepted", unsigned.tag())
		if got := admitted(t, pod).Spec.Containers[0].Image; got != unsigned.pinned() {
			t.Errorf("the pod has %s, want %s", got, unsigned.pinned())
		}
		pod.Spec.HostNetwork = true
		refused(t, pod, forbidden, "spec.hostNetwork")
		refused(t, podOf(ns, "another", a.variant(t, "not-excepted").tag()), forbidden, "it is not signed")
	})
	t.Run("an exception that has expired does not", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t)
		a.except(t, ns, unsigned, time.Now().Add(-time.Minute))
		refused(t, podOf(ns, "expired", unsigned.tag()), forbidden, "it is not signed", "policy "+ns)
	})
	t.Run("Warn warns whoever uses kubectl", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = v1alpha1.ModeWarn })
		out := kubectlCreate(t, podOf(ns, "warned", unsigned.tag()))
		if missing := lacks(out, []string{"Warning: ", unsigned.tag(), "policy " + ns, "it is not signed", "pod/warned created"}); missing != "" {
			t.Errorf("kubectl does not say %s:\n%s", missing, out)
		}
		t.Log(out)
	})
	t.Run("Audit says nothing, and counts", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t, func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Mode = v1alpha1.ModeAudit })
		if out := kubectlCreate(t, podOf(ns, "audited", unsigned.tag())); strings.TrimSpace(out) != "pod/audited created" {
			t.Errorf("kubectl says:\n%s", out)
		}
		policy := &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: ns}}
		eventually(t, 2*time.Minute, "the policy to have counted", func(ctx context.Context) (bool, string) {
			err := k8s.Get(ctx, keyOf(policy), policy)
			return err == nil && policy.Status.Matched > 0 && policy.Status.Denied > 0, fmt.Sprintf("%v %+v", err, policy.Status)
		})
		if columns := run(t, nil, kubectl, "get", "imageadmissionpolicy", ns); lacks(columns, []string{"MODE", "READY", "MATCHED", "DENIED", "AGE", "Audit", "True"}) != "" {
			t.Errorf("kubectl get shows:\n%s", columns)
		}
	})
	t.Run("without the label of the namespace nothing is asked", func(t *testing.T) {
		t.Parallel()
		admitted(t, podOf(newNamespace(t), "free", unsigned.tag(), func(s *corev1.PodSpec) { s.HostNetwork = true }))
	})
}

// except changes the policy of a namespace.
func (a *admission) except(t *testing.T, ns string, image published, expires time.Time) {
	t.Helper()
	p := &v1alpha1.ImageAdmissionPolicy{}
	if err := k8s.Get(t.Context(), client.ObjectKey{Name: ns}, p); err != nil {
		t.Fatal(err)
	}
	change := client.MergeFrom(p.DeepCopy())
	p.Spec.Exceptions = []v1alpha1.ImageException{{Digest: image.digest, Namespaces: []string{ns}, Reason: "a test", Expires: metav1.NewTime(expires)}}
	if err := k8s.Patch(t.Context(), p, change); err != nil {
		t.Fatal(err)
	}
	awaitPolicy(t, p)
}

// kubectlCreate makes an object as a person does, as soon as its namespace's policy is known, and returns what is on the screen.
func kubectlCreate(t *testing.T, pod *corev1.Pod, flags ...string) string {
	t.Helper()
	admitted(t, pod)
	raw, err := json.Marshal(withKind(pod))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kubectl, append([]string{"create", "-f", "-"}, flags...)...)
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl create: %v\n%s", err, out)
	}
	return string(out)
}

func withKind(pod *corev1.Pod) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.APIVersion, pod.Kind = "v1", "Pod"
	return pod
}

// testOwners is about those who make pods: they are told early, and if it is too late for that by an event.
func (a *admission) testOwners(t *testing.T) {
	unsigned := a.variant(t, "unsigned-of-owners")
	t.Run("a Deployment is refused early", func(t *testing.T) {
		t.Parallel()
		ns := a.tenant(t)
		deployment := deploymentOf(ns, "web", unsigned.tag())
		deployment.Spec.Template.Spec.HostNetwork = true
		refused(t, deployment, forbidden, "Deployment web is refused", "spec.template.spec.containers[0].image", unsigned.tag(), "policy "+ns,
			"it is not signed", "spec.template.spec.hostNetwork")
	})
	t.Run("a Deployment that was there before has an event", func(t *testing.T) {
		t.Parallel()
		ns := newNamespace(t)
		deployment := deploymentOf(ns, "early", unsigned.tag())
		deployment.Spec.Replicas = ptr.To[int32](0)
		create(t, deployment)
		a.policy(t, ns)
		enforce(t, ns)
		refused(t, podOf(ns, "known", unsigned.tag()), forbidden, "policy "+ns)
		run(t, nil, kubectl, "--namespace="+ns, "scale", "deployment/early", "--replicas=1")
		awaitRefusalEvent(t, deployment, unsigned.tag(), "policy "+ns, "it is not signed")
		pods := &corev1.PodList{}
		if err := k8s.List(t.Context(), pods, client.InNamespace(ns)); err != nil || len(pods.Items) != 0 {
			t.Errorf("it has pods: %v %+v", err, pods.Items)
		}
		run(t, nil, kubectl, "--namespace="+ns, "scale", "deployment/early", "--replicas=0")
	})
}

func awaitRefusalEvent(t *testing.T, deployment *appsv1.Deployment, words ...string) {
	t.Helper()
	eventually(t, time.Minute, "an event on the Deployment", func(ctx context.Context) (bool, string) {
		found := &corev1.EventList{}
		if err := k8s.List(ctx, found, client.InNamespace(deployment.Namespace)); err != nil {
			return false, err.Error()
		}
		var seen []string
		for _, e := range found.Items {
			seen = append(seen, fmt.Sprintf("%s %s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
			if e.Reason == "AdmissionRefused" && e.InvolvedObject.UID == deployment.UID && lacks(e.Message, words) == "" {
				return true, ""
			}
		}
		return false, strings.Join(seen, "\n")
	})
}

// testBuildLabels has somebody who may make pods in a namespace make one that looks like one of a build, which the webhook
// is not asked about.
func (a *admission) testBuildLabels(t *testing.T) {
	ns := a.tenant(t)
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tenant"}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tenant"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "tenant"}}})
	unsigned := a.variant(t, "unsigned-in-disguise").tag()
	for name, test := range map[string]struct {
		owners []metav1.OwnerReference
		image  string
	}{
		"by its label":                                 {nil, unsigned},
		"by its label and an owner":                    {[]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "basewright-build", UID: "made-up", Controller: new(true)}}, unsigned},
		"by its label and an owner, with a good image": {[]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "basewright-build", UID: "made-up", Controller: new(true)}}, a.signed().tag()},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf(ns, "disguised", test.image)
			pod.Labels, pod.OwnerReferences = map[string]string{"app.kubernetes.io/managed-by": "basewright"}, test.owners
			out, err := createAs(t, "system:serviceaccount:"+ns+":tenant", pod)
			if err == nil || !strings.Contains(out, "(Forbidden)") {
				t.Errorf("kubectl create: %v\n%s", err, out)
			}
			t.Log(out)
		})
	}
}

func createAs(t *testing.T, user string, pod *corev1.Pod) (string, error) {
	t.Helper()
	raw, err := json.Marshal(withKind(pod))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "--as="+user, "create", "-f", "-")
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
