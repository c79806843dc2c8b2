package verify

import (
	"bytes"
	"crypto/x509"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// CheckStatement says whether payload is an in-toto statement of this type about ref, before somebody signs it: one that
// is not would never be found again.
func CheckStatement(payload []byte, predicateType string, ref name.Digest) error {
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		return err
	}
	return checkStatement(payload, predicateType, digest.Hex)
}

// CheckCertificate says whether a certificate is for an identity that may sign, before somebody signs with it. It does not
// say who has given it.
func (v *Verifier) CheckCertificate(leaf *x509.Certificate) error {
	who, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return err
	}
	for _, i := range v.named {
		identity, err := i.compile()
		if err != nil {
			return err
		}
		if identity.Verify(who) == nil {
			return nil
		}
	}
	return &strangerError{subject: who.SubjectAlternativeName, issuer: who.Issuer}
}

// FreshStatement verifies what was just signed and is in no registry yet, as Attestations does: a statement of this
// predicate type about ref.
func (v *Verifier) FreshStatement(b *protobundle.Bundle, ref name.Digest, predicateType string) error {
	core, err := v.core()
	if err != nil {
		return err
	}
	digest, err := v1.NewHash(ref.DigestStr())
	if err != nil {
		return err
	}
	s := search{core: core, digest: digest, want: want{predicateType: predicateType}, limits: v.limits}
	_, err = s.statement(b)
	return err
}

// FreshMessage verifies a signature of message that was just made and is in no registry yet.
func (v *Verifier) FreshMessage(b *protobundle.Bundle, message []byte) error {
	core, err := v.core()
	if err != nil {
		return err
	}
	_, err = core.check(b, 0, sigstore.WithArtifact(bytes.NewReader(message)))
	return err
}

// core is for the trust root as it is now.
func (v *Verifier) core() (*core, error) {
	if v.key != nil && !v.key.log {
		return newKeyCore(nil, v.key)
	}
	material, err := v.material()
	switch {
	case err != nil:
		return nil, err
	case v.key != nil:
		return newKeyCore(material, v.key)
	}
	return newCore(material, v.identities)
}
