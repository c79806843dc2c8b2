package controllers

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/config/admission"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/job"
)

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,resourceNames=basewright-children;basewright-names;basewright-builds;basewright-signer,verbs=get

const (
	// guardSettles is how long apiservers may take to heed a policy. They look for new ones each second.
	guardSettles = 10 * time.Second
	// guardRemembered is how long the policies are not looked at again.
	guardRemembered = time.Minute
)

// guard is what was seen of the admission policies, for one namespace.
type guard struct {
	// why they don't guard builds; empty if they do.
	why string
	// since when all of them are as they are.
	since time.Time
	// seen is when that was.
	seen time.Time
}

// guards are what was seen last, by namespace.
type guards struct {
	mu     sync.Mutex
	latest map[string]guard
}

// unguarded says why a build is not guarded; empty if, since before the build was made, nobody but the operator and the
// cluster's own controllers could interfere with it: all policies of config/admission are there, unchanged, and the
// apiserver heeds them.
func (run *buildRun) unguarded(ctx context.Context) (why string, err error) {
	if account := run.Config.Sigstore.ServiceAccount; account != config.Default().Sigstore.ServiceAccount {
		return fmt.Sprintf("the policy basewright-signer guards another ServiceAccount than %s/%s, which sigstore.serviceAccount names", account.Namespace, account.Name), nil
	}
	g, err := run.guardOf(ctx, run.build.Namespace)
	switch {
	case err != nil:
		return "", err
	case g.why != "":
		return g.why, nil
	case run.build.CreationTimestamp.Time.Before(g.since.Add(guardSettles)):
		return "the admission policies were installed or changed when the build was there already: the next one is guarded", nil
	}
	return "", nil
}

func (r *BuildReconciler) guardOf(ctx context.Context, namespace string) (guard, error) {
	now := r.Clock.Now()
	if g, ok := r.guards.recall(namespace, now); ok {
		return g, nil
	}
	g, err := r.lookAtGuards(ctx)
	if err == nil && g.why == "" {
		g.why, err = r.askGuard(ctx, namespace)
	}
	if err != nil {
		return guard{}, err
	}
	g.seen = now
	r.guards.remember(namespace, g)
	return g, nil
}

// lookAtGuards compares the policies of the cluster, and their bindings, with those of this operator.
func (r *BuildReconciler) lookAtGuards(ctx context.Context) (guard, error) {
	wanted, err := admission.Guards()
	if err != nil {
		return guard{}, err
	}
	all := guard{}
	for i := range wanted {
		for _, part := range partsOf(&wanted[i]) {
			if why, err := r.lookAt(ctx, part); why != "" || err != nil {
				return guard{why: why}, err
			}
			if at := changedAt(part.found); at.After(all.since) {
				all.since = at
			}
		}
	}
	return all, nil
}

// guardPart is a policy or its binding.
type guardPart struct {
	kind, name string
	found      client.Object
	// same compares what was found with what is wanted.
	same func() bool
}

func partsOf(wanted *admission.Guard) []guardPart {
	policy, binding := &admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
	return []guardPart{
		{"ValidatingAdmissionPolicy", wanted.Policy.Name, policy, func() bool { return equality.Semantic.DeepEqual(policy.Spec, wanted.Policy.Spec) }},
		{"ValidatingAdmissionPolicyBinding", wanted.Binding.Name, binding, func() bool { return equality.Semantic.DeepEqual(binding.Spec, wanted.Binding.Spec) }},
	}
}

// lookAt reads a part, and says what is wrong with it.
func (r *BuildReconciler) lookAt(ctx context.Context, part guardPart) (why string, err error) {
	switch err := r.Live.Get(ctx, client.ObjectKey{Name: part.name}, part.found); {
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("%s %s is missing: apply config/admission", part.kind, part.name), nil
	case meta.IsNoMatchError(err):
		return fmt.Sprintf("the cluster has no kind %s (admissionregistration.k8s.io/v1): it needs Kubernetes 1.30", part.kind), nil
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("the operator may not read %s %s: apply config/rbac", part.kind, part.name), nil
	case err != nil:
		return "", fmt.Errorf("reading %s %s: %w", part.kind, part.name, err)
	case !part.same():
		return fmt.Sprintf("%s %s is not that of this operator's version: apply config/admission", part.kind, part.name), nil
	}
	return "", nil
}

// changedAt is when anything but the status of an object was last written.
func changedAt(o client.Object) time.Time {
	at := o.GetCreationTimestamp().Time
	for _, f := range o.GetManagedFields() {
		if f.Subresource == "" && f.Time != nil && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}

// askGuard asks for what nobody may do, not even the operator: policies may be there and not in force, where the
// apiserver has the plugin for them turned off. Nothing is made: it is a dry run.
func (r *BuildReconciler) askGuard(ctx context.Context, namespace string) (why string, err error) {
	question := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: job.NamePrefix + "guard",
		Labels: map[string]string{job.LabelManagedBy: job.ManagedBy, job.LabelGuard: "question"}}}
	switch err := r.Create(ctx, question, client.DryRunAll); {
	case err == nil:
		return "the apiserver does not heed the admission policies: turn its plugin ValidatingAdmissionPolicy on", nil
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "'basewright-children'"):
		return "", nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return "whether the admission policies are in force can't be told, because something else refuses ConfigMaps: " + truncate(err.Error(), maxNote), nil
	default:
		return "", fmt.Errorf("asking whether the admission policies are in force: %w", err)
	}
}

func (g *guards) recall(namespace string, now time.Time) (guard, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen, ok := g.latest[namespace]
	return seen, ok && now.Sub(seen.seen) < guardRemembered
}

// remember forgets what is too old, so that there is no more than what was asked in a minute.
func (g *guards) remember(namespace string, seen guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.latest == nil {
		g.latest = map[string]guard{}
	}
	maps.DeleteFunc(g.latest, func(_ string, old guard) bool { return seen.seen.Sub(old.seen) >= guardRemembered })
	g.latest[namespace] = seen
}
