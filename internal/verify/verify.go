// Package verify verifies Sigstore signatures and attestations of a digest in a registry, keyless ones or those of a key,
// offline against a trust root. It is the only place where Evidence is made.
package verify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"golang.org/x/sync/errgroup"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Options of a Verifier. Of Identities and Key exactly one is set.
type Options struct {
	// Identities that may have signed; at least one. Any of them suffices.
	Identities []Identity
	// Key that it must be signed with.
	Key *Key
	// Material is the trust root. It is asked once for each verification, but not for a Key without Log, which needs none.
	Material func() (root.TrustedMaterial, error)
	// Limits of what is read. Zero fields have their defaults.
	Limits limits.Signatures
}

// Verifier verifies what certain identities, or the holder of a key, have signed. It is safe for concurrent use.
type Verifier struct {
	named      []Identity
	identities []sigstore.PolicyOption
	key        *trustedKey
	wanted     string
	material   func() (root.TrustedMaterial, error)
	limits     limits.Signatures
	now        func() time.Time
}

// New makes a Verifier. The error names the field of Options that is wrong.
func New(o Options) (*Verifier, error) {
	v := &Verifier{named: slices.Clone(o.Identities), material: o.Material, limits: o.Limits.WithDefaults(), now: time.Now}
	var err error
	switch {
	case o.Key == nil:
		v.wanted = describeAll(o.Identities)
		v.identities, err = compileAll(o.Identities)
	case len(o.Identities) > 0:
		err = errors.New("key: it is set beside identities: set one of them")
	default:
		v.key, err = newTrustedKey(*o.Key)
	}
	if err != nil {
		return nil, err
	}
	if v.key != nil {
		v.wanted = v.key.name
	}
	if o.Material == nil && (v.key == nil || v.key.log) {
		return nil, errors.New("material: there is no trust root to verify with")
	}
	return v, nil
}

// want is what is looked for.
type want struct {
	// predicateType of a statement.
	predicateType string
	// simple: in tags, a signature is a payload of cosign's and not a statement.
	simple bool
}

// Signatures returns all signatures of ref that are good and by an identity that was asked for, in both formats, newest first
// in each. There is at least one, or an error: Terminal with reason SignatureMissing, SignatureInvalid or IdentityMismatch.
// An outage of the registry is the registry's fault, also if there are others to return.
func (v *Verifier) Signatures(ctx context.Context, c Source, ref name.Digest) ([]Evidence, error) {
	found, err := v.all(ctx, c, ref, want{predicateType: pipeline.PredicateSignature, simple: true})
	out := make([]Evidence, 0, len(found))
	for _, a := range found {
		out = append(out, a.Evidence)
	}
	return out, err
}

// Attestations returns all attestations of ref of exactly this predicate type, as Signatures does. If there are none, the
// reason is AttestationMissing. Those whose statements would not fit into keptStatements of the largest size are left out.
func (v *Verifier) Attestations(ctx context.Context, c Source, ref name.Digest, predicateType string) ([]Attestation, error) {
	return v.all(ctx, c, ref, want{predicateType: predicateType})
}

func (v *Verifier) all(ctx context.Context, c Source, ref name.Digest, w want) ([]Attestation, error) {
	legacy, bundles, err := v.searches(c, ref, w)
	if err != nil {
		return nil, err
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return legacy.tags(ctx) })
	both.Go(func() error { return bundles.referrers(ctx) })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	if found := append(legacy.valid, bundles.valid...); len(found) > 0 {
		return found, nil
	}
	return nil, v.report(ref, w, nil, legacy, bundles)
}

// searches are one for each format.
func (v *Verifier) searches(c Source, ref name.Digest, w want) (legacy, bundles *search, err error) {
	core, err := v.core()
	if err != nil {
		return nil, nil, err
	}
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil || digest.Algorithm != "sha256" {
		return nil, nil, pipeline.Terminalf(pipeline.ReasonSignatureInvalid, "verifying %s: only digests of SHA-256 can be verified", registry.Name(ref))
	}
	legacy = &search{format: v1alpha1.FormatLegacy, core: core, client: c, ref: ref, digest: digest, want: w, limits: v.limits, now: v.now}
	bundles = new(*legacy)
	bundles.format = v1alpha1.FormatBundle
	return legacy, bundles, nil
}
