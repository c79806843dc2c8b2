package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/config/admission"
	"github.com/ibshafique/base-images/internal/config"
)

var madeAt = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// guardedRun is a build in a cluster that has these policies, and answers the question whether they are in force.
func guardedRun(t *testing.T, guards []admission.Guard, answer error) (run *buildRun, asked *int) {
	t.Helper()
	asked = new(int)
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
			return readGuard(guards, key.Name, into)
		},
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			options := (&client.CreateOptions{}).ApplyOptions(opts)
			if len(options.DryRun) == 0 || o.GetNamespace() != "images" || o.GetLabels()["app.kubernetes.io/managed-by"] != "basewright" {
				t.Errorf("%s was created: %+v", o.GetName(), options)
			}
			*asked++
			return answer
		},
	}).Build()
	build := &v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "wolfi-1-ab12cd", CreationTimestamp: metav1.NewTime(madeAt)}}
	return &buildRun{BuildReconciler: &BuildReconciler{Config: config.Default(), Client: c, Live: c, Clock: clocktesting.NewFakePassiveClock(madeAt.Add(time.Hour))}, build: build}, asked
}

func readGuard(guards []admission.Guard, name string, into client.Object) error {
	for _, g := range guards {
		switch into := into.(type) {
		case *admissionv1.ValidatingAdmissionPolicy:
			if g.Policy.Name == name {
				g.Policy.DeepCopyInto(into)
				return nil
			}
		case *admissionv1.ValidatingAdmissionPolicyBinding:
			if g.Binding.Name == name {
				g.Binding.DeepCopyInto(into)
				return nil
			}
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, name)
}

// installedGuards are those of config/admission, for an hour when the build is made.
func installedGuards(t *testing.T) []admission.Guard {
	t.Helper()
	guards, err := admission.Guards()
	if err != nil {
		t.Fatal(err)
	}
	for i := range guards {
		guards[i].Policy.CreationTimestamp = metav1.NewTime(madeAt.Add(-time.Hour))
		guards[i].Binding.CreationTimestamp = metav1.NewTime(madeAt.Add(-time.Hour))
	}
	return guards
}

func refusal(message string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "x", errors.New(message))
}

var refusedByPolicy = refusal("ValidatingAdmissionPolicy 'basewright-children' with binding 'basewright-children' denied request: x")

func TestGuarded(t *testing.T) {
	written := func(o client.Object, at time.Duration, subresource string) {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "x", Operation: "Apply", Subresource: subresource, Time: new(metav1.NewTime(madeAt.Add(at)))}})
	}
	tests := map[string]struct {
		change func([]admission.Guard)
		answer error
		// why it is not guarded; empty if it is.
		why string
	}{
		"all policies, in force": {nil, refusedByPolicy, ""},
		"a policy that is missing": {func(g []admission.Guard) { g[1].Policy = admissionv1.ValidatingAdmissionPolicy{} },
			refusedByPolicy, "ValidatingAdmissionPolicy basewright-children is missing"},
		"a binding that is missing": {func(g []admission.Guard) { g[0].Binding = admissionv1.ValidatingAdmissionPolicyBinding{} },
			refusedByPolicy, "ValidatingAdmissionPolicyBinding basewright-builds is missing"},
		"one that lets pass what it can't judge": {func(g []admission.Guard) { g[0].Policy.Spec.FailurePolicy = new(admissionv1.Ignore) },
			refusedByPolicy, "basewright-builds is not that of"},
		"one that makes an exception": {func(g []admission.Guard) {
			g[3].Policy.Spec.MatchConditions = []admissionv1.MatchCondition{{Name: "but", Expression: "request.namespace != 'images'"}}
		}, refusedByPolicy, "basewright-signer is not that of"},
		"one that asks something else": {func(g []admission.Guard) { g[2].Policy.Spec.Validations[0].Expression = "true" },
			refusedByPolicy, "basewright-names is not that of"},
		"one that only warns": {func(g []admission.Guard) {
			g[1].Binding.Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}, refusedByPolicy, "ValidatingAdmissionPolicyBinding basewright-children is not that of"},
		"one for other namespaces": {func(g []admission.Guard) {
			g[1].Binding.Spec.MatchResources = &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
		}, refusedByPolicy, "ValidatingAdmissionPolicyBinding basewright-children is not that of"},
		"labels of others don't matter": {func(g []admission.Guard) { g[0].Policy.Labels = map[string]string{"a": "b"} }, refusedByPolicy, ""},

		"one that was made after the build": {func(g []admission.Guard) { g[2].Policy.CreationTimestamp = metav1.NewTime(madeAt.Add(time.Second)) },
			refusedByPolicy, "installed or changed when the build was there already"},
		"a binding that was made after the build": {func(g []admission.Guard) { g[2].Binding.CreationTimestamp = metav1.NewTime(madeAt.Add(time.Second)) },
			refusedByPolicy, "installed or changed"},
		"one that may not have been heeded yet": {func(g []admission.Guard) {
			g[2].Policy.CreationTimestamp = metav1.NewTime(madeAt.Add(-9 * time.Second))
		},
			refusedByPolicy, "installed or changed"},
		"one that was": {func(g []admission.Guard) {
			g[2].Policy.CreationTimestamp = metav1.NewTime(madeAt.Add(-10 * time.Second))
		}, refusedByPolicy, ""},
		"one that was changed after the build":             {func(g []admission.Guard) { written(&g[0].Policy, time.Second, "") }, refusedByPolicy, "installed or changed"},
		"one whose status was written after the build":     {func(g []admission.Guard) { written(&g[0].Policy, time.Second, "status") }, refusedByPolicy, ""},
		"an apiserver that does not heed them":             {nil, nil, "does not heed"},
		"a question that something else has refused":       {nil, refusal("admission webhook \"x\" denied the request"), "something else refuses ConfigMaps: configmaps \"x\" is forbidden"},
		"a question that a webhook does not let be a test": {nil, apierrors.NewBadRequest("admission webhook \"x\" does not support dry run"), "something else refuses"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			guards := installedGuards(t)
			if tt.change != nil {
				tt.change(guards)
			}
			run, _ := guardedRun(t, guards, tt.answer)
			why, err := run.unguarded(t.Context())
			if err != nil || (why == "") != (tt.why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("got %q, %v, want %q", why, err, tt.why)
			}
			if ok, err := run.guarded(t.Context()); ok != (tt.why == "") || err != nil {
				t.Errorf("guarded: %t, %v", ok, err)
			}
		})
	}
}

