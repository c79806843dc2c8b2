package main

import (
	"errors"
	"fmt"
	"net/http"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/connect"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/trustroot"
)

// setUp returns the checks of what the webhook needs to answer, none of which is on the internet.
func setUp(mgr ctrl.Manager, o *options, cfg *config.Webhook, certs *certificates) (map[string]healthz.Checker, error) {
	counted := metrics.NewAdmission()
	if err := register(counted, certs); err != nil {
		return nil, err
	}
	out, err := newOutside(mgr, cfg, counted)
	if err != nil {
		return nil, err
	}
	if err := certs.setUp(mgr, o); err != nil {
		return nil, err
	}
	return map[string]healthz.Checker{"certificate": certs.check, "trust-root": out.check}, nil
}

// outside is what is asked beyond the cluster.
type outside struct {
	client *registry.Client
	trust  *trustroot.Root
}

func newOutside(mgr ctrl.Manager, cfg *config.Webhook, counted *metrics.Admission) (outside, error) {
	client, err := connect.Registries(cfg.Registries.Registries, cfg.Limits.All().Registry, "webhook", counted)
	if err != nil {
		return outside{}, err
	}
	trust, err := connect.TrustRoot(cfg.Sigstore, client.HTTPClient(), ctrl.Log.WithName("trust-root"), counted)
	if err != nil {
		return outside{}, err
	}
	if err := mgr.Add(manager.RunnableFunc(trust.Run)); err != nil {
		return outside{}, fmt.Errorf("adding the trust root: %w", err)
	}
	return outside{client, trust}, nil
}

// check is a healthz.Checker. It fails until there is a trust root: that of the public good instance is there from the start.
func (o outside) check(*http.Request) error {
	_, err := o.trust.Current()
	return err
}

func register(counted *metrics.Admission, certs *certificates) error {
	if err := errors.Join(ctrlmetrics.Registry.Register(counted), ctrlmetrics.Registry.Register(certs.expiry())); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	return nil
}
