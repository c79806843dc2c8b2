package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Names of what config/webhook installs.
const (
	ServiceName       = "basewright-webhook"
	ConfigurationName = "basewright-admission"
	SecretName        = "basewright-webhook-certs"
)

const (
	// certificatesTimeout of one look at the certificates, with all requests.
	certificatesTimeout = 20 * time.Second
	// lookEvery is how often they are looked at while nothing changes.
	lookEvery = time.Hour
	// lookSoon is how often while an authority is replaced.
	lookSoon = time.Minute
)

// Certificates are those that the webhook serves with, out of a Secret that all replicas share. Whichever of them finds
// that one is about to end renews it; all take it over as soon as the Secret changes, without files in between.
type Certificates struct {
	reader    client.Reader
	writer    client.Writer
	maker     maker
	namespace string
	clock     clock.PassiveClock

	current atomic.Pointer[tls.Certificate]
	// last is what the Secret had when it was last good. Only Reconcile, which runs once at a time, looks at it.
	last stock
	// trusted: apiservers were told of the authority since this process has started, or there is nothing to tell.
	trusted atomic.Bool
}

// SetUpCertificates keeps certificates in the Secret of a namespace, and makes apiservers trust them, while mgr runs.
func SetUpCertificates(mgr ctrl.Manager, namespace string, clk clock.PassiveClock) (*Certificates, error) {
	own, err := certificateCache(mgr, namespace)
	if err != nil {
		return nil, fmt.Errorf("making the cache of certificates: %w", err)
	}
	c := newCertificates(own, mgr.GetClient(), namespace, clk)
	ctl, err := controller.New("certificates", mgr, controller.Options{Reconciler: c, NeedLeaderElection: new(false)})
	if err != nil {
		return nil, fmt.Errorf("making the controller of certificates: %w", err)
	}
	err = errors.Join(mgr.Add(everywhere{own}), watchNamed(ctl, own, &corev1.Secret{}),
		watchNamed(ctl, own, &admissionregistrationv1.ValidatingWebhookConfiguration{}), watchNamed(ctl, own, &admissionregistrationv1.MutatingWebhookConfiguration{}))
	if err != nil {
		return nil, fmt.Errorf("watching the certificates: %w", err)
	}
	return c, nil
}

func newCertificates(reader client.Reader, writer client.Writer, namespace string, clk clock.PassiveClock) *Certificates {
	return &Certificates{reader: reader, writer: writer, namespace: namespace, clock: clk, maker: newMaker(ServiceName + "." + namespace + ".svc")}
}

// certificateCache has three objects, by their names: nothing else may be listed for this.
func certificateCache(mgr ctrl.Manager, namespace string) (cache.Cache, error) {
	named := func(name string) cache.ByObject {
		return cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", name)}
	}
	secret := named(SecretName)
	secret.Namespaces = map[string]cache.Config{namespace: {}}
	return cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: secret,
			&admissionregistrationv1.ValidatingWebhookConfiguration{}: named(ConfigurationName),
			&admissionregistrationv1.MutatingWebhookConfiguration{}:   named(ConfigurationName),
		},
	})
}

// everywhere runs on every replica.
type everywhere struct{ cache.Cache }

func (everywhere) NeedLeaderElection() bool { return false }

// watchNamed makes a pass of any change: all that there is to do is done in each.
func watchNamed[T client.Object](ctl controller.Controller, from cache.Cache, object T) error {
	return ctl.Watch(source.Kind(from, object, handler.TypedEnqueueRequestsFromMapFunc(func(context.Context, T) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: SecretName}}}
	})))
}

