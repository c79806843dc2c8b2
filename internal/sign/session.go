package sign

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/verify"
)

// bundleType is the media type of bundles, and of the artifacts that hold one
// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md).
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// statementType is of the payload of envelopes.
const statementType = "application/vnd.in-toto+json"

// Session signs for one build. Its key is in memory only, and gone with it. It is safe for concurrent use.
type Session struct {
	signer   *Signer
	verifier *verify.Verifier

	mu      sync.Mutex
	current *credential
}

// credential is the key and the certificate of the session, got when they are first needed, and anew when the certificate
// is about to expire.
func (s *Session) credential(ctx context.Context) (*credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.leaf.NotAfter.Sub(s.signer.now()) >= renewBefore {
		return s.current, nil
	}
	made, err := s.signer.certify(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.verifier.CheckCertificate(made.leaf); err != nil {
		return nil, s.signer.fulcio.invalid("the certificate is for somebody else: %w: compare the issuer and the ServiceAccount of the signer with the identity that is expected", err)
	}
	s.current = made
	return made, nil
}

// signed is a signature with all that proves it, verified.
type signed struct {
	credential *credential
	// bundle has it all.
	bundle *protobundle.Bundle
	// content is what was signed, or the envelope around it, as it is a layer of a tag.
	content []byte
	// signature of content, empty if it is in content.
	signature []byte
	// stamp of content as cosign expects it in annotations, see stampLayer.
	stamp []byte
}

// statement signs an in-toto statement about ref.
func (s *Session) statement(ctx context.Context, ref name.Digest, st pipeline.Statement, legacy bool) (*signed, error) {
	c, err := s.credential(ctx)
	if err != nil {
		return nil, err
	}
	signature, err := c.sign(dsse.PAE(statementType, st.Payload))
	if err != nil {
		return nil, err
	}
	envelope, err := json.Marshal(dsse.Envelope{
		PayloadType: statementType,
		Payload:     base64.StdEncoding.EncodeToString(st.Payload),
		Signatures:  []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(signature)}},
	})
	if err != nil {
		return nil, err
	}
	out := &signed{credential: c, content: envelope}
	if out.bundle, err = s.prove(ctx, c, signature, envelopeRecord(envelope, c.certificate)); err != nil {
		return nil, err
	}
	out.bundle.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: st.Payload, PayloadType: statementType, Signatures: []*protodsse.Signature{{Sig: signature}},
	}}
	if err := s.check(s.verifier.FreshStatement(out.bundle, ref, st.PredicateType)); err != nil {
		return nil, err
	}
	if legacy && s.signer.timestamp != nil {
		// In a tag the timestamp of an attestation is that of its whole envelope, not of the signature.
		out.stamp, err = s.signer.stamp(ctx, envelope)
	}
	return out, err
}

// message signs a payload that is not a statement.
func (s *Session) message(ctx context.Context, payload []byte) (*signed, error) {
	c, err := s.credential(ctx)
	if err != nil {
		return nil, err
	}
	out := &signed{credential: c, content: payload}
	if out.signature, err = c.sign(payload); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	if out.bundle, err = s.prove(ctx, c, out.signature, hashedRecord(sum[:], out.signature, c.certificate)); err != nil {
		return nil, err
	}
	out.bundle.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
		Signature:     out.signature,
	}}
	for _, t := range out.bundle.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps() {
		out.stamp = t.GetSignedTimestamp()
	}
	return out, s.check(s.verifier.FreshMessage(out.bundle, payload))
}

// prove gets what proves a signature: a log entry, a timestamp, or both.
func (s *Session) prove(ctx context.Context, c *credential, signature []byte, proposed proposedEntry) (*protobundle.Bundle, error) {
	material := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: c.leaf.Raw}},
	}
	if s.signer.rekor != nil {
		entry, err := s.signer.log(ctx, proposed)
		if err != nil {
			return nil, err
		}
		material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if s.signer.timestamp != nil {
		stamp, err := s.signer.stamp(ctx, signature)
		if err != nil {
			return nil, err
		}
		material.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
		}
	}
	return &protobundle.Bundle{MediaType: bundleType, VerificationMaterial: material}, nil
}

// check makes of a signature that does not verify a fault of the service that is to blame: certificate and timestamp were
// verified before.
func (s *Session) check(err error) error {
	_, transient := errors.AsType[*pipeline.Transient](err)
	terminal, isTerminal := errors.AsType[*pipeline.Terminal](err)
	switch {
	case err == nil, transient, isTerminal && terminal.Reason == pipeline.ReasonTrustRootInvalid:
		return err
	case s.signer.rekor != nil:
		return s.signer.rekor.invalid("with it the signature does not verify: %w", err)
	}
	return s.signer.fulcio.invalid("with it the signature does not verify: %w", err)
}
