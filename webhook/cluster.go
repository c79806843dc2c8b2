package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	lru "github.com/hashicorp/golang-lru/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/internal/flight"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/pullsecret"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verdict"
)

// What the webhook reads of a cluster.
const (
	// clusterQPS and clusterBurst bound what is asked beside watches: secrets that are used for the first time, and objects
	// that were made a moment ago.
	clusterQPS   = 200
	clusterBurst = 400
)

// Cluster knows of the cluster what admission asks for, from watches of its own: labels of namespaces, platforms of nodes,
// pull secrets of ServiceAccounts and versions of secrets. Of each object it keeps only that, and of a secret nothing of its
// content. What it does not find, it asks the apiserver for: the object may be younger than the watch knows.
type Cluster struct {
	kube     kubernetes.Interface
	metadata metadata.Interface
	store    *pullsecret.Store
	load     pullsecret.Load
	clock    clock.Clock
	log      logr.Logger

	namespaces *table[map[string]string]
	accounts   *table[account]
	secrets    map[string]*table[version] // by type
	nodes      *table[pipeline.Platform]
	platforms  atomic.Pointer[[]pipeline.Platform]
	counting   sync.Mutex
	server     atomic.Pointer[string]

	askedNamespaces flight.Group[map[string]string]
	askedAccounts   flight.Group[found[[]corev1.LocalObjectReference]]
	askedSecrets    flight.Group[found[pullsecret.Secret]]
	absent          *lru.Cache[absentee, time.Time]
}

// ClusterOptions of a Cluster.
type ClusterOptions struct {
	// Secrets gives access to registries.
	Secrets *pullsecret.Store
}

// NewCluster makes a Cluster that mgr runs, whether it leads or not. It needs to get, list and watch namespaces, nodes,
// serviceaccounts and secrets.
func NewCluster(mgr ctrl.Manager, o ClusterOptions) (*Cluster, error) {
	config := rest.CopyConfig(mgr.GetConfig())
	config.QPS, config.Burst = clusterQPS, clusterBurst
	metadataClient, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for metadata: %w", err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = config.ContentType + ",application/json"
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for Kubernetes: %w", err)
	}
	c, err := newCluster(kube, metadataClient, o)
	if err != nil {
		return nil, err
	}
	c.log = mgr.GetLogger().WithName("cluster")
	return c, mgr.Add(c)
}

func newCluster(kube kubernetes.Interface, metadataClient metadata.Interface, o ClusterOptions) (*Cluster, error) {
	if o.Secrets == nil {
		return nil, errors.New("webhook.ClusterOptions.Secrets is missing: it gives access to registries")
	}
	absent, err := lru.New[absentee, time.Time](maxAbsent)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		kube: kube, metadata: metadataClient, store: o.Secrets, clock: clock.RealClock{}, absent: absent,
		namespaces: newTable(metav1.Object.GetLabels),
		accounts:   newTable(accountOf),
		secrets:    map[string]*table[version]{registry.TypeDockerConfigJSON: newTable(versionOf), registry.TypeDockercfg: newTable(versionOf)},
		nodes:      newTable(platformOf),
	}
	c.nodes.changed = c.nodeChanged
	c.load = c.loadSecret
	return c, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica answers.
func (c *Cluster) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable: it fills the tables until ctx ends. Errors are retried and logged.
func (c *Cluster) Start(ctx context.Context) error {
	ctx = logr.NewContext(ctx, c.log)
	var running sync.WaitGroup
	for _, w := range c.watches() {
		running.Go(func() { w.RunWithContext(ctx) })
	}
	running.Go(func() { c.keepVersion(ctx) })
	running.Wait()
	return nil
}

// Check implements healthz.Checker: whether there is an answer to everything.
func (c *Cluster) Check(*http.Request) error {
	tables := map[string]interface{ ready() bool }{"namespaces": c.namespaces, "serviceaccounts": c.accounts, "nodes": c.nodes}
	for secretType, t := range c.secrets {
		tables["secrets of type "+secretType] = t
	}
	var unknown []error
	for _, what := range slices.Sorted(maps.Keys(tables)) {
		if !tables[what].ready() {
			unknown = append(unknown, fmt.Errorf("the %s of the cluster are not known yet: the webhook has to get, list and watch them", what))
		}
	}
	if c.Version() == "" {
		unknown = append(unknown, errors.New("the version of the apiserver is not known yet"))
	}
	return errors.Join(unknown...)
}

