package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/connect"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pullsecret"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/trustroot"
	"github.com/ibshafique/base-images/internal/verdict"
	"github.com/ibshafique/base-images/webhook"
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
	policies, err := webhook.SetUpPolicies(mgr, webhook.PoliciesOptions{
		Namespace: o.namespace, Clock: clock.RealClock{}, TrustVersion: out.knownVersion,
		Trust: imagepolicy.Trust{Material: out.trust.Material, Limits: cfg.Limits.All().Signatures},
	})
	if err != nil {
		return nil, err
	}
	cluster, err := newCluster(mgr, cfg, out.client)
	if err != nil {
		return nil, err
	}
	if err := admit(mgr, cfg, out, policies, cluster, counted); err != nil {
		return nil, err
	}
	return map[string]healthz.Checker{"certificate": certs.check, "trust-root": out.check, "policies": policies.Check, "cluster": cluster.Check}, nil
}

func newCluster(mgr ctrl.Manager, cfg *config.Webhook, client *registry.Client) (*webhook.Cluster, error) {
	var clouds []pullsecret.Cloud
	for _, cloud := range cfg.Registries.CloudCredentials {
		clouds = append(clouds, pullsecret.Cloud(cloud))
	}
	secrets, err := pullsecret.New(pullsecret.Options{Base: client, Cloud: clouds})
	if err != nil {
		return nil, fmt.Errorf("making the store of pull secrets: %w", err)
	}
	return webhook.NewCluster(mgr, webhook.ClusterOptions{Secrets: secrets})
}

func admit(mgr ctrl.Manager, cfg *config.Webhook, out outside, policies *webhook.Policies, cluster *webhook.Cluster, counted *metrics.Admission) error {
	judge, err := verdict.New(verdict.Options{Trust: out.version, Limits: cfg.Limits.Admission, Observer: observer(counted)})
	if err != nil {
		return fmt.Errorf("making the judge of images: %w", err)
	}
	o := webhook.Options{
		Policies: policies, Cluster: cluster, Judge: judge, References: out.client,
		LogAllowed: cfg.Admission.LogAllowed, Budget: cfg.Limits.Admission.Timeout.Std(), Metrics: counted, Clock: clock.RealClock{},
	}
	o.Unmatched, o.AllowUnmatched = unmatched(cfg.Admission.UnmatchedImages)
	return webhook.SetUp(mgr, o)
}

// unmatched images are refused, unless the configuration says otherwise.
func unmatched(u config.Unmatched) (mode v1alpha1.PolicyMode, allowed bool) {
	switch u {
	case config.UnmatchedAllow:
		return "", true
	case config.UnmatchedWarn:
		return v1alpha1.ModeWarn, false
	}
	return v1alpha1.ModeEnforce, false
}

// observer counts where answers about images come from.
func observer(counted *metrics.Admission) verdict.Observer {
	return verdict.Observer{
		Looked: func(l verdict.Look) {
			switch l {
			case verdict.Hit:
				counted.Verdict("remembered")
			case verdict.Coalesced:
				counted.Verdict("joined")
			}
		},
		Judged: func(outcome verdict.Outcome, _ time.Duration) {
			if outcome == verdict.Held || outcome == verdict.Refused {
				counted.Verdict("found")
			} else {
				counted.Verdict("failed")
			}
		},
		Opened: counted.RegistryPaused,
	}
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

// version of the trust root in force.
func (o outside) version() (string, error) {
	current, err := o.trust.Current()
	return current.Version, err
}

// knownVersion is empty while there is none.
func (o outside) knownVersion() string {
	version, _ := o.version()
	return version
}

// check is a healthz.Checker. It fails until there is a trust root: that of the public good instance is there from the start.
func (o outside) check(*http.Request) error {
	_, err := o.version()
	return err
}

func register(counted *metrics.Admission, certs *certificates) error {
	if err := errors.Join(ctrlmetrics.Registry.Register(counted), ctrlmetrics.Registry.Register(certs.expiry())); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	return nil
}
