package verify

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

func TestEnvelopesThatAreBad(t *testing.T) {
	w := newWorld()
	s := newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = provenance }).attest()
	key := func(b *protobundle.Bundle) {
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "x"}}
	}
	tests := map[string]struct {
		change func(*protobundle.Bundle)
		raw    func([]byte) []byte
	}{
		"of another type of payload": {change: func(b *protobundle.Bundle) { b.GetDsseEnvelope().PayloadType = "text/plain" }},
		"with two signatures": {change: func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Signatures = append(e.Signatures, &protodsse.Signature{Sig: []byte("x")})
		}},
		"with no signature":                {change: func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures = nil }},
		"with a key and no certificate":    {change: key},
		"with nothing to verify it with":   {change: func(b *protobundle.Bundle) { b.VerificationMaterial = nil }},
		"in a bundle of a version to come": {change: func(b *protobundle.Bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle.v0.4+json" }},
		"in a bundle of no version":        {change: func(b *protobundle.Bundle) { b.MediaType = "" }},
		"with the same entry twice": {change: func(b *protobundle.Bundle) {
			m := b.VerificationMaterial
			m.TlogEntries = append(m.TlogEntries, m.TlogEntries[0])
		}},
		"with an entry that is empty": {change: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].Reset() }},
		"with an entry of something":  {change: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].CanonicalizedBody = []byte("{}") }},
		"with an entry without a signature": {change: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].CanonicalizedBody = []byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[]}}`)
		}},
		"that is a message": {change: func(b *protobundle.Bundle) {
			b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{Signature: []byte("x")}}
		}},
		"that is nothing":                {change: func(b *protobundle.Bundle) { b.Content = nil }},
		"with too many values":           {raw: func(b []byte) []byte { return append(b[:len(b)-1], `,"x":[`+strings.Repeat(`0,`, maxValues)+`0]}`...) }},
		"with a field that nobody knows": {raw: func(b []byte) []byte { return append(b[:len(b)-1], `,"x":0}`...) }},
		"that is no JSON":                {raw: func(b []byte) []byte { return b[1:] }},
		"that is empty":                  {raw: func([]byte) []byte { return nil }},
		"that is too long":               {raw: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), overheadBytes+1000)...) }},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			b := new(protobundle.Bundle)
			if err := protojson.Unmarshal(good.bundle(), b); err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(b)
			}
			raw := must(protojson.Marshal(b))
			if tt.raw != nil {
				raw = tt.raw(raw)
			}
			s.push(t, raw, provenance)
			_, err := newVerifier(t, w, limits.Signatures{StatementBytes: 1000}).Attestations(t.Context(), s.client, s.ref, provenance)
			if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLegacyEnvelopesThatAreBad(t *testing.T) {
	w := newWorld()
	for desc, change := range map[string]func(map[string]any){
		"with two signatures": func(e map[string]any) {
			e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)[0])
		},
		"with no signature":             func(e map[string]any) { delete(e, "signatures") },
		"with a signature of no base64": func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": "?"}} },
		"with a payload of no base64":   func(e map[string]any) { e["payload"] = "?" },
		"of another type of payload":    func(e map[string]any) { e["payloadType"] = "text/plain" },
		"with too many values":          func(e map[string]any) { e["x"] = make([]int, maxValues+1) },
		"that is too long":              func(e map[string]any) { e["x"] = strings.Repeat(" ", overheadBytes+1000) },
		"that is malformed":             func(e map[string]any) { e["payloadType"] = 7 },
	} {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			layer := newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = provenance }).attest().attestationLayer("")
			var envelope map[string]any
			if err := json.NewDecoder(must(layer.Layer.Compressed())).Decode(&envelope); err != nil {
				t.Fatal(err)
			}
			change(envelope)
			layer.Layer = static.NewLayer(must(json.Marshal(envelope)), "application/vnd.dsse.envelope.v1+json")
			putLayers(s.repo, s.tag(".att"), layer)
			_, err := newVerifier(t, w, limits.Signatures{StatementBytes: 1000}).Attestations(t.Context(), s.client, s.ref, provenance)
			if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAManifestWithAnotherNumberOfLayers(t *testing.T) {
	w := newWorld()
	for _, layers := range []int{0, 2} {
		s := newStore(t, true)
		ref := s.push(t, newForge(w, s.ref.DigestStr()).attest().bundle(), pipeline.PredicateSignature)
		m := must(v1.ParseManifest(bytes.NewReader(must(s.client.Manifest(t.Context(), ref)).Raw)))
		m.Layers = slices.Repeat(m.Layers, layers)
		raw := must(json.Marshal(m))
		digest, size, _ := v1.SHA256(bytes.NewReader(raw))
		other := registry.Manifest{Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, Raw: raw}
		if err := s.client.PutManifest(t.Context(), s.repo.Digest(digest.String()), other); err != nil {
			t.Fatal(err)
		}
		found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
		if err != nil || len(found) != 1 || found[0].Manifest != ref.DigestStr() {
			t.Errorf("%d layers: got %+v: %v", layers, found, err)
		}
	}
}

// Older bundles have a chain, of which the certificate alone counts.
func TestBundlesOfEarlierVersions(t *testing.T) {
	w := newWorld()
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		s := newStore(t, true)
		f := newForge(w, s.ref.DigestStr()).attest()
		b := new(protobundle.Bundle)
		if err := protojson.Unmarshal(f.bundle(), b); err != nil {
			t.Fatal(err)
		}
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=" + version
		if version != "0.3" {
			b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: f.cert.Raw}, {RawBytes: []byte("nonsense")}},
			}}
		}
		a := artifact(s.subject, must(protojson.Marshal(b)), pipeline.PredicateSignature)
		a.Type = b.MediaType
		must(s.client.PushArtifact(t.Context(), s.repo, a))
		if found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 1 {
			t.Errorf("%s: got %d: %v", version, len(found), err)
		}
	}
}

// These are good but for their size.
func TestWhatIsTooMuchIsNotVerified(t *testing.T) {
	w := newWorld()
	signed := func(statement int) *protobundle.Bundle {
		f := newForge(w, otherDigest)
		f.statement = statementOf(f.predicate, f.digest)
		f.statement += strings.Repeat(" ", statement-len(f.statement))
		b := new(protobundle.Bundle)
		if err := protojson.Unmarshal(f.attest().bundle(), b); err != nil {
			t.Fatal(err)
		}
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.2"
		return b
	}
	chained := func(certificates int) *protobundle.Bundle {
		b := signed(1000)
		chain := []*protocommon.X509Certificate{b.VerificationMaterial.GetCertificate()}
		for range certificates {
			chain = append(chain, &protocommon.X509Certificate{})
		}
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: chain}}
		return b
	}
	stamped := func(bytes int) *protobundle.Bundle {
		b := signed(1000)
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: make([]byte, bytes)}},
		}
		return b
	}
	for desc, tt := range map[string]struct {
		bundle *protobundle.Bundle
		good   bool
	}{
		"a statement that just fits":       {signed(1000), true},
		"a statement with a byte too much": {signed(1001), false},
		"a chain that is not looked at":    {chained(10), true},
		"a chain of very many":             {chained(maxValues), false},
		"a timestamp that is nonsense":     {stamped(10), true},
		"a timestamp that is very long":    {stamped(overheadBytes), false},
	} {
		t.Run(desc, func(t *testing.T) {
			s := offline(t, w, pipeline.PredicateSignature)
			s.limits.StatementBytes = 1000
			_, err := s.bundle(must(protojson.Marshal(tt.bundle)))
			if (err == nil) != tt.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestReferrersAreOrderedByWhatTheySay(t *testing.T) {
	s := offline(t, newWorld(), provenance)
	of := func(digit, kind string, annotations ...string) v1.Descriptor {
		d := v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: digit}, ArtifactType: kind, Annotations: map[string]string{}}
		for i := 0; i < len(annotations); i += 2 {
			d.Annotations[annotations[i]] = annotations[i+1]
		}
		return d
	}
	got := ""
	for _, d := range s.order([]v1.Descriptor{
		of("9", "", createdAnnotation, "2999-01-01T00:00:00Z"),
		{Digest: v1.Hash{Hex: "8"}},
		of("7", "application/vnd.oci.empty.v1+json", createdAnnotation, "2026-01-01T00:00:00Z"),
		of("x", "application/vnd.example.report+json", bundlePredicateAnnotation, provenance),
		of("x", "application/vnd.dev.sigstore.bundles", bundlePredicateAnnotation, provenance),
		of("x", bundleV03, bundlePredicateAnnotation, provenance+".1"),
		of("x", bundleV03, contentAnnotation, "message-signature"),
		of("6", bundleV03, contentAnnotation, statementContent),
		of("5", bundleV03, createdAnnotation, "2026-01-01T00:00:00Z"),
		of("4", "application/vnd.dev.sigstore.bundle+json;version=0.1", createdAnnotation, "2026-01-02T00:00:00Z"),
		of("3", bundleV03, bundlePredicateAnnotation, provenance, createdAnnotation, "soon"),
		of("2", bundleV03, bundlePredicateAnnotation, provenance, createdAnnotation, "2026-01-01T00:00:00Z"),
		of("1", "", bundlePredicateAnnotation, provenance, createdAnnotation, "2026-01-01T01:00:01+01:00"),
	}) {
		got += d.Digest.Hex
	}
	if got != "123456789" {
		t.Errorf("the order is %s", got)
	}
}