// Access returns how the images of pods with this spec are pulled: with the imagePullSecrets of the pod or, if it has none,
// with those of its ServiceAccount. Nothing is asked of the apiserver for what the watches know.
func (c *Cluster) Access(ctx context.Context, namespace string, spec *corev1.PodSpec) (verdict.Access, error) {
	names := spec.ImagePullSecrets
	if len(names) == 0 {
		var err error
		if names, err = c.accountSecrets(ctx, namespace, spec); err != nil {
			return verdict.Access{}, err
		}
	}
	if err := pullsecret.CheckNumber(len(names)); err != nil {
		return verdict.Access{}, err
	}
	var few [4]pullsecret.Secret
	secrets := few[:0]
	for _, n := range names {
		secret, err := c.secret(ctx, namespace, n.Name)
		if err != nil {
			return verdict.Access{}, err
		}
		secrets = append(secrets, secret)
	}
	client, scope, err := c.store.Access(secrets, c.load)
	if err != nil {
		return verdict.Access{}, err
	}
	return verdict.Access{Client: client, Scope: scope}, nil
}

// secret is the version of a secret that there is now.
func (c *Cluster) secret(ctx context.Context, namespace, name string) (pullsecret.Secret, error) {
	for _, secretType := range [...]string{registry.TypeDockerConfigJSON, registry.TypeDockercfg} {
		if v, ok := c.secrets[secretType].get(namespace, name); ok {
			return pullsecret.Secret{Namespace: namespace, Name: name, UID: v.uid, ResourceVersion: v.resourceVersion, Type: secretType}, nil
		}
	}
	return c.askSecret(ctx, namespace, name)
}

// accountSecrets are those of the ServiceAccount, as its admission plugin gives them to pods that name none themselves.
func (c *Cluster) accountSecrets(ctx context.Context, namespace string, spec *corev1.PodSpec) ([]corev1.LocalObjectReference, error) {
	name := accountName(spec)
	if found, ok := c.accounts.get(namespace, name); ok {
		return found.secrets, nil
	}
	return c.askAccount(ctx, namespace, name)
}

// Automount is automountServiceAccountToken of the ServiceAccount of pods with this spec; nil if it does not say, or is not known.
func (c *Cluster) Automount(namespace string, spec *corev1.PodSpec) *bool {
	found, _ := c.accounts.get(namespace, accountName(spec))
	return found.automount
}

func accountName(spec *corev1.PodSpec) string { return cmp.Or(spec.ServiceAccountName, "default") }

// Namespace returns the labels of a namespace, which are not to be changed. There is an error if it is not known to exist:
// nobody takes it for one without labels.
func (c *Cluster) Namespace(ctx context.Context, name string) (map[string]string, error) {
	if labels, ok := c.namespaces.get("", name); ok {
		return labels, nil
	}
	return c.askNamespace(ctx, name)
}

// version of an object.
type version struct{ uid, resourceVersion string }

func versionOf(o metav1.Object) version {
	return version{uid: string(o.GetUID()), resourceVersion: o.GetResourceVersion()}
}

// account is what is kept of a ServiceAccount.
type account struct {
	secrets   []corev1.LocalObjectReference
	automount *bool
}

func accountOf(o metav1.Object) account {
	if a, ok := o.(*corev1.ServiceAccount); ok {
		return account{secrets: a.ImagePullSecrets, automount: a.AutomountServiceAccountToken}
	}
	return account{}
}

// watches are one per table. The apiserver gives metadata only, but for ServiceAccounts: what is asked for is not in there.
// Secrets of two types are two watches, because a field selector knows no "or"; other secrets never come here.
func (c *Cluster) watches() []*cache.Reflector {
	all := []*cache.Reflector{
		c.metadataWatch("namespaces", "", c.namespaces), c.metadataWatch("nodes", "", c.nodes), c.accountWatch(),
	}
	for secretType, t := range c.secrets {
		all = append(all, c.metadataWatch("secrets", "type="+secretType, t))
	}
	return all
}