// Reconcile takes over what the Secret has, renews what is about to end, and has apiservers trust it.
func (c *Certificates) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, certificatesTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	err := c.reader.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: SecretName}, secret)
	if apierrors.IsNotFound(err) {
		return c.begin(ctx)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading the Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	held := c.hold(stockOf(secret.Data))
	askers, err := c.askers(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	next, err := c.maker.next(held, trusts(askers, held), c.clock.Now())
	if err != nil {
		return reconcile.Result{}, err
	}
	if next != nil {
		return c.store(ctx, secret, *next)
	}
	return c.tell(ctx, askers, held)
}

// begin makes an empty Secret, by an apply: that asks for permission by the name, which a create does not.
func (c *Certificates) begin(ctx context.Context) (reconcile.Result, error) {
	empty := corev1ac.Secret(SecretName, c.namespace).WithLabels(map[string]string{"app.kubernetes.io/name": "basewright", "app.kubernetes.io/component": "webhook"})
	if err := c.writer.Apply(ctx, empty, client.FieldOwner("basewright-webhook")); err != nil {
		return reconcile.Result{}, fmt.Errorf("making the Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	return reconcile.Result{RequeueAfter: time.Second}, nil
}

// hold serves with the certificate from now on. One that can't be used does not take the place of another: whoever deletes
// the Secret wants another authority, and not that nobody is served until all have heard of it.
func (c *Certificates) hold(s stock) stock {
	pair, err := tls.X509KeyPair(s.certificate, s.key)
	if err != nil {
		s.certificate, s.key = c.last.certificate, c.last.key
		if len(s.authorities) == 0 {
			s.authorities = c.last.authorities
		}
		return s
	}
	c.current.Store(&pair)
	c.last = s
	return s
}

// store writes the Secret. Of two replicas that do so at the same time one comes too late, and takes over what the other has made.
func (c *Certificates) store(ctx context.Context, secret *corev1.Secret, next stock) (reconcile.Result, error) {
	secret = secret.DeepCopy()
	secret.Data = next.data()
	switch err := c.writer.Update(ctx, secret); {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: time.Second}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("writing the Secret %s/%s: %w", c.namespace, SecretName, err)
	}
	logf.FromContext(ctx).Info("Certificates were renewed", "authorities", len(next.authorities))
	// It comes again when the cache has what was written.
	return reconcile.Result{RequeueAfter: lookSoon}, nil
}

// asker is an object that has apiservers ask the webhook.
type asker struct {
	object client.Object
	// bundles of its webhooks.
	bundles [][]byte
}

// askers are those that are there: somebody may install them after the webhook.
func (c *Certificates) askers(ctx context.Context) ([]asker, error) {
	validating, mutating := &admissionregistrationv1.ValidatingWebhookConfiguration{}, &admissionregistrationv1.MutatingWebhookConfiguration{}
	var all []asker
	for _, object := range []client.Object{validating, mutating} {
		err := c.reader.Get(ctx, types.NamespacedName{Name: ConfigurationName}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the %T %s: %w", object, ConfigurationName, err)
		}
		all = append(all, asker{object: object, bundles: bundles(object)})
	}
	return all, nil
}

func bundles(object client.Object) [][]byte {
	var all [][]byte
	switch o := object.(type) {
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			all = append(all, w.ClientConfig.CABundle)
		}
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for _, w := range o.Webhooks {
			all = append(all, w.ClientConfig.CABundle)
		}
	}
	return all
}

// trusts reports whether all trust the authority that signs next.
func trusts(askers []asker, s stock) bool {
	for _, a := range askers {
		for _, bundle := range a.bundles {
			if len(s.authorities) == 0 || !bytes.Contains(bundle, s.authorities[0]) {
				return false
			}
		}
	}
	return true
}

// tell has all askers trust the authorities.
func (c *Certificates) tell(ctx context.Context, askers []asker, s stock) (reconcile.Result, error) {
	for _, a := range askers {
		err := c.patch(ctx, a, bytes.Join(s.authorities, nil))
		if apierrors.IsConflict(err) { // Another replica was faster.
			return reconcile.Result{RequeueAfter: time.Second}, nil
		}
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("having the %T %s trust the certificate: %w", a.object, ConfigurationName, err)
		}
	}
	c.trusted.Store(true)
	if len(s.authorities) > 1 {
		return reconcile.Result{RequeueAfter: lookSoon}, nil
	}
	return reconcile.Result{RequeueAfter: lookEvery}, nil
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch touches nothing but bundles, and only those of the version that was read: others may have moved since.
func (c *Certificates) patch(ctx context.Context, a asker, bundle []byte) error {
	operations := []operation{{"add", "/metadata/resourceVersion", a.object.GetResourceVersion()}}
	for i, present := range a.bundles {
		if !bytes.Equal(present, bundle) {
			operations = append(operations, operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), bundle})
		}
	}
	if len(operations) == 1 {
		return nil
	}
	raw, err := json.Marshal(operations)
	if err != nil {
		return err
	}
	return c.writer.Patch(ctx, a.object, client.RawPatch(types.JSONPatchType, raw))
}

var errNoCertificate = errors.New("there is no certificate yet")

// GetCertificate is of tls.Config.
func (c *Certificates) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errNoCertificate
}

// Check says why requests would fail: there is no certificate, or none that apiservers know of. It is a healthz.Checker.
func (c *Certificates) Check(*http.Request) error {
	pair, err := c.GetCertificate(nil)
	switch {
	case err != nil:
		return err
	case !c.clock.Now().Before(pair.Leaf.NotAfter):
		return fmt.Errorf("the certificate has ended at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case !c.trusted.Load():
		return errors.New("apiservers do not trust the certificate yet")
	}
	return nil
}
