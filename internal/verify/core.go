package verify

import (
	"encoding/hex"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/proto"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// overheadBytes is what a signature may have beside what it signs: certificate, log entries, timestamps. A few KiB are
// usual. Log entries are parsed into trees, which take many times as much memory.
const overheadBytes = 256 << 10

// core verifies one signature against one snapshot of the trust root.
type core struct {
	verifier *sigstore.Verifier
	material root.TrustedMaterial
	policy   []sigstore.PolicyOption
	logs     map[string]*root.TransparencyLog
	// key is whose signatures are good; nil: those of identities.
	key *trustedKey
	// with is another core for the same, with another trust root.
	with func(root.TrustedMaterial) (*core, error)
}

// newCore decides from what the trust root has what a signature must have. Nothing in a signature changes that.
func newCore(material root.TrustedMaterial, identities []sigstore.PolicyOption) (*core, error) {
	if material == nil {
		return nil, pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "there is no trust root")
	}
	logs := material.RekorLogs()
	options := []sigstore.VerifierOption{sigstore.WithSignedCertificateTimestamps(1), sigstore.WithoutStatementPredicate()}
	switch {
	case len(material.FulcioCertificateAuthorities()) == 0:
		return nil, lacks("a certificate authority")
	case len(material.CTLogs()) == 0:
		return nil, lacks("a certificate transparency log")
	case len(logs) > 0:
		// A timestamp may say when, but never stands in for the log.
		options = append(options, sigstore.WithTransparencyLog(1), sigstore.WithObserverTimestamps(1))
	case len(material.TimestampingAuthorities()) > 0:
		options = append(options, sigstore.WithSignedTimestamps(1))
	default:
		return nil, lacks("a transparency log or a timestamp authority")
	}
	verifier, err := sigstore.NewVerifier(material, options...)
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "using the trust root: %w", err)
	}
	return &core{verifier: verifier, material: material, policy: identities, logs: logs, with: func(m root.TrustedMaterial) (*core, error) { return newCore(m, identities) }}, nil
}

// newKeyCore is newCore for a key, which needs a trust root only for its log.
func newKeyCore(material root.TrustedMaterial, key *trustedKey) (*core, error) {
	options := []sigstore.VerifierOption{sigstore.WithoutStatementPredicate()}
	switch {
	case !key.log:
		material = &root.BaseTrustedMaterial{}
		options = append(options, sigstore.WithNoObserverTimestamps())
	case material == nil:
		return nil, pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "there is no trust root")
	case len(material.RekorLogs()) == 0:
		return nil, lacks("a transparency log")
	default:
		options = append(options, sigstore.WithTransparencyLog(1), sigstore.WithObserverTimestamps(1))
	}
	verifier, err := sigstore.NewVerifier(newKeyed(material, key), options...)
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "using the trust root: %w", err)
	}
	return &core{
		verifier: verifier, material: material, policy: []sigstore.PolicyOption{sigstore.WithKey()}, logs: material.RekorLogs(), key: key,
		with: func(m root.TrustedMaterial) (*core, error) { return newKeyCore(m, key) },
	}, nil
}

func lacks(what string) error {
	return pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "the trust root lacks %s: without it no such signature can be verified", what)
}

// invalidError is what is wrong with one signature. Others may still be good.
type invalidError struct{ err error }

func (e *invalidError) Error() string { return e.err.Error() }
func (e *invalidError) Unwrap() error { return e.err }

func invalid(format string, args ...any) error { return &invalidError{fmt.Errorf(format, args...)} }

// strangerError is a good signature of somebody else.
type strangerError struct{ subject, issuer string }

func (e *strangerError) Error() string {
	return fmt.Sprintf("it is by %q of issuer %q", e.subject, e.issuer)
}

