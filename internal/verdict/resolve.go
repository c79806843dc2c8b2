package verdict

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Resolve implements Judge. The digest is computed from what the registry sends, not taken at its word.
func (c *Cache) Resolve(ctx context.Context, access Access, tag name.Tag) (name.Digest, error) {
	if access.Client == nil {
		return name.Digest{}, pipeline.Transientf(pipeline.ReasonInternalError, "there is no registry to ask for %s", registry.Name(tag))
	}
	k := tagKey{access.Scope, tag.Name()}
	digest, look, err := c.resolved(ctx, k, access, tag)
	c.observer.Looked(look)
	if err != nil {
		return name.Digest{}, err
	}
	return tag.Context().Digest(digest), nil
}

func (c *Cache) resolved(ctx context.Context, k tagKey, access Access, tag name.Tag) (string, Look, error) {
	if a, ok := c.tags.recall(k); ok {
		return a.value, Hit, a.err
	}
	return c.tags.find(ctx, k, func(ctx context.Context, s *steps) (string, error) {
		at, err := c.place(ctx, access.Tenant, tag.RegistryStr(), s)
		if err != nil {
			return "", err
		}
		defer at.release()
		m, err := (&source{client: access.Client, gate: c.gate(at.host, tag.Context(), access.Scope), steps: s, clock: c.clock}).Manifest(ctx, tag)
		if err != nil {
			return "", unlessViolation(err)
		}
		digest := m.Digest.String()
		if len(m.Raw) <= manifestBytes {
			c.manifests.Add(imageKey{tag.RegistryStr(), tag.RepositoryStr(), digest, access.Scope, 0}, m)
		}
		return digest, nil
	})
}

// knownTo are the manifests that were read a moment ago with the same credentials.
func (c *Cache) knownTo(k imageKey) func(name.Reference) (registry.Manifest, bool) {
	return func(ref name.Reference) (registry.Manifest, bool) {
		d, ok := ref.(name.Digest)
		if !ok {
			return registry.Manifest{}, false
		}
		return c.manifests.Get(imageKey{d.RegistryStr(), d.RepositoryStr(), d.DigestStr(), k.scope, 0})
	}
}