func TestWhatKeepsGuardsFromBeingReadIsNotAnAnswer(t *testing.T) {
	run, _ := guardedRun(t, installedGuards(t), apierrors.NewInternalError(errors.New("etcd is away")))
	if ok, err := run.guarded(t.Context()); ok || !apierrors.IsInternalError(err) {
		t.Errorf("the question fails: got %t, %v", ok, err)
	}
	run, _ = guardedRun(t, installedGuards(t), refusedByPolicy)
	run.Live = interceptor.NewClient(run.Client.(client.WithWatch), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return apierrors.NewTimeoutError("slow", 1)
	}})
	if ok, err := run.guarded(t.Context()); ok || !apierrors.IsTimeout(err) {
		t.Errorf("reading fails: got %t, %v", ok, err)
	}
	run.Live = interceptor.NewClient(run.Client.(client.WithWatch), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return refusal("RBAC")
	}})
	if why, err := run.unguarded(t.Context()); err != nil || !strings.Contains(why, "may not read ValidatingAdmissionPolicy basewright-builds") {
		t.Errorf("reading is forbidden: got %q, %v", why, err)
	}
}

func TestGuardsAreLookedAtOnceAMinute(t *testing.T) {
	run, asked := guardedRun(t, installedGuards(t), refusedByPolicy)
	clock := clocktesting.NewFakePassiveClock(madeAt)
	run.Clock = clock
	look := func(want int) {
		t.Helper()
		if ok, err := run.guarded(t.Context()); !ok || err != nil || *asked != want {
			t.Errorf("got %t, %v after %d questions, want %d", ok, err, *asked, want)
		}
	}
	look(1)
	clock.SetTime(madeAt.Add(59 * time.Second))
	look(1)
	clock.SetTime(madeAt.Add(time.Minute))
	look(2)
	run.build.Namespace = "elsewhere"
	if _, ok := run.guards.recall("elsewhere", clock.Now()); ok {
		t.Error("what was seen of one namespace is believed of another")
	}
	run.guards.remember("elsewhere", guard{seen: madeAt.Add(2 * time.Minute)})
	if len(run.guards.latest) != 1 {
		t.Errorf("%d namespaces are remembered, want 1", len(run.guards.latest))
	}
}

func TestAnotherBuildIsJudgedByItsOwnAge(t *testing.T) {
	guards := installedGuards(t)
	guards[0].Policy.CreationTimestamp = metav1.NewTime(madeAt.Add(time.Minute))
	run, _ := guardedRun(t, guards, refusedByPolicy)
	if ok, err := run.guarded(t.Context()); ok || err != nil {
		t.Errorf("an older build: got %t, %v", ok, err)
	}
	run.build.CreationTimestamp = metav1.NewTime(madeAt.Add(2 * time.Minute))
	if ok, err := run.guarded(t.Context()); !ok || err != nil {
		t.Errorf("a newer build: got %t, %v", ok, err)
	}
}

func (run *buildRun) guarded(ctx context.Context) (bool, error) {
	why, err := run.unguarded(ctx)
	return err == nil && why == "", err
}

// The policies know one ServiceAccount that signs.
func TestAnotherServiceAccountIsNotGuarded(t *testing.T) {
	cfg := config.Default()
	cfg.Sigstore.ServiceAccount.Name = "mine"
	run := &buildRun{BuildReconciler: &BuildReconciler{Config: cfg}}
	if why, err := run.unguarded(t.Context()); err != nil || !strings.Contains(why, "basewright-system/mine") {
		t.Errorf("got %q, %v", why, err)
	}
}
