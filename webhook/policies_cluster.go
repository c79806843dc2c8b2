package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// lookInterval is how often it is asked whether the cluster has ClusterImagePolicies.
	lookInterval = time.Minute
	lookTimeout  = 5 * time.Second
	// firstSync of their informer.
	firstSync = 15 * time.Second
)

var clusterGVK = schema.FromAPIVersionAndKind(imagepolicy.ClusterAPIVersion, imagepolicy.KindClusterImagePolicy)

// clusterKind is the kind ClusterImagePolicy, which a cluster has or has not, and may have later.
type clusterKind interface {
	// served reports whether the cluster has it.
	served(ctx context.Context) (bool, error)
	// follow watches its objects until forget, and returns when all are there.
	follow(ctx context.Context, p *Policies) error
	forget(ctx context.Context) error
}

// discovered is the clusterKind of a cluster.
type discovered struct {
	client discovery.DiscoveryInterface
	cache  cache.Cache
}

func newClusterKind(mgr ctrl.Manager) (clusterKind, error) {
	c, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a client for the kinds of the cluster: %w", err)
	}
	return &discovered{client: c, cache: mgr.GetCache()}, nil
}

// served asks for this version of this group alone: that others can't be discovered is nothing to us.
func (d *discovered) served(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	raw, err := d.client.RESTClient().Get().AbsPath("/apis", clusterGVK.Group, clusterGVK.Version).SetHeader("Accept", "application/json").DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	var list metav1.APIResourceList
	if err == nil {
		err = json.Unmarshal(raw, &list)
	}
	if err != nil {
		return false, fmt.Errorf("asking whether the cluster has ClusterImagePolicies: %w", err)
	}
	for _, r := range list.APIResources {
		if r.Name == "clusterimagepolicies" {
			return true, nil
		}
	}
	return false, nil
}

func (d *discovered) follow(ctx context.Context, p *Policies) error {
	ctx, cancel := context.WithTimeout(ctx, firstSync)
	defer cancel()
	return p.follow(ctx, d.cache, clusterObject())
}

func (d *discovered) forget(ctx context.Context) error {
	return d.cache.RemoveInformer(ctx, clusterObject())
}

// clusterObject is not of the types of policy-controller, which drop the fields that they don't know.
func clusterObject() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(clusterGVK)
	return o
}

// foreign is a ClusterImagePolicy.
type foreign struct {
	uid    types.UID
	inputs string
	policy *imagepolicy.Policy
	// ready is told by events alone: its status belongs to policy-controller.
	ready *metav1.Condition
}

