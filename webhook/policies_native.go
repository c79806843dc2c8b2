package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

// native is an ImageAdmissionPolicy.
type native struct {
	object *v1alpha1.ImageAdmissionPolicy
	// inputs that it was compiled from, by their versions.
	inputs string
	// policy in force. It never is nil.
	policy *imagepolicy.Policy
	// fault of what inputs are now; nil if policy is made of them.
	fault    error
	warnings []string
	// good is what policy is made of if it has to be kept; nil otherwise.
	good *kept
}

// compileNative brings p.native up to date. After an error nothing is forgotten.
func (p *Policies) compileNative(ctx context.Context) error {
	var list v1alpha1.ImageAdmissionPolicyList
	if err := p.policies.List(ctx, &list); err != nil {
		return fmt.Errorf("listing ImageAdmissionPolicies: %w", err)
	}
	seen := make(map[string]bool, len(list.Items))
	var failed []error
	for i := range list.Items {
		o := &list.Items[i]
		seen[o.Name] = true
		failed = append(failed, p.refresh(ctx, o))
	}
	maps.DeleteFunc(p.native, func(name string, _ *native) bool { return !seen[name] })
	p.counters.Range(func(name, _ any) bool {
		if !seen[name.(string)] {
			p.counters.Delete(name)
		}
		return true
	})
	return errors.Join(failed...)
}

// refresh compiles o if it, or what it refers to, has changed.
func (p *Policies) refresh(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy) error {
	refers, err := p.references(ctx, &o.Spec)
	if err != nil {
		return fmt.Errorf("reading what ImageAdmissionPolicy %s refers to: %w", o.Name, err)
	}
	n := p.native[o.Name]
	if n == nil || n.object.UID != o.UID {
		n = &native{}
	}
	n.object = o
	inputs := fmt.Sprintf("%d %s %s %d", o.Generation, refers.versions, p.trustVersion(), p.expired(o))
	if n.inputs == inputs && n.policy != nil {
		return nil
	}
	if err := p.compile(ctx, n, refers); err != nil {
		return err
	}
	n.inputs = inputs
	p.native[o.Name] = n
	return nil
}

// expired exceptions, of which warnings tell.
func (p *Policies) expired(o *v1alpha1.ImageAdmissionPolicy) int {
	count := 0
	for _, e := range o.Spec.Exceptions {
		if !p.clock.Now().Before(e.Expires.Time) {
			count++
		}
	}
	return count
}

// compile leaves in force what was, unless there is something better.
func (p *Policies) compile(ctx context.Context, n *native, refers referred) error {
	in := imagepolicy.Input{Object: n.object, Rules: refers.rules, PublicKey: refers.key, Trust: p.trust, Now: p.clock.Now()}
	var compiled *imagepolicy.Policy
	if len(refers.missing) > 0 {
		var problems field.ErrorList
		n.warnings, problems = imagepolicy.Validate(in)
		n.fault = refers.fault(problems)
	} else {
		compiled, n.warnings, n.fault = imagepolicy.Compile(in)
	}
	if n.fault == nil {
		n.policy = compiled
		n.good = &kept{Generation: n.object.Generation, Spec: n.object.Spec, Rules: refers.rules, PublicKey: refers.key}
		return nil
	}
	if n.policy != nil && n.policy.NotReady == nil {
		return nil
	}
	last, err := p.lastGood(ctx, n.object)
	if err != nil {
		return err
	}
	if n.policy = last; last == nil {
		n.policy = imagepolicy.NotReady(n.object, n.fault)
	}
	return nil
}

// referred is what a policy refers to.
type referred struct {
	rules []rules.Module
	key   []byte
	// missing says what is not there.
	missing []error
	// versions of it.
	versions string
}

// fault is that something is missing, and what is wrong besides.
func (r referred) fault(problems field.ErrorList) error {
	all := r.missing
	if len(problems) > 0 {
		all = append(slices.Clip(all), &imagepolicy.InvalidError{Fields: problems})
	}
	told := make([]string, 0, len(all))
	for _, err := range all {
		told = append(told, err.Error())
	}
	return pipeline.Terminalf(pipeline.ReasonOf(r.missing[0]), "%s", strings.Join(told, "; "))
}

