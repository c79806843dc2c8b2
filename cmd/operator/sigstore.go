package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/trustroot"
)

// trustRoot is there at once, or says so when it is asked: the operator neither starts nor gets ready later for it.
func trustRoot(cfg config.Sigstore, client *http.Client, counted *metrics.Metrics) (*trustroot.Root, error) {
	o := trustroot.Options{Clock: clock.RealClock{}, Observe: observe(ctrl.Log.WithName("trust-root"), counted)}
	if cfg.TrustedRootFile != "" {
		return trustroot.FromFile(cfg.TrustedRootFile, o)
	}
	return trustroot.FromTUF(trustroot.TUF{
		Mirror: cfg.TUF.Mirror, RootFile: cfg.TUF.RootFile, HTTP: client,
		// Of one user: what is in it is verified, but somebody else could keep us from writing to it.
		CacheDir: filepath.Join(os.TempDir(), fmt.Sprintf("basewright-tuf-%d", os.Getuid())),
	}, o)
}

// observe tells of what has changed: a source that stays away is told of once.
func observe(log logr.Logger, counted *metrics.Metrics) func(trustroot.Refresh) {
	return func(r trustroot.Refresh) {
		counted.TrustRootRefreshed(r.Changed, r.Err)
		switch {
		case r.Err != nil && !r.Again:
			log.Error(r.Err, "The trust root can't be refreshed: the last good one stays in force", "version", r.Version)
		case r.Changed:
			log.Info("There is another trust root", "version", r.Version)
		}
	}
}

// everywhere runs on every replica, leader or not: who takes over has a trust root of today.
type everywhere struct{ root *trustroot.Root }

func (e everywhere) Start(ctx context.Context) error { return e.root.Run(ctx) }
func (e everywhere) NeedLeaderElection() bool        { return false }

func signer(mgr ctrl.Manager, cfg config.Sigstore) *controllers.SignerIdentity {
	account := types.NamespacedName{Namespace: cfg.ServiceAccount.Namespace, Name: cfg.ServiceAccount.Name}
	return controllers.NewSignerIdentity(mgr.GetClient(), account, cfg.Audience, clock.RealClock{})
}
