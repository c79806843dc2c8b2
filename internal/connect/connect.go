// Package connect makes of a configuration what every program of the cluster reaches the outside by: the client of
// registries, and the trust root.
package connect

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/trustroot"
)

// Counter counts what becomes of requests.
type Counter interface {
	RegistryRequest(method string, status int)
	TrustRootRefreshed(changed bool, failure error)
}

// Registries makes the client of a program, whose name registries see.
func Registries(cfg config.Registries, l limits.Registry, program string, counted Counter) (*registry.Client, error) {
	rc := registry.Config{
		CABundle:     []byte(cfg.CABundle),
		PrivateHosts: cfg.PrivateHosts,
		TokenHosts:   cfg.TokenHosts,
		UserAgent:    "basewright-" + program,
		Limits:       l,
		Observe:      counted.RegistryRequest,
	}
	for _, m := range cfg.Mirrors {
		rc.Mirrors = append(rc.Mirrors, registry.Mirror{Prefix: m.Prefix, Endpoint: m.Endpoint})
	}
	return registry.New(rc)
}

// TrustRoot is there at once, or says so when it is asked: no program starts or gets ready later for it.
func TrustRoot(cfg config.TrustRoot, client *http.Client, log logr.Logger, counted Counter) (*trustroot.Root, error) {
	o := trustroot.Options{Clock: clock.RealClock{}, Observe: observe(log, counted)}
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
func observe(log logr.Logger, counted Counter) func(trustroot.Refresh) {
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
