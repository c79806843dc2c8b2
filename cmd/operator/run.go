package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	_ "time/tzdata" // The image of the operator has no files but the operator.

	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

type options struct {
	configFile     string
	metricsAddress string
	healthAddress  string
	leaderElection bool
	zap            zap.Options
}

func parse(args []string, output io.Writer) (*options, error) {
	// A stack says nothing of a registry that can't be reached, and such errors are most of what is logged.
	o := &options{zap: zap.Options{StacktraceLevel: zapcore.PanicLevel}}
	set := flag.NewFlagSet("operator", flag.ContinueOnError)
	set.SetOutput(output)
	set.StringVar(&o.configFile, "config", "/etc/basewright/config.yaml", "file of the OperatorConfiguration")
	set.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address of /metrics; 0 turns it off")
	set.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	set.BoolVar(&o.leaderElection, "leader-elect", true, "let one of several replicas work at a time")
	o.zap.BindFlags(set)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return o, nil
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
	cfg, err := config.Load(o.configFile)
	if err != nil {
		return err
	}
	client, err := registryClient(cfg)
	if err != nil {
		return err
	}
	mgr, err := newManager(o)
	if err != nil {
		return err
	}
	if err := setUp(ctx, mgr, cfg, client); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func registryClient(cfg *config.Operator) (*registry.Client, error) {
	rc := registry.Config{
		CABundle:     []byte(cfg.Registries.CABundle),
		PrivateHosts: cfg.Registries.PrivateHosts,
		TokenHosts:   cfg.Registries.TokenHosts,
		UserAgent:    "basewright-operator",
		Limits:       cfg.Limits.Registry,
	}
	for _, m := range cfg.Registries.Mirrors {
		rc.Mirrors = append(rc.Mirrors, registry.Mirror{Prefix: m.Prefix, Endpoint: m.Endpoint})
	}
	return registry.New(rc)
}

func newManager(o *options) (ctrl.Manager, error) {
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
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         controllers.CacheOptions(),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.healthAddress,
		LeaderElection:                o.leaderElection,
		LeaderElectionID:              "operator.basewright.dev",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	return mgr, nil
}

func setUp(ctx context.Context, mgr ctrl.Manager, cfg *config.Operator, client *registry.Client) error {
	err := controllers.SetUp(ctx, mgr, controllers.Options{
		Config:    cfg,
		Registry:  client,
		Git:       source.NewResolver(source.Config{Transport: client.HTTPClient().Transport, Dial: client.DialContext, Limits: cfg.Limits.Source}),
		Upstreams: upstream.Resolver{Registry: client},
		Clock:     clock.RealClock{},
	})
	if err != nil {
		return err
	}
	return addHealth(mgr)
}

// addHealth makes the operator alive while it serves, and ready once its caches are filled: before that it
// would see a cluster without builds.
func addHealth(mgr ctrl.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	synced := func(req *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(req.Context()) {
			return fmt.Errorf("the caches are not filled yet")
		}
		return nil
	}
	if err := mgr.AddReadyzCheck("caches", synced); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}
