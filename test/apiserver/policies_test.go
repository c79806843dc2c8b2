//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/root"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/webhook"
)

func TestPolicyColumns(t *testing.T) {
	removePolicies(t)
	policy := created(t, policyFor("columns", "columns"))
	t.Cleanup(func() { removePolicies(t) })
	policy.Status = v1alpha1.ImageAdmissionPolicyStatus{Matched: 12, Denied: 3, Conditions: []metav1.Condition{
		{Type: "Ready", Status: metav1.ConditionFalse, Reason: "PolicyInvalid", Message: "it broke", LastTransitionTime: metav1.Now()},
	}}
	writeStatus(t, policy)
	want := []column{
		{"Name", "columns", false},
		{"Mode", "Enforce", false},
		{"Ready", "False", false},
		{"Matched", float64(12), false},
		{"Denied", float64(3), false},
		{"Age", age, false},
		{"Reason", "PolicyInvalid", true},
		{"Message", "it broke", true},
	}
	if diff := cmp.Diff(want, table(t, "imageadmissionpolicies", "")); diff != "" {
		t.Error(diff)
	}
}

// policyFor is for registry.example/path.
func policyFor(name, path string) *v1alpha1.ImageAdmissionPolicy {
	return &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ImageAdmissionPolicySpec{
		Images:     []string{"registry.example/" + path},
		Identities: []v1alpha1.SigningIdentity{{Issuer: "https://issuer.example", Subject: "x"}},
	}}
}

// replica is a webhook that admits nothing, but knows all policies.
type replica struct {
	*operator
	policies *webhook.Policies
	clock    *clocktesting.FakeClock
	end      func()
}

// noServer is where handlers are registered that nobody asks.
type noServer struct{ registered []string }

func (*noServer) NeedLeaderElection() bool { return false }

func (s *noServer) Register(path string, _ http.Handler) { s.registered = append(s.registered, path) }

func (*noServer) Start(ctx context.Context) error { <-ctx.Done(); return nil }

func (*noServer) StartedChecker() healthz.Checker { return healthz.Ping }

func (*noServer) WebhookMux() *http.ServeMux { return http.NewServeMux() }

// trusted is a trust root that has everything.
type trusted struct{ root.BaseTrustedMaterial }

func (*trusted) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return []root.CertificateAuthority{&root.FulcioCertificateAuthority{}}
}

func (*trusted) CTLogs() map[string]*root.TransparencyLog {
	return map[string]*root.TransparencyLog{"log": {}}
}

func (m *trusted) RekorLogs() map[string]*root.TransparencyLog { return m.CTLogs() }

func newReplica(t *testing.T, namespace string) *replica {
	t.Helper()
	server := &noServer{}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", WebhookServer: server})
	r := &replica{operator: &operator{t: t, namespace: namespace}, clock: clocktesting.NewFakeClock(time.Now())}
	r.check(err, "making the manager")
	r.policies, err = webhook.SetUpPolicies(mgr, webhook.PoliciesOptions{Namespace: namespace, Clock: r.clock, TrustVersion: func() string { return "1" },
		Trust: imagepolicy.Trust{Material: func() (root.TrustedMaterial, error) { return &trusted{}, nil }}})
	r.check(err, "setting up policies")
	if !slices.Equal(server.registered, []string{webhook.ValidatePolicyPath}) {
		t.Errorf("registered %v", server.registered)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	r.end = func() {
		cancel()
		r.check(<-done, "ending the replica")
	}
	r.await("the policies to be loaded", func() (bool, string) {
		err := r.policies.Check(nil)
		return err == nil, fmt.Sprint(err)
	})
	return r
}

// later moves the clock, by which the replica looks at everything again.
func (r *replica) later(d time.Duration) {
	r.await("the replica to be idle", func() (bool, string) { return r.clock.HasWaiters(), "" })
	r.clock.Step(d)
}

// inForce is the policy for registry.example/path, or nil.
func (r *replica) inForce(path string) *imagepolicy.Policy {
	r.t.Helper()
	s, err := r.policies.Set()
	r.check(err, "asking for the policies")
	found, err := s.For(imageglob.Name{Host: "registry.example", Path: path}, "registry.example/"+path+":v1", "shop", nil)
	r.check(err, "finding the policies")
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

func (r *replica) awaitReady(policy *v1alpha1.ImageAdmissionPolicy, status metav1.ConditionStatus, message string) {
	r.t.Helper()
	r.await(fmt.Sprintf("%s to be ready: %s", policy.Name, status), func() (bool, string) {
		r.check(reread(r.t.Context(), policy), "reading the policy")
		c := meta.FindStatusCondition(policy.Status.Conditions, "Ready")
		return c != nil && c.Status == status && c.ObservedGeneration == policy.Generation && strings.Contains(c.Message, message), fmt.Sprintf("%+v", c)
	})
}

func TestALastGoodVersionSurvivesTheWebhook(t *testing.T) {
	namespace := newNamespace(t)
	rules := created(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "rules"}, Data: map[string]string{"a.rego": "package a\n\ndeny_x contains \"x\" if input.x"}})
	policy := policyFor("survivor", "survivor")
	policy.Spec.Runtime.ExtraRules = &v1alpha1.LocalReference{Name: "rules"}
	created(t, policy)
	t.Cleanup(func() { _ = k8s.Delete(context.Background(), policy) })

	first := newReplica(t, namespace)
	first.awaitReady(policy, metav1.ConditionTrue, "Generation 1 is in force")
	good := first.inForce("survivor")
	first.await("the good version to be kept", func() (bool, string) { return len(first.kept()) == 1, fmt.Sprint(first.kept()) })

	rules.Data["a.rego"] = "package a\n\ndeny_x contains"
	first.check(k8s.Update(t.Context(), rules), "breaking the rules")
	first.awaitReady(policy, metav1.ConditionFalse, "the last good version, of generation 1, stays in force")
	if got := first.inForce("survivor"); got != good || policy.Status.InForceGeneration != 1 {
		t.Errorf("got %+v, %+v", got, policy.Status)
	}
	first.awaitEvent(policy.Name, "PolicyInvalid")
	first.policies.Count(good, true)
	first.end()
	first.check(reread(t.Context(), policy), "reading the policy")
	if policy.Status.Matched != 1 || policy.Status.Denied != 1 {
		t.Errorf("the last counts are lost: %+v", policy.Status)
	}

	second, third := newReplica(t, namespace), newReplica(t, namespace)
	defer second.end()
	defer third.end()
	for _, r := range []*replica{second, third} {
		if got := r.inForce("survivor"); got == nil || got.NotReady != nil || got.Generation != 1 || got.Hash != good.Hash {
			t.Errorf("after a restart: %+v", got)
		}
		r.later(time.Minute)
		r.later(time.Minute) // Once it waits again, it has written what it wants to.
		r.await("the replica to be idle", func() (bool, string) { return r.clock.HasWaiters(), "" })
	}
	before := policy.ResourceVersion
	if second.check(reread(t.Context(), policy), "reading the policy"); policy.ResourceVersion != before {
		t.Errorf("somebody has written, although nothing has changed: %+v", policy)
	}

	rules.Data["a.rego"] = "package a\n\ndeny_x contains \"y\" if input.y"
	second.check(k8s.Update(t.Context(), rules), "mending the rules")
	second.awaitReady(policy, metav1.ConditionTrue, "Generation 1 is in force")
	second.awaitEvent(policy.Name, "InForce")
	second.await("the old version to be forgotten", func() (bool, string) { return len(second.kept()) == 1, fmt.Sprint(second.kept()) })
	second.check(k8s.Delete(t.Context(), policy), "deleting the policy")
	for _, r := range []*replica{second, third} {
		r.await("the policy to be gone", func() (bool, string) { return r.inForce("survivor") == nil, "" })
	}
}

