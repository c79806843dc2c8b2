package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// passInterval is how often counts are written, and how often everything is looked at although nothing has changed: an
	// exception has expired, the trust root is another one, a write has failed.
	passInterval = 30 * time.Second
	// retryInterval is for when nothing was loaded yet.
	retryInterval = time.Second
	// policyPassTimeout of one look, with all that it writes.
	policyPassTimeout = 20 * time.Second
	// lastWrites is how long the counts take that are written at the end.
	lastWrites = 5 * time.Second
)

// PoliciesOptions say what Policies are made of.
type PoliciesOptions struct {
	// Namespace of ours, in which policies refer to ConfigMaps and Secrets.
	Namespace string
	// Trust is what signatures are verified with.
	Trust imagepolicy.Trust
	// TrustVersion names the trust root: policies are proven again on another one. Empty while there is none.
	TrustVersion func() string
	Clock        clock.Clock
}

// Policies are those in force, kept up to date by informers. One goroutine compiles, and those who ask get a snapshot at once.
type Policies struct {
	namespace    string
	trust        imagepolicy.Trust
	trustVersion func() string
	clock        clock.Clock
	log          logr.Logger
	events       events.EventRecorder

	// policies are read from the manager's informers; ours is what they refer to, and versions that are kept.
	policies client.Reader
	ours     client.Reader
	writer   client.Client
	clusters clusterKind

	// changed says that something has, or may have.
	changed chan struct{}
	// native and cluster are by name, and belong to the goroutine that compiles.
	native   map[string]*native
	cluster  map[string]*foreign
	lookedAt time.Time
	present  bool

	set      atomic.Pointer[imagepolicy.Set]
	counters sync.Map
}

// SetUpPolicies registers the informers and the goroutine with the manager, and the validation of our own kind with its webhook server.
func SetUpPolicies(mgr ctrl.Manager, o PoliciesOptions) (*Policies, error) {
	if o.Namespace == "" || o.Trust.Material == nil || o.TrustVersion == nil || o.Clock == nil {
		return nil, errors.New("setting up policies: something that they depend on is missing")
	}
	ours, err := cache.New(mgr.GetConfig(), oursOptions(mgr, o.Namespace))
	if err != nil {
		return nil, fmt.Errorf("making the cache of namespace %s: %w", o.Namespace, err)
	}
	if err := mgr.Add(cacheOf{ours}); err != nil {
		return nil, fmt.Errorf("adding the cache of namespace %s: %w", o.Namespace, err)
	}
	clusters, err := newClusterKind(mgr)
	if err != nil {
		return nil, err
	}
	p := newPolicies(o)
	p.log, p.events = ctrl.Log.WithName("policies"), mgr.GetEventRecorder("basewright-webhook")
	p.policies, p.ours, p.writer, p.clusters = mgr.GetCache(), ours, mgr.GetClient(), clusters
	if err := p.watch(mgr, ours); err != nil {
		return nil, err
	}
	mgr.GetWebhookServer().Register(ValidatePolicyPath, policyWebhook(mgr.GetScheme(), p))
	if err := mgr.Add(p); err != nil {
		return nil, fmt.Errorf("adding the policies: %w", err)
	}
	return p, nil
}

func newPolicies(o PoliciesOptions) *Policies {
	return &Policies{
		namespace: o.Namespace, trust: o.Trust, trustVersion: o.TrustVersion, clock: o.Clock,
		changed: make(chan struct{}, 1), native: map[string]*native{}, cluster: map[string]*foreign{},
	}
}

// cacheOf is started before whoever reads it, as every cache of a manager.
type cacheOf struct{ cache.Cache }

// GetCache tells the manager what this is.
func (c cacheOf) GetCache() cache.Cache { return c.Cache }

// oursOptions keep all but two namespaces out of memory, and of Secrets all but public keys.
func oursOptions(mgr ctrl.Manager, namespace string) cache.Options {
	only := map[string]cache.Config{namespace: {}}
	return cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultNamespaces: only,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:             {Namespaces: map[string]cache.Config{namespace: {}, imagepolicy.ClusterNamespace: {}}, Transform: onlyPublicKeys},
			&corev1.ConfigMap{}:          {Namespaces: only, Transform: onlyRego},
			&appsv1.ControllerRevision{}: {Namespaces: only},
		},
	}
}

