package verify

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	gcrstatic "github.com/google/go-containerregistry/pkg/v1/static"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

func newKeyVerifier(t testing.TB, public []byte, log bool, material func() (root.TrustedMaterial, error)) *Verifier {
	t.Helper()
	return must(New(Options{Key: &Key{Public: must(ParseKey(public)), Name: "key platform", Log: log}, Material: material}))
}

// one is the first that is good.
func (w way) one(t testing.TB, v *Verifier, s *store) (Evidence, error) {
	t.Helper()
	if w.predicate == "" {
		return v.Signature(t.Context(), s.client, s.ref)
	}
	found, err := v.Attestation(t.Context(), s.client, s.ref, w.predicate, nil)
	if err == nil && !strings.Contains(string(found.Payload), w.predicate) {
		t.Error("it has no statement")
	}
	return found.Evidence, err
}

// What cosign signs with a key of any kind is good, with and without a log, and cosign thinks so too.
func TestKeysOfAllKinds(t *testing.T) {
	world := sigstoretest.New(t)
	const signatures, statements = "signatures", "statements"
	ph := []signature.LoadOption{options.WithED25519ph()}
	kinds := map[string]struct {
		algorithm protocommon.PublicKeyDetails
		load      []signature.LoadOption
		// rekor does not take such a signature of this.
		rekor string
		// ours: only we verify it. cosign wants to be told the hash.
		ours bool
	}{
		"P-256":              {algorithm: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256},
		"P-384":              {algorithm: protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, ours: true, rekor: statements},
		"P-384 with SHA-256": {algorithm: protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, load: []signature.LoadOption{options.WithHash(crypto.SHA256)}, rekor: signatures},
		"P-521":              {algorithm: protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, ours: true, rekor: statements},
		"RSA":                {algorithm: protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256},
		"Ed25519":            {algorithm: protocommon.PublicKeyDetails_PKIX_ED25519, load: []signature.LoadOption{options.WithHash(crypto.SHA512)}, rekor: signatures},
		"Ed25519ph":          {algorithm: protocommon.PublicKeyDetails_PKIX_ED25519, load: ph, ours: true, rekor: statements},
	}
	for desc, tt := range kinds {
		for _, log := range []*sigstoretest.Rekor{nil, world.Rekor} {
			c := newCosigner(t, tt.algorithm, log, tt.load...)
			for kind, put := range keyWays {
				if (kind == "a signature in a tag") == (tt.rekor == signatures) && tt.rekor != "" && log != nil {
					continue
				}
				t.Run(desc+" "+kind, func(t *testing.T) {
					s := newStore(t, true)
					put(c, t, s.ref)
					e, err := ways[kind].one(t, newKeyVerifier(t, c.pem, log != nil, world.Material), s)
					if err != nil {
						t.Fatal(err)
					}
					if e.Key != "key platform" || e.Identity != "" || e.Issuer != "" || e.Subject != s.ref.DigestStr() || e.Format != ways[kind].format {
						t.Errorf("got %+v", e)
					}
					if logged := log != nil; e.SignedAt.IsZero() == logged || (e.LogIndex != nil) != logged || (e.LogID != "") != logged || logged && time.Since(e.SignedAt) > time.Hour {
						t.Errorf("logged %v, got %+v", logged, e)
					}
					if err := c.cosignVerifies(t, kind, s.ref, world); err != nil && !tt.ours {
						t.Errorf("cosign: %v", err)
					}
				})
			}
		}
	}
}

func TestWhatIsBadIsNotByTheKey(t *testing.T) {
	const (
		bad     = "Terminal " + pipeline.ReasonSignatureInvalid
		useless = "Terminal " + pipeline.ReasonTrustRootInvalid
		missing = "missing"
	)
	const p256 = protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
	world, elsewhere, keyless := sigstoretest.New(t), sigstoretest.New(t), newWorld()
	c := newCosigner(t, p256, world.Rekor)
	unlogged := *c
	unlogged.log = nil
	stranger := newCosigner(t, p256, world.Rekor)
	tests := map[string]struct {
		put      func(kind string, s *store)
		material func() (root.TrustedMaterial, error)
		// want with and without log.
		logged, want string
	}{
		"good":                      {put: func(kind string, s *store) { keyWays[kind](c, t, s.ref) }},
		"nothing":                   {put: func(string, *store) {}, logged: missing, want: missing},
		"another key":               {put: func(kind string, s *store) { keyWays[kind](stranger, t, s.ref) }, logged: bad, want: bad},
		"not logged":                {put: func(kind string, s *store) { keyWays[kind](&unlogged, t, s.ref) }, logged: bad},
		"logged elsewhere":          {put: func(kind string, s *store) { keyWays[kind](c, t, s.ref) }, material: elsewhere.Material, logged: bad},
		"a trust root without log":  {put: func(kind string, s *store) { keyWays[kind](c, t, s.ref) }, material: world.MaterialWithoutLog, logged: useless},
		"keyless":                   {put: func(kind string, s *store) { ways[kind].put(t, s, ways[kind].forge(keyless, s.ref.DigestStr())) }, material: func() (root.TrustedMaterial, error) { return keyless, nil }, logged: bad, want: bad},
		"for another image, logged": {put: func(kind string, s *store) { moved(t, kind, c, s) }, logged: bad, want: bad},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for kind, way := range ways {
				s := newStore(t, true)
				tt.put(kind, s)
				material := tt.material
				if material == nil {
					material = world.Material
				}
				for log, want := range map[bool]string{true: tt.logged, false: tt.want} {
					if want == missing {
						want = way.missing()
					}
					e, err := way.one(t, newKeyVerifier(t, c.pem, log, material), s)
					if got := fault(err); got != want || (err == nil) != (e.Key != "") {
						t.Errorf("%s, log %v: got %+v, %s: %v", kind, log, e, got, err)
					}
					if want == bad && !strings.Contains(err.Error(), "it has to be signed by key platform") {
						t.Errorf("%s: the key is not named: %v", kind, err)
					}
				}
			}
		})
	}
}

