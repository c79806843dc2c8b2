package verify

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	bundleV03   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	inTotoType  = "application/vnd.in-toto+json"
	logIndex    = 1234
	provenance  = pipeline.PredicateProvenance
	otherDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// forge makes a signature as cosign does, but for what a test changes.
type forge struct {
	w *world
	// ca issues the certificate, log the entry.
	ca, log         *world
	subject, issuer string
	digest          string
	predicate       string
	from, logged    time.Time
	sct, timestamp  bool
	// statement, if set, takes the place of what would be signed.
	statement string
	// after changes what was signed, entry what was logged of it.
	after func([]byte) []byte
	entry func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry
	// signed changes the signature before it is logged.
	signed func([]byte) []byte
}

func newForge(w *world, digest string) *forge {
	now := time.Now()
	return &forge{w: w, ca: w, log: w, subject: ourSubject, issuer: ourIssuer, digest: digest, predicate: pipeline.PredicateSignature, from: now.Add(-time.Minute), logged: now, sct: true}
}

func (f *forge) with(change func(*forge)) *forge {
	other := *f
	if change != nil {
		change(&other)
	}
	return &other
}

// forged is a signature and all that proves it.
type forged struct {
	payload   []byte // as it is stored
	signature []byte
	cert      *x509.Certificate
	entry     *protorekor.TransparencyLogEntry
	timestamp []byte
}

func (f *forge) sign(payload []byte, pae func([]byte) []byte, body func(payload, signature []byte, cert string) any) forged {
	cert, key := f.ca.leaf(f.subject, f.issuer, f.from, f.sct)
	sum := sha256.Sum256(pae(payload))
	signature := must(ecdsa.SignASN1(rand.Reader, key, sum[:]))
	out := forged{payload: payload, signature: signature, cert: cert}
	if f.signed != nil {
		out.signature = f.signed(signature)
	}
	if f.timestamp {
		out.timestamp = must(f.w.TimestampResponse(out.signature))
	}
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	out.entry = f.promise(must(json.Marshal(body(payload, out.signature, base64.StdEncoding.EncodeToString([]byte(certificate))))))
	if f.entry != nil {
		out.entry = f.entry(out.entry)
	}
	if f.after != nil {
		out.payload = f.after(bytes.Clone(payload))
	}
	return out
}

// promise is an entry with the promise of the log and a proof.
func (f *forge) promise(body []byte) *protorekor.TransparencyLogEntry {
	id := must(f.log.RekorLogID())
	set := must(f.log.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: f.logged.Unix(), LogIndex: logIndex, LogID: id,
	}))
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(body, &kind); err != nil {
		panic(err)
	}
	proof := must(f.log.GetInclusionProof(body))
	return &protorekor.TransparencyLogEntry{
		LogIndex: logIndex, LogId: &protocommon.LogId{KeyId: must(hex.DecodeString(id))},
		KindVersion: &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}, IntegratedTime: f.logged.Unix(),
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: set},
		InclusionProof: &protorekor.InclusionProof{
			LogIndex: *proof.LogIndex, TreeSize: *proof.TreeSize, RootHash: must(hex.DecodeString(*proof.RootHash)),
			Checkpoint: &protorekor.Checkpoint{Envelope: *proof.Checkpoint},
		},
		CanonicalizedBody: body,
	}
}

func hash(b []byte) map[string]string {
	return map[string]string{"algorithm": "sha256", "value": fmt.Sprintf("%x", sha256.Sum256(b))}
}

func hashedRekord(payload, signature []byte, cert string) any {
	return map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data":      map[string]any{"hash": hash(payload)},
		"signature": map[string]any{"content": signature, "publicKey": map[string]any{"content": cert}},
	}}
}

func dsseRecord(payload, signature []byte, cert string) any {
	return map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": hash([]byte("the envelope")), "payloadHash": hash(payload),
		"signatures": []any{map[string]any{"signature": signature, "verifier": cert}},
	}}
}