// watch makes a pass of everything that may change what is in force.
func (p *Policies) watch(mgr ctrl.Manager, ours cache.Cache) error {
	for _, w := range []struct {
		cache  cache.Cache
		object client.Object
	}{
		{mgr.GetCache(), &v1alpha1.ImageAdmissionPolicy{}},
		{ours, &corev1.ConfigMap{}}, {ours, &corev1.Secret{}}, {ours, &appsv1.ControllerRevision{}},
	} {
		if err := p.follow(context.Background(), w.cache, w.object); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policies) follow(ctx context.Context, c cache.Cache, object client.Object) error {
	informer, err := c.GetInformer(ctx, object)
	if err != nil {
		return fmt.Errorf("watching %T: %w", object, err)
	}
	if _, err := informer.AddEventHandler(p.handler()); err != nil {
		return fmt.Errorf("watching %T: %w", object, err)
	}
	return nil
}

// handler leaves out the status that another replica, or this one, writes.
func (p *Policies) handler() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { p.poke() },
		UpdateFunc: func(before, after any) {
			b, isObject := before.(client.Object)
			a, isToo := after.(client.Object)
			if isObject && isToo && (b.GetResourceVersion() == a.GetResourceVersion() || a.GetGeneration() != 0 && a.GetGeneration() == b.GetGeneration()) {
				return
			}
			p.poke()
		},
		DeleteFunc: func(any) { p.poke() },
	}
}

// poke asks for a pass; one that was asked for already suffices.
func (p *Policies) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// NeedLeaderElection is false: every replica admits by all policies.
func (*Policies) NeedLeaderElection() bool { return false }

// Start keeps the policies up to date until ctx ends, and writes the last counts then.
func (p *Policies) Start(ctx context.Context) error {
	flushed := p.clock.Now()
	for {
		flush := p.clock.Since(flushed) >= passInterval
		if flush {
			flushed = p.clock.Now()
		}
		if err := p.pass(ctx, flush); err != nil && ctx.Err() == nil {
			p.log.Error(err, "Policies are not up to date")
		}
		if !p.await(ctx, flushed) {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	defer cancel()
	if err := p.reportAll(ctx, true); err != nil {
		p.log.Error(err, "The last counts are lost")
	}
	return nil
}

// await reports whether there is another pass.
func (p *Policies) await(ctx context.Context, flushed time.Time) bool {
	wait := passInterval - p.clock.Since(flushed)
	if p.set.Load() == nil {
		wait = retryInterval
	}
	timer := p.clock.NewTimer(max(wait, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-p.changed:
	case <-timer.C():
	}
	return true
}

// pass looks at everything, and compiles what has changed. Pods are admitted by it before anything is written.
func (p *Policies) pass(ctx context.Context, flush bool) error {
	ctx, cancel := context.WithTimeout(ctx, policyPassTimeout)
	defer cancel()
	if err := errors.Join(p.compileNative(ctx), p.compileClusters(ctx)); err != nil {
		return err
	}
	p.publish()
	return errors.Join(p.keepAll(ctx), p.reportAll(ctx, flush))
}

func (p *Policies) publish() {
	all := make([]*imagepolicy.Policy, 0, len(p.native)+len(p.cluster))
	for _, n := range p.native {
		all = append(all, n.policy)
	}
	for _, f := range p.cluster {
		all = append(all, f.policy)
	}
	p.set.Store(imagepolicy.NewSet(all))
}

// Set returns the policies in force. Until all of them were read, it is an error.
func (p *Policies) Set() (*imagepolicy.Set, error) {
	if s := p.set.Load(); s != nil {
		return s, nil
	}
	return nil, pipeline.Transientf(pipeline.ReasonPoliciesNotLoaded, "the policies are not loaded yet")
}

// Check is a healthz.Checker: it fails until the policies were read. One that is broken is no reason not to be ready.
func (p *Policies) Check(*http.Request) error {
	_, err := p.Set()
	return err
}
