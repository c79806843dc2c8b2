package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Annotations of the layers of a tag that ends in .sig or .att. That for the chain is not read: it can only say what the
// trust root has, or what is not to be trusted.
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
	predicateAnnotation   = "predicateType"
)

// legacyBundle is the version of bundles in which a log's promise is enough and needs no proof.
const legacyBundle = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// tags looks into the tag that stands for the signatures, or attestations, of the digest. Newer ones are behind older ones.
func (s *search) tags(ctx context.Context) error {
	suffix := ".att"
	if s.want.simple {
		suffix = ".sig"
	}
	tag := s.ref.Context().Tag(s.digest.Algorithm + "-" + s.digest.Hex + suffix)
	found, err := s.client.Manifest(ctx, tag)
	if hasReason(err, pipeline.ReasonImageNotFound) {
		return nil
	}
	if err != nil {
		return s.fail(tag.TagStr(), err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Raw))
	if err != nil {
		return s.fail(tag.TagStr(), invalid("its manifest is malformed: %w", err))
	}
	return s.each(ctx, s.layers(m), func(ctx context.Context, layer v1.Descriptor) (Attestation, error) {
		a, err := s.layer(ctx, layer)
		a.Manifest, a.Layer = found.Digest.String(), layer.Digest.String()
		return a, err
	})
}

func (s *search) layers(m *v1.Manifest) []v1.Descriptor {
	layers := slices.DeleteFunc(m.Layers, func(l v1.Descriptor) bool {
		return !s.want.simple && cmp.Or(l.Annotations[predicateAnnotation], s.want.predicateType) != s.want.predicateType
	})
	slices.Reverse(layers)
	return slices.DeleteFunc(layers, s.again)
}

func (s *search) layer(ctx context.Context, layer v1.Descriptor) (Attestation, error) {
	material, err := s.material(layer.Annotations)
	if err != nil {
		return Attestation{}, err
	}
	content, err := s.content(ctx, layer)
	if err != nil {
		return Attestation{}, err
	}
	b := &protobundle.Bundle{MediaType: legacyBundle, VerificationMaterial: material}
	if s.want.simple {
		return s.simple(b, content, layer.Annotations[signatureAnnotation])
	}
	envelope, err := legacyEnvelope(content)
	if err != nil {
		return Attestation{}, err
	}
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope}
	return s.stamped(content).statement(b)
}

func (s *search) content(ctx context.Context, layer v1.Descriptor) ([]byte, error) {
	if known, ok := s.guessed(layer); ok {
		return known, nil
	}
	limit := s.envelopeBytes()
	if s.want.simple {
		limit = payloadBytes
	}
	return s.client.Blob(ctx, s.ref.Context(), layer, limit)
}

// simple verifies a signature of the payload that names the digest.
func (s *search) simple(b *protobundle.Bundle, payload []byte, signature string) (Attestation, error) {
	if err := checkSimple(payload, s.digest.String()); err != nil {
		return Attestation{}, err
	}
	signed, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return Attestation{}, invalid("its annotation %s is not base64", signatureAnnotation)
	}
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: digestOf(payload, b.GetVerificationMaterial().GetTlogEntries()), Signature: signed,
	}}
	evidence, err := s.core.check(b, 0, sigstore.WithArtifact(bytes.NewReader(payload)))
	return Attestation{Evidence: evidence}, err
}

func legacyEnvelope(raw []byte) (*protodsse.Envelope, error) {
	if crowded(raw) {
		return nil, invalid("its envelope has too many fields")
	}
	var e dsse.Envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, invalid("its envelope is malformed: %w", err)
	}
	if len(e.Signatures) != 1 {
		return nil, invalid("its envelope has %d signatures instead of one", len(e.Signatures))
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, invalid("the payload of its envelope is not base64")
	}
	signed, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		return nil, invalid("the signature of its envelope is not base64")
	}
	return &protodsse.Envelope{Payload: payload, PayloadType: e.PayloadType, Signatures: []*protodsse.Signature{{Sig: signed}}}, nil
}

// material is what annotations say of a signature, as a bundle has it. What is not there is missed when it is verified.
func (s *search) material(annotations map[string]string) (*protobundle.VerificationMaterial, error) {
	if s.core.key == nil {
		return legacyMaterial(annotations)
	}
	if annotations[certificateAnnotation] != "" {
		return nil, invalid("it has a certificate in its annotation %s: it is keyless, and not by %s", certificateAnnotation, s.core.key.name)
	}
	out := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}}}
	if !s.core.key.log {
		return out, nil
	}
	return out, legacyTimes(out, annotations)
}

func legacyMaterial(annotations map[string]string) (*protobundle.VerificationMaterial, error) {
	block, _ := pem.Decode([]byte(annotations[certificateAnnotation]))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, invalid("it has no certificate in its annotation %s: it is not keyless", certificateAnnotation)
	}
	out := &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: block.Bytes}}}
	return out, legacyTimes(out, annotations)
}

// legacyTimes adds the entry of the log, and the timestamp.
func legacyTimes(out *protobundle.VerificationMaterial, annotations map[string]string) error {
	if raw := annotations[logAnnotation]; raw != "" {
		entry, err := legacyEntry(raw)
		if err != nil {
			return invalid("its annotation %s is malformed: %w", logAnnotation, err)
		}
		out.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if raw := annotations[timestampAnnotation]; raw != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(raw), &stamp); err != nil {
			return invalid("its annotation %s is malformed: %w", timestampAnnotation, err)
		}
		out.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	return nil
}

// legacyEntry is an entry of the log with the log's promise to include it. Its kind stands in what was logged alone.
func legacyEntry(raw string) (*protorekor.TransparencyLogEntry, error) {
	var says struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte
			IntegratedTime int64
			LogIndex       int64
			LogID          string
		}
	}
	if err := json.Unmarshal([]byte(raw), &says); err != nil {
		return nil, err
	}
	var kind struct{ Kind, APIVersion string }
	id, err := hex.DecodeString(says.Payload.LogID)
	if err := errors.Join(err, json.Unmarshal(says.Payload.Body, &kind)); err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          says.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		IntegratedTime:    says.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: says.SignedEntryTimestamp},
		CanonicalizedBody: says.Payload.Body,
	}, nil
}
