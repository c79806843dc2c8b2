//go:build apiserver

package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/config/admission"
	"github.com/ibshafique/base-images/internal/job"
)

const (
	theOperator      = "system:serviceaccount:basewright-system:basewright-operator"
	theJobController = "system:serviceaccount:kube-system:job-controller"
	theGarbage       = "system:serviceaccount:kube-system:generic-garbage-collector"
	theNode          = "system:node:worker-1"
	theScheduler     = "system:kube-scheduler"
	theNetworkPlugin = "system:serviceaccount:kube-system:calico-node"
	theAdministrator = "administrator"
	// theTenant may do everything in the namespace, by "*".
	theTenant = "tenant"
)

// guarded are a namespace and what a build has in it, under the policies of config/admission.
type guarded struct {
	namespace string
	build     *v1alpha1.BaseImageBuild
	job       *batchv1.Job
	pod       *corev1.Pod
	// other is a pod that belongs to no build.
	other *corev1.Pod
}

var installed sync.Once

// newGuarded makes a namespace in which everybody may do everything, so that nothing but the policies refuses it.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	installed.Do(func() { installPolicies(t) })
	g := &guarded{namespace: newNamespace(t)}
	mayAllIn(t, g.namespace)
	g.build = created(t, minimalBuild(g.namespace, "base-2-ab12cd"))
	g.job = created(t, g.jobNamed("basewright-base-2-ab12cd-amd64"))
	g.pod = created(t, g.podOf(g.job))
	g.other = created(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "other"}, Spec: podSpec()})
	return g
}

// mayAllIn gives everybody "*" in a namespace for the time of the test, until nobody has it any more.
func mayAllIn(t *testing.T, namespace string) {
	t.Helper()
	everything := created(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "everything"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}})
	binding := created(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "everybody"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: everything.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"}}})
	somebody := as(t, "somebody")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), awaitTimeout)
		defer cancel()
		err := errors.Join(k8s.Delete(ctx, binding), k8s.Delete(ctx, everything))
		for err == nil && ctx.Err() == nil && !apierrors.IsForbidden(somebody.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace))) {
			<-time.After(pollInterval)
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			t.Errorf("taking everybody's permissions in %s away: %v", namespace, err)
		}
	})
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "push", Image: "worker.example/worker",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}}}}}
}

func (g *guarded) labels() map[string]string {
	return map[string]string{job.LabelManagedBy: job.ManagedBy, job.LabelBuild: g.build.Name}
}

// jobNamed is a Job as the operator makes it.
func (g *guarded) jobNamed(name string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name, Labels: g.labels(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(g.build, v1alpha1.SchemeGroupVersion.WithKind("BaseImageBuild"))}},
		Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: g.labels()}, Spec: podSpec()}}}
}

func (g *guarded) input() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "input", Labels: g.labels()}}
}

// podOf is a pod as the Job controller makes it.
func (g *guarded) podOf(of *batchv1.Job) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, GenerateName: of.Name + "-", Labels: g.labels(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(of, batchv1.SchemeGroupVersion.WithKind("Job"))}}, Spec: podSpec()}
}

func as(t *testing.T, user string) *impersonator {
	t.Helper()
	c, err := client.New(configOf(user), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &impersonator{c, user}
}

func configOf(user string) *rest.Config {
	impersonating := rest.CopyConfig(cfg)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	if group, ok := map[string]string{theNode: "system:nodes", theAdministrator: "system:masters"}[user]; ok {
		impersonating.Impersonate.Groups = append(impersonating.Impersonate.Groups, group)
	}
	return impersonating
}

// installPolicies applies config/admission and waits until the apiserver heeds each policy.
func installPolicies(t *testing.T) {
	t.Helper()
	makeSystemNamespace(t)
	for _, o := range admissionObjects(t) {
		created(t, o)
	}
	probes := map[string]client.Object{
		"basewright-children": &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe", Labels: map[string]string{job.LabelManagedBy: job.ManagedBy}}},
		"basewright-names":    &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "basewright-probe"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: podSpec()}}},
		"basewright-builds":   minimalBuild("default", "probe"),
		"basewright-signer": &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "basewright-system", Name: "probe",
			Annotations: map[string]string{"kubernetes.io/service-account.name": "basewright-signer"}}},
	}
	everything := created(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "batch", v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"configmaps", "jobs", "secrets", "baseimagebuilds"}, Verbs: []string{"create"}}}})
	created(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: everything.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "probe"}}})
	asking := as(t, "probe")
	for policy, probe := range probes {
		eventually(t, "policy "+policy, func() error {
			err := asking.Create(t.Context(), probe.DeepCopyObject().(client.Object), client.DryRunAll)
			if !refusedBy(err, policy) {
				return errors.Join(errors.New("it is not in force"), err)
			}
			return nil
		})
	}
}

func admissionObjects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, file := range []string{"roles.yaml", "children.yaml", "names.yaml", "builds.yaml", "signer.yaml"} {
		raw, err := os.ReadFile("../../config/admission/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			o := &unstructured.Unstructured{}
			if err := errors.Join(err, yaml.Unmarshal(document, &o.Object)); err != nil {
				t.Fatal(err)
			}
			objects = append(objects, o)
		}
	}
	return objects
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awaitTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// refusedBy says of which policy a refusal is. Several policies may refuse a request: which of them says so is left open.
func refusedBy(err error, policy string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy)
}

// What the apiserver keeps of a policy is what the operator compares it with: nothing of it is filled in or left out.
func TestTheOperatorKnowsThePoliciesOfTheCluster(t *testing.T) {
	newGuarded(t)
	wanted, err := admission.Guards()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wanted {
		policy, binding := &admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
		for _, o := range []client.Object{policy, binding} {
			if err := k8s.Get(t.Context(), client.ObjectKey{Name: w.Policy.Name}, o); err != nil {
				t.Fatal(err)
			}
		}
		if !equality.Semantic.DeepEqual(policy.Spec, w.Policy.Spec) || !equality.Semantic.DeepEqual(binding.Spec, w.Binding.Spec) {
			t.Errorf("%s: %s", w.Policy.Name, cmp.Diff(w.Policy.Spec, policy.Spec)+cmp.Diff(w.Binding.Spec, binding.Spec))
		}
	}
}