// moved is what was signed for another image, where that for the image of s would be.
func moved(t testing.TB, kind string, c *cosigner, s *store) {
	other := newStore(t, true)
	keyWays[kind](c, t, other.ref)
	from := other.tag(map[string]string{"a signature in a tag": ".sig", "an attestation in a tag": ".att"}[kind])
	if from == other.tag("") {
		list, _, err := other.client.Referrers(t.Context(), other.ref, 10)
		if err != nil {
			t.Fatal(err)
		}
		m := must(other.client.Manifest(t.Context(), other.repo.Digest(list[0].Digest.String())))
		_, raw, err := other.client.ReadArtifact(t.Context(), other.repo.Digest(m.Digest.String()), artifactWant(other))
		if err != nil {
			t.Fatal(err)
		}
		s.push(t, raw, "")
		return
	}
	copyTag(t, other, from, s, s.tag(from[len(from)-len(".sig"):]))
}

// Whoever may sign with a key is nobody whose certificate would do, whatever a signature says of itself.
func TestAKeyIsNoIdentity(t *testing.T) {
	world := sigstoretest.New(t)
	c := newCosigner(t, protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, world.Rekor)
	anybody := Identity{IssuerRegExp: ".*", SubjectRegExp: ".*"}
	v := must(New(Options{Identities: []Identity{anybody}, Material: world.Material}))
	for kind, put := range keyWays {
		s := newStore(t, true)
		put(c, t, s.ref)
		e, err := ways[kind].one(t, v, s)
		if got := fault(err); got != "Terminal "+pipeline.ReasonSignatureInvalid {
			t.Errorf("%s: got %+v: %v", kind, e, err)
		}
		if found, err := ways[kind].verify(t.Context(), v, s); len(found) != 0 || err == nil {
			t.Errorf("%s: got %+v: %v", kind, found, err)
		}
	}
}

// A key for which somebody has a certificate is trusted as a key, not as that somebody.
func TestACertificateBesideASignatureOfAKey(t *testing.T) {
	world, keyless := sigstoretest.New(t), newWorld()
	c := newCosigner(t, protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil)
	leaf, _ := keyless.leaf(ourSubject, ourIssuer, time.Now(), true)
	c.options = []static.Option{static.WithCertChain(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}), nil)}
	for _, kind := range []string{"a signature in a tag", "an attestation in a tag"} {
		s := newStore(t, true)
		keyWays[kind](c, t, s.ref)
		for desc, v := range map[string]*Verifier{"key": newKeyVerifier(t, c.pem, false, world.Material), "identity": newVerifier(t, keyless, limits.Signatures{})} {
			if e, err := ways[kind].one(t, v, s); fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
				t.Errorf("%s, %s: got %+v: %v", kind, desc, e, err)
			}
		}
	}
}

// Without a log nothing that is said of one is read, and with one it has to be good.
func TestEntriesThatNobodyAsksFor(t *testing.T) {
	world := sigstoretest.New(t)
	c := newCosigner(t, protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil)
	puts := map[string]func(s *store){
		"a signature in a tag": func(s *store) {
			message := must(payload.Cosign{Image: s.ref}.MarshalJSON())
			annotations := map[string]string{signatureAnnotation: base64.StdEncoding.EncodeToString(c.sign(message)), logAnnotation: "{", timestampAnnotation: "7"}
			putLayers(s.repo, s.tag(".sig"), mutate.Addendum{Layer: gcrstatic.NewLayer(message, "x/y"), Annotations: annotations})
		},
		"a signature in a bundle": func(s *store) {
			statement := statementOf(pipeline.PredicateSignature, s.ref.DigestStr())
			envelope, _ := c.envelope(statement)
			raw := must(cosignbundle.MakeNewBundle(must(c.PublicKey()), nil, []byte(statement), envelope, c.pem, nil))
			s.push(t, bytes.Replace(raw, []byte(`"publicKey":`), []byte(`"tlogEntries":[{"logIndex":"1"}],"publicKey":`), 1), "")
		},
	}
	for kind, put := range puts {
		s := newStore(t, true)
		put(s)
		if e, err := ways[kind].one(t, newKeyVerifier(t, c.pem, false, nil), s); err != nil || e.LogID != "" {
			t.Errorf("%s: got %+v: %v", kind, e, err)
		}
		if e, err := ways[kind].one(t, newKeyVerifier(t, c.pem, true, world.Material), s); fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
			t.Errorf("%s, with a log: got %+v: %v", kind, e, err)
		}
	}
}

func TestAKeyWithoutLogNeedsNoTrustRoot(t *testing.T) {
	c := newCosigner(t, protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil)
	s := newStore(t, true)
	c.signatureTag(t, s.ref)
	v := must(New(Options{Key: &Key{Public: must(c.PublicKey())}}))
	e, err := v.Signature(t.Context(), s.client, s.ref)
	if err != nil || !strings.HasPrefix(e.Key, "key sha256:") || !e.SignedAt.IsZero() {
		t.Errorf("got %+v: %v", e, err)
	}
}
