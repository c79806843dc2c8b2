package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
	_ "time/tzdata" // The image of the operator has no files but the operator.

	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/connect"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
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

// evaluateRules is the command by which the operator starts itself to evaluate the rules of a team, apart from the rest.
const evaluateRules = "evaluate-rules"

func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == evaluateRules {
		return rules.Serve(os.Stdin, os.Stdout)
	}
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
	counted := metrics.New(clock.RealClock{})
	client, err := connect.Registries(cfg.Registries, cfg.Limits.Registry, "operator", counted)
	if err != nil {
		return err
	}
	mgr, err := newManager(o)
	if err != nil {
		return err
	}
	if err := setUp(ctx, mgr, cfg, client, counted); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// The lease is longer than usual: nobody waits for a base image by the second, while a leader that loses its lease because
// the apiserver is away for a moment ends, and with it what it remembers. One that can't renew it for renewDeadline first
// tries to give it back, for as long again, and only then ends: leaseDuration covers both, so that two never work at a time.
const (
	leaseDuration = 45 * time.Second
	renewDeadline = 20 * time.Second
	retryPeriod   = 4 * time.Second
	// shutdownTimeout is what passes under way have to end, whose contexts are cancelled at once. It is less than
	// terminationGracePeriodSeconds of the Deployment, so that the lease is given back before the process is killed.
	shutdownTimeout = 30 * time.Second
)

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
		Scheme:                 scheme,
		Cache:                  controllers.CacheOptions(),
		Metrics:                metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress: o.healthAddress,
		LeaderElection:         o.leaderElection,
		LeaderElectionID:       "operator.basewright.dev",
		// The lease is given back after all passes have ended, or run out of time; run returns right after, and with it the process.
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leaseDuration),
		RenewDeadline:                 new(renewDeadline),
		RetryPeriod:                   new(retryPeriod),
		GracefulShutdownTimeout:       new(shutdownTimeout),
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	return mgr, nil
}

func setUp(ctx context.Context, mgr ctrl.Manager, cfg *config.Operator, client *registry.Client, counted *metrics.Metrics) error {
	if err := ctrlmetrics.Registry.Register(counted); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("looking for the program itself: %w", err)
	}
	trust, err := connect.TrustRoot(cfg.Sigstore.TrustRoot, client.HTTPClient(), ctrl.Log.WithName("trust-root"), counted)
	if err != nil {
		return err
	}
	if err := mgr.Add(everywhere{trust}); err != nil {
		return fmt.Errorf("adding the trust root: %w", err)
	}
	signing, err := newSigning(mgr, cfg, client.HTTPClient(), trust)
	if err != nil {
		return err
	}
	watchdog := controllers.NewWatchdog(clock.RealClock{})
	err = controllers.SetUp(ctx, mgr, controllers.Options{
		Config:    cfg,
		Registry:  client,
		Git:       source.NewResolver(source.Config{Transport: client.HTTPClient().Transport, Dial: client.DialContext, Limits: cfg.Limits.Source}),
		Upstreams: upstream.Resolver{Registry: client},
		Rules:     rules.NewApart(self, evaluateRules),
		Clock:     clock.RealClock{},
		Metrics:   counted,
		Signing:   signing,
		Version:   version(),
		Watchdog:  watchdog,
	})
	if err != nil {
		return err
	}
	return addHealth(mgr, watchdog)
}
