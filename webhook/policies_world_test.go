package webhook

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/sigstore/sigstore-go/pkg/root"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/imagepolicy"
)

const policyNamespace = "basewright-system"

// policyWorld is a cluster, and a replica of the webhook in it.
type policyWorld struct {
	*Policies
	t       *testing.T
	api     client.Client
	now     *clocktesting.FakeClock
	events  *events.FakeRecorder
	kind    *fakeKind
	trusted *fakeTrust
	// writes that the webhook has tried, by what they were; refuse answers them if it is set.
	writes []string
	refuse func(what string) error
}

// fakeKind is the kind ClusterImagePolicy.
type fakeKind struct {
	there            bool
	asked            int
	err, notFollowed error
	follows, forgets int
	// away is for tests in which passes run beside.
	away atomic.Bool
}

func (k *fakeKind) served(context.Context) (bool, error) {
	k.asked++
	if k.away.Load() {
		return false, errors.New("not yet")
	}
	return k.there, k.err
}

func (k *fakeKind) follow(context.Context, *Policies) error { k.follows++; return k.notFollowed }

func (k *fakeKind) forget(context.Context) error { k.forgets++; return nil }

// fakeTrust is a trust root that has all but what it lacks.
type fakeTrust struct {
	root.BaseTrustedMaterial
	version string
	lacksCA bool
}

func (m *fakeTrust) FulcioCertificateAuthorities() []root.CertificateAuthority {
	if m.lacksCA {
		return nil
	}
	return []root.CertificateAuthority{&root.FulcioCertificateAuthority{}}
}

func (*fakeTrust) CTLogs() map[string]*root.TransparencyLog {
	return map[string]*root.TransparencyLog{"log": {}}
}

func (m *fakeTrust) RekorLogs() map[string]*root.TransparencyLog { return m.CTLogs() }

func newPolicyWorld(t *testing.T, objects ...client.Object) *policyWorld {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	scheme.AddKnownTypeWithName(clusterGVK, &unstructured.Unstructured{})
	scheme.AddKnownTypeWithName(clusterGVK.GroupVersion().WithKind(clusterGVK.Kind+"List"), &unstructured.UnstructuredList{})
	w := &policyWorld{t: t, now: clocktesting.NewFakeClock(time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)), kind: &fakeKind{}, trusted: &fakeTrust{version: "1"}}
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.ImageAdmissionPolicy{}).WithObjects(objects...).Build()
	w.restart()
	return w
}