// simple is a signature of cosign's own payload.
func (f *forge) simple() forged {
	payload := f.simplePayload()
	if f.statement != "" {
		payload = []byte(f.statement)
	}
	return f.sign(payload, func(p []byte) []byte { return p }, hashedRekord)
}

func (f *forge) simplePayload() []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.example/x"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, f.digest)
}

// attest is a signature of a statement.
func (f *forge) attest() forged {
	statement := f.statement
	if statement == "" {
		statement = statementOf(f.predicate, f.digest)
	}
	return f.sign([]byte(statement), func(p []byte) []byte { return dsse.PAE(inTotoType, p) }, dsseRecord)
}

func statementOf(predicateType, digest string) string {
	return fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"other","digest":{"sha256":"00"}},{"name":"x","digest":{"sha256":%q}}],"predicateType":%q,"predicate":{"a":[1,2,3]}}`,
		digest[len("sha256:"):], predicateType)
}

func (f forged) annotations(signature string) map[string]string {
	out := map[string]string{
		signatureAnnotation:           signature,
		certificateAnnotation:         string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.cert.Raw})),
		"dev.sigstore.cosign/chain":   "nonsense",
		"dev.example/something-other": "x",
	}
	if f.entry != nil {
		out[logAnnotation] = string(must(json.Marshal(map[string]any{
			"SignedEntryTimestamp": f.entry.GetInclusionPromise().GetSignedEntryTimestamp(),
			"Payload": map[string]any{
				"body": f.entry.CanonicalizedBody, "integratedTime": f.entry.IntegratedTime,
				"logIndex": f.entry.LogIndex, "logID": hex.EncodeToString(f.entry.GetLogId().GetKeyId()),
			},
		})))
	}
	if f.timestamp != nil {
		out[timestampAnnotation] = string(must(json.Marshal(map[string]any{"SignedRFC3161Timestamp": f.timestamp})))
	}
	return out
}

// layer of a tag that ends in .sig.
func (f forged) signatureLayer() mutate.Addendum {
	return mutate.Addendum{
		Layer:       static.NewLayer(f.payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: f.annotations(base64.StdEncoding.EncodeToString(f.signature)),
	}
}

// attestationLayer of a tag that ends in .att.
func (f forged) attestationLayer(predicate string) mutate.Addendum {
	envelope := dsse.Envelope{
		PayloadType: inTotoType, Payload: base64.StdEncoding.EncodeToString(f.payload),
		Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(f.signature)}},
	}
	a := mutate.Addendum{Layer: static.NewLayer(must(json.Marshal(envelope)), "application/vnd.dsse.envelope.v1+json"), Annotations: f.annotations("")}
	if predicate != "" {
		a.Annotations[predicateAnnotation] = predicate
	}
	return a
}

func (f forged) bundle() []byte {
	b := &protobundle.Bundle{
		MediaType: bundleV03,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: f.cert.Raw}},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: f.payload, PayloadType: inTotoType, Signatures: []*protodsse.Signature{{Sig: f.signature}},
		}},
	}
	if f.entry != nil {
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{f.entry}
	}
	if f.timestamp != nil {
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: f.timestamp}},
		}
	}
	return must(protojson.Marshal(b))
}

// putLayers writes a tag of layers.
func putLayers(repo name.Repository, tag string, layers ...mutate.Addendum) {
	img := must(mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layers...))
	if err := remote.Write(repo.Tag(tag), img); err != nil {
		panic(err)
	}
}

// artifact is a bundle as cosign attaches it.
func artifact(subject v1.Descriptor, raw []byte, predicate string) registry.Artifact {
	a := registry.Artifact{Type: bundleV03, Subject: subject, Content: bytes.NewReader(raw), Annotations: map[string]string{}}
	if predicate != "" {
		a.Annotations = map[string]string{contentAnnotation: statementContent, bundlePredicateAnnotation: predicate}
	}
	return a
}
