package registry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
)

// credentials remembers for which registries a keychain had credentials, and lets them go
// to these and their token services only. go-containerregistry sends them to whatever
// "realm" a registry names.
type credentials struct {
	keychain   authn.Keychain
	tokenHosts []TokenHost

	mu         sync.Mutex
	registries []string
}

func newCredentials(keychain authn.Keychain, tokenHosts []TokenHost) *credentials {
	return &credentials{keychain: keychain, tokenHosts: append(slices.Clone(wellKnownTokenHosts), tokenHosts...)}
}

// Resolve implements authn.Keychain.
func (c *credentials) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return c.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (c *credentials) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	auth, err := authn.Resolve(ctx, c.keychain, target)
	if err != nil || auth == authn.Anonymous {
		return auth, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.registries, target.RegistryStr()) {
		c.registries = append(c.registries, target.RegistryStr())
	}
	return auth, nil
}

// mayGo refuses a request that carries long-lived credentials to a host that they do not
// belong to.
func (c *credentials) mayGo(req *http.Request) error {
	basic := strings.HasPrefix(req.Header.Get("Authorization"), "Basic ")
	if !basic && !hasSecretBody(req) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.registries, func(r string) bool { return c.accepts(r, req.URL.Host) }) {
		return nil
	}
	return &RefusedError{
		Host: req.URL.Host,
		Why: "is named as token service by " + strings.Join(c.registries, " or ") +
			", and would get its credentials: add the pair to registries.tokenHosts if this is intended",
	}
}

func (c *credentials) accepts(registry, host string) bool {
	if strings.EqualFold(registry, host) {
		return true
	}
	return slices.ContainsFunc(c.tokenHosts, func(t TokenHost) bool {
		return strings.EqualFold(t.Registry, registry) && newHostSet([]string{t.Host}).hasAddress(host)
	})
}