// restart is another process of the webhook, which knows nothing.
func (w *policyWorld) restart() {
	w.Policies = newPolicies(PoliciesOptions{
		Namespace: policyNamespace, Clock: w.now, TrustVersion: func() string { return w.trusted.version },
		Trust: imagepolicy.Trust{Material: func() (root.TrustedMaterial, error) { return w.trusted, nil }},
	})
	w.events = events.NewFakeRecorder(100)
	w.log, w.Policies.events, w.policies, w.ours, w.clusters = logr.Discard(), w.events, w.api, transformed{w.api}, w.kind
	w.writer = interceptor.NewClient(w.api.(client.WithWatch), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			// The clock of the fake apiserver.
			o.SetCreationTimestamp(metav1.NewTime(w.now.Now()))
			return w.try("create "+o.GetName(), func() error { return c.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return w.try("delete "+o.GetName(), func() error { return c.Delete(ctx, o, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			return w.try(sub+" "+o.GetName(), func() error { return c.SubResource(sub).Update(ctx, o, opts...) })
		},
	})
}

func (w *policyWorld) try(what string, write func() error) error {
	w.writes = append(w.writes, what)
	if w.refuse != nil {
		if err := w.refuse(what); err != nil {
			return err
		}
	}
	return write()
}

// transformed reads as from the cache of our namespace.
type transformed struct{ client.Client }

func (c transformed) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if err := c.Client.Get(ctx, key, o, opts...); err != nil {
		return err
	}
	if _, err := onlyPublicKeys(o); err != nil {
		return err
	}
	_, err := onlyRego(o)
	return err
}

// next passes; counts are flushed.
func (w *policyWorld) next() {
	w.t.Helper()
	if err := w.pass(w.t.Context(), true); err != nil {
		w.t.Fatal(err)
	}
}

func (w *policyWorld) apply(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		if err := w.api.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// change changes the spec of a policy, as an apiserver would.
func (w *policyWorld) change(name string, change func(*v1alpha1.ImageAdmissionPolicySpec)) {
	w.t.Helper()
	o := w.read(name)
	change(&o.Spec)
	o.Generation++
	if err := w.api.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *policyWorld) update(o client.Object) {
	w.t.Helper()
	there := o.DeepCopyObject().(client.Object)
	if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), there); err != nil {
		w.t.Fatal(err)
	}
	o.SetResourceVersion(there.GetResourceVersion())
	if err := w.api.Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *policyWorld) read(name string) *v1alpha1.ImageAdmissionPolicy {
	w.t.Helper()
	o := &v1alpha1.ImageAdmissionPolicy{}
	if err := w.api.Get(w.t.Context(), types.NamespacedName{Name: name}, o); err != nil {
		w.t.Fatal(err)
	}
	return o
}

func (w *policyWorld) ready(name string) metav1.Condition {
	w.t.Helper()
	c := ready(w.read(name).Status.Conditions)
	if c == nil {
		w.t.Fatalf("%s has no condition Ready", name)
	}
	return *c
}

// inForce are the policies for an image of the team.
func (w *policyWorld) inForce() []*imagepolicy.Policy {
	w.t.Helper()
	s, err := w.Set()
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := s.For(imageglob.Name{Host: "registry.example", Path: "team/app"}, "registry.example/team/app:v1", "shop", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// only is the one policy for such an image.
func (w *policyWorld) only() *imagepolicy.Policy {
	w.t.Helper()
	found := w.inForce()
	if len(found) != 1 {
		w.t.Fatalf("there are %d policies: %v", len(found), found)
	}
	return found[0]
}

// told are the events since the last time.
func (w *policyWorld) told() []string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func (w *policyWorld) revisions() map[string]appsv1.ControllerRevision {
	w.t.Helper()
	var list appsv1.ControllerRevisionList
	if err := w.api.List(w.t.Context(), &list); err != nil {
		w.t.Fatal(err)
	}
	all := map[string]appsv1.ControllerRevision{}
	for _, r := range list.Items {
		all[r.Name] = r
	}
	return all
}

// goodPolicy is for registry.example/team/**.
func goodPolicy(changes ...func(*v1alpha1.ImageAdmissionPolicySpec)) *v1alpha1.ImageAdmissionPolicy {
	o := &v1alpha1.ImageAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "team", UID: "uid-of-team", Generation: 1},
		Spec: v1alpha1.ImageAdmissionPolicySpec{
			Images:     []string{"registry.example/team/**"},
			Identities: []v1alpha1.SigningIdentity{{Issuer: "https://issuer.example", Subject: "https://git.example/team/x@refs/heads/main"}},
		},
	}
	for _, change := range changes {
		change(&o.Spec)
	}
	return o
}

func withRules(s *v1alpha1.ImageAdmissionPolicySpec) {
	s.Runtime.ExtraRules = &v1alpha1.LocalReference{Name: "rules"}
}

func withSecret(s *v1alpha1.ImageAdmissionPolicySpec) {
	s.Identities, s.Authority = nil, v1alpha1.AuthorityKey
	s.Key = &v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "keys", Key: "cosign.pub"}}
}

func noIdentities(s *v1alpha1.ImageAdmissionPolicySpec) { s.Identities = nil }

const (
	goodRules = "package team.labels\n\ndeny_owner contains msg if {\n\tnot input.metadata.labels.owner\n\tmsg := \"who owns it?\"\n}\n"
	badRules  = "package team.labels\n\ndeny_owner contains msg if {"
)

func rulesOf(source string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: policyNamespace, Name: "rules", UID: "uid-of-rules"}, Data: map[string]string{"labels.rego": source, "README": "x"}}
}

func keysOf(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: policyNamespace, Name: "keys", UID: "uid-of-keys"}, Data: data}
}

func newKeys(t *testing.T) (public, private []byte) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: key})
}

// foreignPolicy is a ClusterImagePolicy.
func foreignPolicy(name string, generation int64, spec map[string]any) *unstructured.Unstructured {
	u := clusterObject()
	u.SetName(name)
	u.SetUID(types.UID("uid-of-" + name))
	u.SetGeneration(generation)
	u.Object["spec"] = spec
	return u
}

func foreignSpec(authority map[string]any) map[string]any {
	return map[string]any{"images": []any{map[string]any{"glob": "registry.example/team/**"}}, "authorities": []any{authority}}
}

var foreignKeyless = map[string]any{"keyless": map[string]any{"identities": []any{map[string]any{"issuer": "https://issuer.example", "subject": "x"}}}}

func namesOf(policies []*imagepolicy.Policy) []string {
	var all []string
	for _, p := range policies {
		all = append(all, p.Kind+"/"+p.Name)
	}
	return all
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
