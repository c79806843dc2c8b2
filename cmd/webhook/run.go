package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
)

// Where certificates come from.
const (
	rotate  = "rotate"
	mounted = "mounted"
)

type options struct {
	configFile     string
	port           int
	metricsAddress string
	healthAddress  string
	namespace      string
	certificates   string
	certDir        string
	drain          time.Duration
	zap            zap.Options
}

func parse(args []string, output io.Writer) (*options, error) {
	o := &options{zap: zap.Options{StacktraceLevel: zapcore.PanicLevel}}
	set := flag.NewFlagSet("webhook", flag.ContinueOnError)
	set.SetOutput(output)
	set.StringVar(&o.configFile, "config", "/etc/basewright/config.yaml", "file of the WebhookConfiguration")
	set.IntVar(&o.port, "webhook-port", 9443, "port that apiservers ask")
	set.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 turns it off")
	set.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	set.StringVar(&o.namespace, "namespace", "basewright-system", "namespace of the webhook, its certificates and what policies refer to")
	set.StringVar(&o.certificates, "certificates", rotate, "rotate: the webhook makes and renews its certificates; mounted: somebody else does, in --cert-dir")
	set.StringVar(&o.certDir, "cert-dir", "", "directory of tls.crt and tls.key, with --certificates=mounted")
	set.DurationVar(&o.drain, "drain", 10*time.Second, "how long requests are served that still come after the webhook was told to end")
	o.zap.BindFlags(set)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return o, o.check()
}

func (o *options) check() error {
	switch {
	case o.port < 1 || o.port > 65535:
		return fmt.Errorf("--webhook-port %d must be between 1 and 65535", o.port)
	case o.certificates != rotate && o.certificates != mounted:
		return fmt.Errorf("--certificates %q must be rotate or mounted", o.certificates)
	case o.certificates == mounted && o.certDir == "":
		return errors.New("--cert-dir is required with --certificates=mounted")
	case o.certificates == rotate && o.certDir != "":
		return errors.New("--cert-dir is not used with --certificates=rotate: leave it out")
	case o.drain < 0 || o.drain > 5*time.Minute:
		return fmt.Errorf("--drain %s must be between 0s and 5m", o.drain)
	}
	return nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap)))
	cfg, err := config.LoadWebhook(o.configFile)
	if err != nil {
		return err
	}
	draining := &atomic.Bool{}
	certs := &certificates{}
	srv := newServer(net.JoinHostPort("", strconv.Itoa(o.port)), certs.get, draining)
	mgr, err := newManager(o, srv)
	if err != nil {
		return err
	}
	checks, err := setUp(mgr, o, cfg, certs)
	if err != nil {
		return err
	}
	checks["listening"], checks["draining"] = srv.check, notDraining(draining)
	if err := addHealth(mgr, checks); err != nil {
		return err
	}
	return mgr.Start(drained(ctx, clock.RealClock{}, o.drain, draining))
}

const (
	// Policies and pods are read from informers, so these are for single reads of what is new, and for status and events.
	queriesPerSecond = 200
	burst            = 400
	// requestTimeout of a single one of them.
	requestTimeout = 5 * time.Second
	// shutdownTimeout of everything, the requests under way included, which have closeTimeout.
	shutdownTimeout = closeTimeout + 5*time.Second
)

func newManager(o *options, srv *server) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering the Kubernetes kinds: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering our kinds: %w", err)
	}
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	restConfig.QPS, restConfig.Burst = queriesPerSecond, burst
	mgr, err := ctrl.NewManager(restConfig, managerOptions(o, srv, scheme))
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	return mgr, nil
}

// managerOptions have no leader election: every replica serves, and nothing that one does alone is ever needed.
func managerOptions(o *options, srv *server, scheme *runtime.Scheme) ctrl.Options {
	return ctrl.Options{
		Scheme: scheme,
		// A read of these through the client must not make an informer of all of the cluster's.
		Client:                  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
		NewClient:               newClient,
		Metrics:                 metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:  o.healthAddress,
		WebhookServer:           srv,
		GracefulShutdownTimeout: new(shutdownTimeout),
	}
}

// newClient has requests that end, which those of informers don't.
func newClient(c *rest.Config, o client.Options) (client.Client, error) {
	bounded := rest.CopyConfig(c)
	bounded.Timeout = requestTimeout
	o.HTTPClient = nil // It has no timeout.
	return client.New(bounded, o)
}