func (r *replica) kept() []string {
	var list appsv1.ControllerRevisionList
	r.check(k8s.List(r.t.Context(), &list, client.InNamespace(r.namespace)), "listing versions")
	var names []string
	for _, v := range list.Items {
		names = append(names, v.Name)
	}
	return names
}

func (r *replica) awaitEvent(policy, reason string) {
	r.t.Helper()
	r.await("event "+reason, func() (bool, string) {
		var list eventsv1.EventList
		r.check(k8s.List(r.t.Context(), &list), "listing events")
		for _, e := range list.Items {
			if e.Regarding.Name == policy && e.Reason == reason {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d events", len(list.Items))
	})
}

var clusterImagePolicy = schema.GroupVersionKind{Group: "policy.sigstore.dev", Version: "v1beta1", Kind: "ClusterImagePolicy"}

func TestClusterImagePoliciesAreHonouredOnceTheirKindIsThere(t *testing.T) {
	r := newReplica(t, newNamespace(t))
	defer r.end()
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "clusterimagepolicies.policy.sigstore.dev"}, Spec: apiextensionsv1.CustomResourceDefinitionSpec{
		Group: clusterImagePolicy.Group, Scope: apiextensionsv1.ClusterScoped,
		Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: clusterImagePolicy.Kind, Plural: "clusterimagepolicies", Singular: "clusterimagepolicy"},
		Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: clusterImagePolicy.Version, Served: true, Storage: true,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}}}},
	}}
	_, err := envtest.InstallCRDs(cfg, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}})
	r.check(err, "installing the kind")
	policy := func(name string, keyless map[string]any) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": name}, "spec": map[string]any{
			"images":      []any{map[string]any{"glob": "registry.example/" + name + "**"}},
			"authorities": []any{map[string]any{"keyless": keyless}},
		}}}
		u.SetGroupVersionKind(clusterImagePolicy)
		return u
	}
	identities := []any{map[string]any{"issuer": "https://issuer.example", "subject": "x"}}
	supported := created(t, policy("supported", map[string]any{"identities": identities}))
	created(t, policy("unsupported", map[string]any{"identities": identities, "trustRootRef": "x"}))
	r.later(time.Minute)
	r.await("both to be in force", func() (bool, string) {
		a, b := r.inForce("supported"), r.inForce("unsupported")
		return a != nil && a.NotReady == nil && b != nil && b.NotReady != nil, fmt.Sprint(a, b)
	})
	r.awaitEvent("unsupported", "PolicyUnsupported")
	r.check(k8s.Delete(t.Context(), supported), "deleting a policy")
	r.await("it to be gone", func() (bool, string) { return r.inForce("supported") == nil, "" })

	r.check(envtest.UninstallCRDs(cfg, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}), "removing the kind")
	r.await("the kind to be gone", func() (bool, string) {
		err := k8s.List(t.Context(), &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": clusterImagePolicy.GroupVersion().String(), "kind": "ClusterImagePolicyList"}})
		return err != nil, fmt.Sprint(err)
	})
	r.later(time.Minute)
	r.await("none to be in force", func() (bool, string) { return r.inForce("unsupported") == nil, "" })
}
