package sign

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

// staleLayers are those that are replaced, and all but one of those that say the same.
func (a *attesting) staleLayers() map[string]struct{} {
	out := map[string]struct{}{}
	drop := func(all []verify.Evidence) {
		for _, e := range all {
			if e.Format == v1alpha1.FormatLegacy {
				out[e.Layer] = struct{}{}
			}
		}
	}
	drop(a.stale)
	for _, twins := range a.have {
		drop(twins[1:])
	}
	// The same layer may be listed twice.
	for _, twins := range a.have {
		delete(out, twins[0].Layer)
	}
	return out
}

// removeBundles deletes superseded bundles as well, and as fast, as the registry lets us. They are valid, and about this
// digest: what they say is old, not wrong.
func (a *attesting) removeBundles(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, a.signer.removal)
	defer cancel()
	artifact, err := a.removeEach(limited)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("removing superseded attestations of %s: %w", registry.Name(a.ref), context.Cause(ctx))
	}
	if err != nil {
		a.signer.options.Kept(ctx, artifact, err)
	}
	return nil
}

// removeEach ends at the first that the registry does not let us delete, and names it: it would not let us delete the
// others.
func (a *attesting) removeEach(ctx context.Context) (name.Digest, error) {
	for _, e := range a.stale {
		if e.Format != v1alpha1.FormatBundle {
			continue
		}
		if artifact, err := a.remove(ctx, e); err != nil {
			return artifact, err
		}
	}
	for key, twins := range a.have {
		if key.format != v1alpha1.FormatBundle || len(twins) == 1 {
			continue
		}
		if artifact, err := a.removeTwins(ctx, key.predicateType, twins); err != nil {
			return artifact, err
		}
	}
	return name.Digest{}, nil
}

func (a *attesting) remove(ctx context.Context, e verify.Evidence) (name.Digest, error) {
	artifact := a.ref.Context().Digest(e.Manifest)
	return artifact, a.client.RemoveArtifact(ctx, artifact, a.ref)
}

// removeTwins leaves one of those that are as we write them. Whoever may push can wrap our signature in a manifest that
// other verifiers do not find: such a copy neither goes, nor does anything go because of it.
func (a *attesting) removeTwins(ctx context.Context, predicateType string, twins []verify.Evidence) (name.Digest, error) {
	kept := false
	for _, e := range twins {
		artifact := a.ref.Context().Digest(e.Manifest)
		found, err := a.client.Manifest(ctx, artifact)
		if isGone(err) || err == nil && !isOurs(found.Raw, a.ref, predicateType) {
			continue
		}
		if err == nil && kept {
			_, err = a.remove(ctx, e)
		}
		if err != nil {
			return artifact, err
		}
		kept = true
	}
	return name.Digest{}, nil
}

// isOurs reports whether a manifest is as pushBundle writes it.
func isOurs(manifest []byte, ref name.Digest, predicateType string) bool {
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil || m.ArtifactType != bundleType || len(m.Layers) != 1 || m.Layers[0].MediaType != bundleType {
		return false
	}
	if m.Subject == nil || m.Subject.Digest.String() != ref.DigestStr() {
		return false
	}
	return maps.Equal(m.Annotations, bundleAnnotations(m.Annotations[createdAnnotation], predicateType))
}
