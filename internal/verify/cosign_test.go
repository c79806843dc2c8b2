package verify

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	ociremote "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

// cosigner signs with a key, as cosign sign --key and cosign attest --key do, by cosign's own functions.
type cosigner struct {
	signature.SignerVerifier
	pem []byte
	// log has what is signed; nil: nothing is logged, as with --tlog-upload=false.
	log *sigstoretest.Rekor
	// options of what is put into a tag.
	options []static.Option
}

// newCosigner generates a key pair as cosign generate-key-pair does, and signs with it as cosign does, but does not encrypt it: that takes a second. load are how other versions have signed.
func newCosigner(t testing.TB, algorithm protocommon.PublicKeyDetails, log *sigstoretest.Rekor, load ...signature.LoadOption) *cosigner {
	t.Helper()
	details := must(signature.GetAlgorithmDetails(algorithm))
	private := must(cosign.GeneratePrivateKeyWithAlgorithm(&details))
	signer := must(signature.LoadDefaultSignerVerifier(private, options.WithED25519ph()))
	if load != nil {
		signer = must(signature.LoadSignerVerifierWithOpts(private, load...))
	}
	return &cosigner{SignerVerifier: signer, pem: must(cryptoutils.MarshalPublicKeyToPEM(must(signer.PublicKey()))), log: log}
}

func (c *cosigner) sign(message []byte) []byte {
	return must(c.SignMessage(bytes.NewReader(message)))
}

// enter proposes an entry to the log.
func (c *cosigner) enter(kind string, spec any) *models.LogEntryAnon {
	if c.log == nil {
		return nil
	}
	proposed := must(json.Marshal(map[string]any{"kind": kind, "apiVersion": "0.0.1", "spec": spec}))
	entry := new(models.LogEntryAnon)
	if err := json.Unmarshal(must(json.Marshal(must(c.log.Enter(proposed, time.Now(), sigstoretest.Works)))), entry); err != nil {
		panic(err)
	}
	return entry
}

func (c *cosigner) envelope(statement string) (envelope []byte, entry *models.LogEntryAnon) {
	signer := sigdsse.WrapSigner(c, inTotoType)
	envelope = must(signer.SignMessage(strings.NewReader(statement)))
	return envelope, c.enter("dsse", map[string]any{"proposedContent": map[string]any{"envelope": string(envelope), "verifiers": [][]byte{c.pem}}})
}

func entity(ref name.Digest) oci.SignedEntity {
	return must(ociremote.SignedEntity(ref))
}

// digestAlgorithm is the hash that cosign enters into the log.
func (c *cosigner) digestAlgorithm() (string, crypto.Hash) {
	details := must(signature.GetDefaultAlgorithmDetails(must(c.PublicKey())))
	switch details.GetHashType() {
	case crypto.SHA384:
		return "sha384", crypto.SHA384
	case crypto.SHA512, crypto.Hash(0):
		return "sha512", crypto.SHA512
	}
	return "sha256", crypto.SHA256
}

func (c *cosigner) signatureTag(t testing.TB, ref name.Digest) {
	t.Helper()
	message := must(payload.Cosign{Image: ref}.MarshalJSON())
	signed := c.sign(message)
	algorithm, hash := c.digestAlgorithm()
	h := hash.New()
	_, _ = h.Write(message)
	entry := c.enter("hashedrekord", map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": algorithm, "value": hex.EncodeToString(h.Sum(nil))}},
		"signature": map[string]any{"content": signed, "publicKey": map[string]any{"content": c.pem}},
	})
	options := append([]static.Option{}, c.options...)
	if entry != nil {
		options = append(options, static.WithBundle(cosignbundle.EntryToBundle(entry)))
	}
	layer := must(static.NewSignature(message, base64.StdEncoding.EncodeToString(signed), options...))
	if err := ociremote.WriteSignatures(ref.Repository, must(mutate.AttachSignatureToEntity(entity(ref), layer))); err != nil {
		t.Fatal(err)
	}
}

func (c *cosigner) attestationTag(t testing.TB, ref name.Digest, predicateType string) {
	t.Helper()
	envelope, entry := c.envelope(statementOf(predicateType, ref.DigestStr()))
	options := append([]static.Option{
		static.WithLayerMediaType("application/vnd.dsse.envelope.v1+json"), static.WithAnnotations(map[string]string{"predicateType": predicateType}),
	}, c.options...)
	if entry != nil {
		options = append(options, static.WithBundle(cosignbundle.EntryToBundle(entry)))
	}
	layer := must(static.NewAttestation(envelope, options...))
	if err := ociremote.WriteAttestations(ref.Repository, must(mutate.AttachAttestationToEntity(entity(ref), layer))); err != nil {
		t.Fatal(err)
	}
}

func (c *cosigner) bundle(t testing.TB, ref name.Digest, predicateType string) {
	t.Helper()
	envelope, entry := c.envelope(statementOf(predicateType, ref.DigestStr()))
	raw := must(cosignbundle.MakeNewBundle(must(c.PublicKey()), entry, []byte(statementOf(predicateType, ref.DigestStr())), envelope, c.pem, nil))
	if err := ociremote.WriteAttestationNewBundleFormat(ref, raw, predicateType); err != nil {
		t.Fatal(err)
	}
}

// keyWays are those of ways, done by cosign.
var keyWays = map[string]func(*cosigner, testing.TB, name.Digest){
	"a signature in a tag":       (*cosigner).signatureTag,
	"an attestation in a tag":    func(c *cosigner, t testing.TB, ref name.Digest) { c.attestationTag(t, ref, provenance) },
	"a signature in a bundle":    func(c *cosigner, t testing.TB, ref name.Digest) { c.bundle(t, ref, pipeline.PredicateSignature) },
	"an attestation in a bundle": func(c *cosigner, t testing.TB, ref name.Digest) { c.bundle(t, ref, provenance) },
}

// cosignVerifies is what cosign verify --key, or cosign verify-attestation --key, says.
func (c *cosigner) cosignVerifies(t testing.TB, kind string, ref name.Digest, s *sigstoretest.Sigstore) error {
	t.Helper()
	verifier := must(signature.LoadVerifier(must(c.PublicKey()), crypto.SHA256))
	co := &cosign.CheckOpts{
		SigVerifier: verifier, TrustedMaterial: s.TrustedRoot(), Offline: true, IgnoreTlog: c.log == nil, IgnoreSCT: true,
		ClaimVerifier: cosign.IntotoSubjectClaimVerifier, NewBundleFormat: strings.HasSuffix(kind, "bundle"),
	}
	verify := cosign.VerifyImageAttestations
	if kind == "a signature in a tag" {
		co.ClaimVerifier = cosign.SimpleClaimVerifier
		verify = cosign.VerifyImageSignatures
	}
	_, _, err := verify(t.Context(), ref, co)
	return err
}

func artifactWant(s *store) registry.ArtifactWant {
	return registry.ArtifactWant{Type: bundleV03, Subject: s.ref.DigestStr(), Limit: 1 << 20}
}

// copyTag copies a tag and its layers.
func copyTag(t testing.TB, from *store, tag string, to *store, as string) {
	t.Helper()
	img := must(remote.Image(from.repo.Tag(tag)))
	if err := remote.Write(to.repo.Tag(as), img); err != nil {
		t.Fatal(err)
	}
}
