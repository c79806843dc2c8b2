package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ibshafique/base-images/internal/flight"
)

// Cloud whose registries take the identity of the program instead of a secret.
type Cloud string

// The clouds.
const (
	AWS    Cloud = "AWS"
	Azure  Cloud = "Azure"
	Google Cloud = "Google"
)

// Clouds there are.
func Clouds() []Cloud { return []Cloud{AWS, Azure, Google} }

const (
	// cloudTimeout of all requests for one credential.
	cloudTimeout = 5 * time.Second
	// cloudTTL of a credential that is good for longer: what is revoked is not used for long.
	cloudTTL = 10 * time.Minute
	// cloudMargin before a credential ends: a request needs time.
	cloudMargin = 30 * time.Second
	// cloudPause after a cloud has given none.
	cloudPause = 10 * time.Second
	// cloudCredentials that are remembered.
	cloudCredentials = 256
)

// provider of one cloud.
type provider struct {
	cloud Cloud
	// account that a host, without port, belongs to: hosts of the same one have the same credential. "": none of this cloud.
	account func(host string) string
	// fetch a credential for host from the cloud. What it returns is read-only.
	fetch func(ctx context.Context, host string) (credential, error)
	// advice to whoever gets none.
	advice string
}

type credential struct {
	auth    *authn.AuthConfig
	expires time.Time
}

// clouds is a keychain for the hosts of clouds, and asks nobody about any other.
type clouds struct {
	providers []provider
	flight    flight.Group[outcome]
	known     *lru.Cache[string, outcome]
	now       func() time.Time
}

// outcome of the last request for a credential.
type outcome struct {
	auth  *authn.AuthConfig
	err   error
	until time.Time
}

// makers of providers.
var makers = map[Cloud]func() (provider, error){AWS: aws, Azure: azure, Google: google}

func newClouds(names []Cloud) (*clouds, error) {
	known, err := lru.New[string, outcome](cloudCredentials)
	if err != nil {
		return nil, err
	}
	c := &clouds{known: known, now: time.Now}
	for i, n := range names {
		maker, ok := makers[n]
		if !ok || slices.Contains(names[:i], n) {
			return nil, fmt.Errorf("registries.cloudCredentials[%d]: %q is no cloud, or is listed twice: use each of %q at most once", i, n, Clouds())
		}
		p, err := maker()
		if err != nil {
			return nil, fmt.Errorf("registries.cloudCredentials[%d]: %s: %w", i, n, err)
		}
		c.providers = append(c.providers, p)
	}
	return c, nil
}

// Resolve implements authn.Keychain.
func (c *clouds) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return c.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain. The cloud is not asked before the registry wants to know.
func (c *clouds) ResolveContext(_ context.Context, target authn.Resource) (authn.Authenticator, error) {
	host := strings.ToLower(target.RegistryStr())
	for i := range c.providers {
		if account := c.providers[i].account(host); account != "" {
			return &cloudAuth{clouds: c, provider: &c.providers[i], host: host, key: string(c.providers[i].cloud) + " " + account}, nil
		}
	}
	return authn.Anonymous, nil
}

// cloudAuth has the credential of a host that is good now: those of clouds end within hours.
type cloudAuth struct {
	*clouds
	provider  *provider
	host, key string
}

// Authorization implements authn.Authenticator.
func (a *cloudAuth) Authorization() (*authn.AuthConfig, error) {
	return a.AuthorizationContext(context.Background())
}

// AuthorizationContext implements authn.ContextAuthenticator.
func (a *cloudAuth) AuthorizationContext(ctx context.Context) (*authn.AuthConfig, error) {
	if o, ok := a.known.Get(a.key); ok && a.now().Before(o.until) {
		return o.auth, o.err
	}
	o, err := a.flight.Do(ctx, a.key, cloudTimeout, a.ask)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err()
	case err != nil:
		return nil, a.provider.failed(a.host, err)
	}
	return o.auth, o.err
}

// ask remembers failures as well, for a moment, so that not every pod waits for them.
func (a *cloudAuth) ask(ctx context.Context) (outcome, error) {
	got, err := a.provider.fetch(ctx, a.host)
	if err == nil && !usable(got.auth) {
		err = errors.New("an empty credential")
	}
	o := outcome{auth: got.auth, until: a.now().Add(cloudTTL)}
	if err != nil {
		o = outcome{err: a.provider.failed(a.host, err), until: a.now().Add(cloudPause)}
	}
	if end := got.expires.Add(-cloudMargin); err == nil && !got.expires.IsZero() && end.Before(o.until) {
		o.until = end
	}
	a.known.Add(a.key, o)
	return o, nil
}

func usable(auth *authn.AuthConfig) bool {
	return auth != nil && (auth.Username != "" && auth.Password != "" || auth.IdentityToken != "")
}