// compileClusters brings p.cluster up to date. After an error nothing is forgotten.
func (p *Policies) compileClusters(ctx context.Context) error {
	if err := p.look(ctx); err != nil {
		return err
	}
	if !p.present {
		clear(p.cluster)
		return nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(clusterGVK.GroupVersion().WithKind(clusterGVK.Kind + "List"))
	if err := p.policies.List(ctx, list); err != nil {
		return fmt.Errorf("listing ClusterImagePolicies: %w", err)
	}
	seen := map[string]bool{}
	var failed []error
	for i := range list.Items {
		seen[list.Items[i].GetName()] = true
		failed = append(failed, p.refreshCluster(ctx, &list.Items[i]))
	}
	maps.DeleteFunc(p.cluster, func(name string, _ *foreign) bool { return !seen[name] })
	return errors.Join(failed...)
}

// look asks once a minute whether the kind is there. That nobody answers changes nothing, but before the first answer nobody knows.
func (p *Policies) look(ctx context.Context) error {
	first := p.lookedAt.IsZero()
	if !first && p.clock.Since(p.lookedAt) < lookInterval {
		return nil
	}
	there, err := p.clusters.served(ctx)
	if err == nil && there != p.present {
		err = p.switchClusters(ctx, there)
	}
	if err != nil && first {
		return err
	}
	p.lookedAt = p.clock.Now()
	if err != nil {
		p.log.Error(err, "ClusterImagePolicies can't be looked for, those that are known stay in force")
	}
	return nil
}

func (p *Policies) switchClusters(ctx context.Context, there bool) error {
	if !there {
		p.log.Info("The cluster has no ClusterImagePolicies any more")
		p.present = false
		return p.clusters.forget(ctx)
	}
	if err := p.clusters.follow(ctx, p); err != nil {
		return errors.Join(fmt.Errorf("reading ClusterImagePolicies: %w", err), p.clusters.forget(ctx))
	}
	p.log.Info("ClusterImagePolicies are honoured")
	p.present = true
	return nil
}

func (p *Policies) refreshCluster(ctx context.Context, u *unstructured.Unstructured) error {
	raw, err := u.MarshalJSON()
	if err != nil {
		return fmt.Errorf("reading ClusterImagePolicy %s: %w", u.GetName(), err)
	}
	o, fault := imagepolicy.DecodeCluster(raw)
	o.Name, o.UID, o.Generation = u.GetName(), u.GetUID(), u.GetGeneration()
	keys, versions, err := p.clusterKeys(ctx, o)
	if err != nil {
		return fmt.Errorf("reading the keys of ClusterImagePolicy %s: %w", o.Name, err)
	}
	f := p.cluster[o.Name]
	if f == nil || f.uid != o.UID {
		f = &foreign{uid: o.UID}
	}
	inputs := fmt.Sprintf("%d %s %s", o.Generation, versions, p.trustVersion())
	if f.inputs == inputs && f.policy != nil {
		return nil
	}
	p.compileCluster(f, o, fault, keys)
	f.inputs = inputs
	p.cluster[o.Name] = f
	return nil
}

// compileCluster has no last good version: the one that is there is what the other controller would judge by too.
func (p *Policies) compileCluster(f *foreign, o *v1beta1.ClusterImagePolicy, fault error, keys map[string][]byte) {
	var policy *imagepolicy.Policy
	var warnings []string
	if fault == nil {
		policy, warnings, fault = imagepolicy.CompileCluster(imagepolicy.ClusterInput{Object: o, PublicKeys: keys, Trust: p.trust})
	}
	now := metav1.Condition{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonInForce, Message: fmt.Sprintf("Generation %d is in force", o.Generation)}
	if fault != nil {
		policy = imagepolicy.NotReadyCluster(o, fault)
		now = metav1.Condition{Status: metav1.ConditionFalse, Reason: pipeline.ReasonOf(fault), Message: plain(fault.Error()) + "; " + meanwhile(policy)}
		p.log.Info("A ClusterImagePolicy is not ready, and refuses what it is for", "policy", o.Name, "why", fault.Error())
	}
	for _, warning := range warnings {
		p.log.Info("A ClusterImagePolicy looks unintended", "policy", o.Name, "warning", warning)
	}
	p.tell(clusterReference(o), f.ready, &now)
	f.policy, f.ready = policy, &now
}

func clusterReference(o *v1beta1.ClusterImagePolicy) *unstructured.Unstructured {
	u := clusterObject()
	u.SetName(o.Name)
	u.SetUID(o.UID)
	return u
}

// clusterKeys are the public keys in the Secrets that authorities name. Such a Secret has one entry; one that has not is as one that is
// not there.
func (p *Policies) clusterKeys(ctx context.Context, o *v1beta1.ClusterImagePolicy) (map[string][]byte, string, error) {
	keys, versions := map[string][]byte{}, ""
	for _, a := range o.Spec.Authorities {
		if a.Key == nil || a.Key.SecretRef == nil {
			continue
		}
		secret := &corev1.Secret{}
		err := p.ours.Get(ctx, client.ObjectKey{Namespace: imagepolicy.ClusterNamespace, Name: a.Key.SecretRef.Name}, secret)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, "", err
		}
		versions += "," + string(secret.UID) + "/" + secret.ResourceVersion
		for _, value := range secret.Data {
			if len(secret.Data) == 1 {
				keys[secret.Name] = value
			}
		}
	}
	return keys, versions, nil
}
