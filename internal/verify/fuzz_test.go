package verify

import (
	"bytes"
	"encoding/base64"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// offline is a search that has no registry.
func offline(t testing.TB, w *world, predicateType string) *search {
	t.Helper()
	v := newVerifier(t, w, limits.Signatures{})
	return &search{core: must(newCore(w, v.identities)), digest: must(v1.NewHash(otherDigest)), want: want{predicateType: predicateType}, limits: v.limits, now: v.now}
}

// simpleOf verifies a signature in a tag from its parts.
func (s *search) simpleOf(payload []byte, annotations map[string]string) error {
	material, err := legacyMaterial(annotations)
	if err != nil {
		return err
	}
	_, err = s.simple(&protobundle.Bundle{MediaType: legacyBundle, VerificationMaterial: material}, payload, annotations[signatureAnnotation])
	return err
}

// Whatever is read, there is no panic, and what was not signed is not verified.
func FuzzLegacySignature(f *testing.F) {
	w := newWorld()
	s := offline(f, w, pipeline.PredicateSignature)
	good := newForge(w, otherDigest).with(func(f *forge) { f.timestamp = true }).simple()
	a := good.signatureLayer().Annotations
	if err := s.simpleOf(good.payload, a); err != nil {
		f.Fatal(err)
	}
	f.Add(good.payload, a[signatureAnnotation], a[certificateAnnotation], a[logAnnotation], a[timestampAnnotation])
	f.Add([]byte("{}"), "", a[certificateAnnotation], "null", "{}")
	f.Add(good.payload, a[signatureAnnotation], a[certificateAnnotation], `{"SignedEntryTimestamp":"AAAA","Payload":{"body":"eyJraW5kIjoiaW50b3RvIiwiYXBpVmVyc2lvbiI6IjAuMC4yIiwic3BlYyI6e319","logID":"00"}}`, "")
	f.Fuzz(func(t *testing.T, payload []byte, signature, certificate, entry, timestamp string) {
		err := s.simpleOf(payload, map[string]string{
			signatureAnnotation: signature, certificateAnnotation: certificate, logAnnotation: entry, timestampAnnotation: timestamp,
		})
		// What is around the signature can be written in several ways.
		signed, _ := base64.StdEncoding.DecodeString(signature)
		if err == nil && (!bytes.Equal(payload, good.payload) || !bytes.Equal(signed, good.signature)) {
			t.Errorf("verified %q with %q", payload, signature)
		}
	})
}

func FuzzLegacyEnvelope(f *testing.F) {
	w := newWorld()
	s := offline(f, w, provenance)
	good := newForge(w, otherDigest).with(func(f *forge) { f.predicate = provenance }).attest()
	layer := good.attestationLayer("")
	material := must(legacyMaterial(layer.Annotations))
	verify := func(raw []byte) (Attestation, error) {
		envelope, err := legacyEnvelope(raw)
		if err != nil {
			return Attestation{}, err
		}
		b := &protobundle.Bundle{MediaType: legacyBundle, VerificationMaterial: material, Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: envelope}}
		return s.statement(b)
	}
	raw := must(io.ReadAll(must(layer.Layer.Compressed())))
	if _, err := verify(raw); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := verify(raw); err == nil && !bytes.Equal(got.Payload, good.payload) {
			t.Errorf("verified %q", got.Payload)
		}
	})
}

func FuzzBundle(f *testing.F) {
	w := newWorld()
	s := offline(f, w, provenance)
	good := newForge(w, otherDigest).with(func(f *forge) { f.predicate, f.timestamp = provenance, true }).attest()
	raw := good.bundle()
	if _, err := s.bundle(raw); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"mediaType":"` + bundleV03 + `","verificationMaterial":{},"dsseEnvelope":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, err := s.bundle(raw); err == nil && !bytes.Equal(got.Payload, good.payload) {
			t.Errorf("verified %q", got.Payload)
		}
	})
}

// FuzzEntry changes what was logged, which is parsed before anything is verified.
func FuzzEntry(f *testing.F) {
	w := newWorld()
	s := offline(f, w, provenance)
	good := newForge(w, otherDigest).with(func(f *forge) { f.predicate = provenance }).attest()
	f.Add(good.entry.CanonicalizedBody)
	for _, seed := range []string{
		`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"00"}},"signature":{"content":"AA==","publicKey":{"content":"AA=="}}}}`,
		`{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"AA=="},"signature":{"content":"AA==","verifier":{"publicKey":{"rawBytes":"AA=="},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}}`,
		`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payloadType":"x","signatures":[{"publicKey":"AA==","sig":"AA=="}]},"hash":{"algorithm":"sha256","value":"00"},"payloadHash":{"algorithm":"sha256","value":"00"}}}}`,
		`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"{}","verifiers":["AA=="]}}}`,
		`{"apiVersion":"0.0.1","kind":"rekord","spec":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		changed := good
		changed.entry = proto.CloneOf(good.entry)
		changed.entry.CanonicalizedBody = body
		if _, err := s.bundle(changed.bundle()); err == nil && !bytes.Equal(body, good.entry.CanonicalizedBody) {
			t.Errorf("verified with %q", body)
		}
	})
}