// check verifies everything: the log entry or timestamp, the certificate at that time, its own entry in a log, the
// signature, that it is for artifact, and who made it. payload is how many bytes of b are what is signed.
func (c *core) check(b *protobundle.Bundle, payload int, artifact sigstore.ArtifactPolicyOption) (Evidence, error) {
	if size := proto.Size(b) - payload; size > overheadBytes {
		return Evidence{}, invalid("it has %d bytes beside what it signs, at most %d are read", size, overheadBytes)
	}
	if c.key != nil && !c.key.log && b.GetVerificationMaterial() != nil {
		// Nobody asks for them, so nothing of them counts.
		b.VerificationMaterial.TlogEntries, b.VerificationMaterial.TimestampVerificationData = nil, nil
	}
	entity, err := bundle.NewBundle(b)
	if err != nil {
		return Evidence{}, &invalidError{err}
	}
	result, err := c.verifier.Verify(entity, sigstore.NewPolicy(artifact, c.policy...))
	if _, ok := errors.AsType[*sigstore.ErrNoMatchingCertificateIdentity](err); ok {
		return Evidence{}, stranger(entity)
	}
	if err != nil {
		return Evidence{}, &invalidError{err}
	}
	if c.key != nil {
		return c.keyEvidence(entity, result)
	}
	if result.VerifiedIdentity == nil || result.Signature == nil || result.Signature.Certificate == nil {
		return Evidence{}, invalid("it was not made with a certificate")
	}
	return c.evidence(entity, result)
}

func (c *core) keyEvidence(b *bundle.Bundle, result *sigstore.VerificationResult) (Evidence, error) {
	switch {
	case result.Signature == nil, result.Signature.Certificate != nil, result.Signature.PublicKeyID == nil, result.VerifiedIdentity != nil:
		return Evidence{}, invalid("it was not made with a key")
	case !c.key.log:
		return Evidence{Key: c.key.name}, nil
	case len(result.VerifiedTimestamps) == 0:
		return Evidence{}, invalid("nobody says when it was made")
	}
	return c.dated(Evidence{Key: c.key.name}, b, result), nil
}

// stranger tells who has made a signature that is good but for that.
func stranger(b *bundle.Bundle) error {
	content, err := b.VerificationContent()
	if err != nil {
		return &invalidError{err}
	}
	who, err := certificate.SummarizeCertificate(content.Certificate())
	if err != nil {
		return &invalidError{err}
	}
	return &strangerError{subject: who.SubjectAlternativeName, issuer: who.Issuer}
}

func (c *core) evidence(b *bundle.Bundle, result *sigstore.VerificationResult) (Evidence, error) {
	who := result.Signature.Certificate
	if who.Issuer == "" || len(result.VerifiedTimestamps) == 0 {
		return Evidence{}, invalid("its certificate names no issuer, or nobody says when it was made")
	}
	return c.dated(Evidence{Identity: who.SubjectAlternativeName, Issuer: who.Issuer}, b, result), nil
}

// dated adds when it was signed, and where the log has it.
func (c *core) dated(e Evidence, b *bundle.Bundle, result *sigstore.VerificationResult) Evidence {
	e.SignedAt = result.VerifiedTimestamps[0].Timestamp
	for _, t := range result.VerifiedTimestamps {
		if t.Timestamp.Before(e.SignedAt) {
			e.SignedAt = t.Timestamp
		}
	}
	e.LogID, e.LogIndex = c.logged(b)
	return e
}

// logged is where the log has b. Of several entries one alone must be good, and which one is not told. An index that only
// stands beside a proof of inclusion is nobody's word in the first version of the log.
func (c *core) logged(b *bundle.Bundle) (id string, index *int64) {
	entries := b.GetVerificationMaterial().GetTlogEntries()
	if len(entries) != 1 {
		return "", nil
	}
	id = hex.EncodeToString(entries[0].GetLogId().GetKeyId())
	if _, trusted := c.logs[id]; !trusted {
		return "", nil
	}
	if len(entries[0].GetInclusionPromise().GetSignedEntryTimestamp()) > 0 || isSecond(b) {
		index = new(entries[0].GetLogIndex())
	}
	return id, index
}

// isSecond reports whether the entry of b is of the second version of the log, where the proof is for the index.
func isSecond(b *bundle.Bundle) bool {
	entries, err := b.TlogEntries()
	return err == nil && len(entries) == 1 && entries[0].IsRekorV2()
}
