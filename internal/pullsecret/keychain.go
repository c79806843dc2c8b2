package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ibshafique/base-images/internal/flight"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// loadTimeout of one secret.
const loadTimeout = 3 * time.Second

// keychain has what secrets say, and asks the clouds for what they don't, as the kubelet does.
type keychain struct {
	secrets []*content
	cloud   authn.ContextKeychain
}

// Resolve implements authn.Keychain.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (k *keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	secrets := make([]registry.PullSecret, len(k.secrets))
	for i, s := range k.secrets {
		var err error
		if secrets[i], err = s.get(ctx); err != nil {
			return nil, err
		}
	}
	auth := registry.FromPullSecrets(target, secrets...)
	if auth != authn.Anonymous || k.cloud == nil {
		return auth, nil
	}
	return k.cloud.ResolveContext(ctx, target)
}

// content of one version of a secret, once somebody has needed it.
type content struct {
	secret Secret
	load   Load
	flight flight.Group[*parsed]
	parsed atomic.Pointer[parsed]
}

// parsed is what became of the content: another look at the same version would find the same.
type parsed struct {
	auths registry.PullSecret
	err   error
}

func (c *content) get(ctx context.Context) (registry.PullSecret, error) {
	if p := c.parsed.Load(); p != nil {
		return p.auths, p.err
	}
	p, err := c.flight.Do(ctx, "", loadTimeout, c.read)
	if err != nil {
		return registry.PullSecret{}, c.unread(ctx, err)
	}
	return p.auths, p.err
}

func (c *content) read(ctx context.Context) (*parsed, error) {
	raw, err := c.load(ctx, c.secret)
	if err != nil && !errors.Is(err, ErrMissing) {
		return nil, err
	}
	p := &parsed{}
	switch {
	case len(raw) > maxContent:
		p.err = c.malformed(fmt.Errorf("it has %d bytes, at most %d are read", len(raw), maxContent))
	case len(raw) > 0:
		p.auths, err = registry.ParsePullSecret(c.secret.Type, raw)
		p.err = c.malformed(err)
	}
	c.parsed.Store(p)
	return p, nil
}

func (c *content) malformed(err error) error {
	if err == nil {
		return nil
	}
	return pipeline.Terminalf(pipeline.ReasonRegistryCredentials,
		"imagePullSecrets: Secret %s/%s can't be used: %w: make it anew with kubectl create secret docker-registry", c.secret.Namespace, c.secret.Name, err)
}

// unread is about the Kubernetes API, and would be taken for an error of the registry without a type.
func (c *content) unread(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the Kubernetes API has not answered in time: %w", err)
	}
	return pipeline.Transientf(pipeline.ReasonClusterUnavailable, "reading Secret %s/%s of imagePullSecrets: %w", c.secret.Namespace, c.secret.Name, err)
}
