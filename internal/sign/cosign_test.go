package sign

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

// checks are how cosign verifies for the identity account, without asking anybody but the registry.
func (b *bench) checks(account string, bundles bool) *cosign.CheckOpts {
	material, _ := b.options.Material()
	co := &cosign.CheckOpts{
		TrustedMaterial: material, Offline: true, NewBundleFormat: bundles,
		IgnoreTlog: b.options.RekorURL == "", UseSignedTimestamps: b.options.TimestampURL != "",
		Identities:    []cosign.Identity{{Issuer: issuer, Subject: sigstoretest.Identity(namespace, account)}},
		ClaimVerifier: cosign.IntotoSubjectClaimVerifier,
	}
	return co
}

// Cosign's own library takes what is written here, and not for somebody else.
func TestCosignVerifies(t *testing.T) {
	tests := map[string]func(testing.TB, *bench){
		"with a log":                func(testing.TB, *bench) {},
		"with a log and timestamps": func(_ testing.TB, b *bench) { b.options.TimestampURL = b.sigstore.Timestamp.URL },
		"with timestamps only":      func(t testing.TB, b *bench) { b.withoutLog(t) },
	}
	for desc, change := range tests {
		for registry, api := range apis {
			t.Run(desc+" "+registry, func(t *testing.T) {
				b := newBench(t, api)
				change(t, b)
				s := b.session(t)
				if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
					t.Fatal(err)
				}
				if err := s.Attest(t.Context(), b.client, b.ref, []pipeline.Statement{statement(b.ref, someType, "1"), statement(b.ref, someType, "2")}, nil); err != nil {
					t.Fatal(err)
				}
				b.cosign(t, account, 1, 2, 3)
				b.cosign(t, "somebody-else", 0, 0, 0)
				b.ref = b.push(t)
				b.cosign(t, account, 0, 0, 0)
			})
		}
	}
}

// cosign counts what verifies: signatures and attestations in tags, and bundles, of which one is the signature.
func (b *bench) cosign(t *testing.T, account string, signatures, attestations, bundles int) {
	t.Helper()
	ref, err := name.ParseReference(b.ref.String(), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	simple := b.checks(account, false)
	simple.ClaimVerifier = cosign.SimpleClaimVerifier
	for desc, tt := range map[string]struct {
		verify func() ([]oci.Signature, bool, error)
		want   int
	}{
		"signatures": {func() ([]oci.Signature, bool, error) { return cosign.VerifyImageSignatures(t.Context(), ref, simple) }, signatures},
		"attestations": {func() ([]oci.Signature, bool, error) {
			return cosign.VerifyImageAttestations(t.Context(), ref, b.checks(account, false))
		}, attestations},
		"bundles": {func() ([]oci.Signature, bool, error) {
			return cosign.VerifyImageAttestations(t.Context(), ref, b.checks(account, true))
		}, bundles},
	} {
		found, _, err := tt.verify()
		if len(found) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%s of %s: got %d, %v; want %d", desc, account, len(found), err, tt.want)
		}
	}
}