// references reads what a policy refers to. That it is not there is a fault of the policy, and no error.
func (p *Policies) references(ctx context.Context, spec *v1alpha1.ImageAdmissionPolicySpec) (referred, error) {
	var r referred
	if ref := spec.Runtime.ExtraRules; ref != nil && spec.Runtime.Profile != v1alpha1.ProfileOff {
		if err := p.readRules(ctx, ref.Name, &r); err != nil {
			return r, err
		}
	}
	if spec.Key != nil && spec.Key.SecretRef != nil {
		if err := p.readKey(ctx, *spec.Key.SecretRef, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (p *Policies) readRules(ctx context.Context, name string, r *referred) error {
	cm := &corev1.ConfigMap{}
	err := p.ours.Get(ctx, types.NamespacedName{Namespace: p.namespace, Name: name}, cm)
	if apierrors.IsNotFound(err) {
		r.missing = append(r.missing, pipeline.Terminalf(pipeline.ReasonPolicyNotFound, "spec.runtime.extraRules: there is no ConfigMap %q in namespace %q: create it, or name another", name, p.namespace))
		return nil
	}
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		if strings.HasSuffix(key, regoSuffix) {
			r.rules = append(r.rules, rules.Module{Name: key, Source: cm.Data[key]})
		}
	}
	r.versions += string(cm.UID) + "/" + cm.ResourceVersion
	return nil
}

func (p *Policies) readKey(ctx context.Context, ref v1alpha1.KeySecretReference, r *referred) error {
	key := ref.Key
	if key == "" {
		key = "cosign.pub"
	}
	secret := &corev1.Secret{}
	err := p.ours.Get(ctx, types.NamespacedName{Namespace: p.namespace, Name: ref.Name}, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	value, there := secret.Data[key]
	r.key = value
	r.versions += "," + string(secret.UID) + "/" + secret.ResourceVersion
	switch {
	case err != nil:
		r.missing = append(r.missing, pipeline.Terminalf(pipeline.ReasonPolicyKeyNotFound, "spec.key.secretRef: there is no Secret %q in namespace %q: create it, or name another", ref.Name, p.namespace))
	case !there:
		r.missing = append(r.missing, pipeline.Terminalf(pipeline.ReasonPolicyKeyNotFound, "spec.key.secretRef: Secret %q has no key %q: add it, or name another", ref.Name, key))
	case len(value) == 0:
		r.missing = append(r.missing, pipeline.Terminalf(pipeline.ReasonPolicyKeyNotFound, "spec.key.secretRef: key %q of Secret %q is not one public key in PEM: put it there, and nothing else", key, ref.Name))
	}
	return nil
}

const (
	regoSuffix = ".rego"
	// maxPublicKey is that of verify.ParseKey.
	maxPublicKey = 16 << 10
)

// onlyPublicKeys keeps private ones, which cosign puts beside them, and all else of Secrets out of memory. The names stay.
func onlyPublicKeys(o any) (any, error) {
	secret, ok := o.(*corev1.Secret)
	if !ok {
		return o, nil
	}
	for name, value := range secret.Data {
		if len(value) > maxPublicKey || !bytes.Contains(value, []byte("PUBLIC KEY-----")) || bytes.Contains(value, []byte("PRIVATE KEY-----")) {
			secret.Data[name] = nil
		}
	}
	// The annotations of kubectl apply repeat all of it.
	secret.Annotations, secret.ManagedFields, secret.StringData = nil, nil, nil
	return secret, nil
}

// onlyRego keeps other ConfigMaps of the namespace out of memory.
func onlyRego(o any) (any, error) {
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return o, nil
	}
	maps.DeleteFunc(cm.Data, func(name, _ string) bool { return !strings.HasSuffix(name, regoSuffix) })
	cm.Annotations, cm.ManagedFields, cm.BinaryData = nil, nil, nil
	return cm, nil
}
