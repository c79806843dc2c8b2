package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"net/url"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
)

const (
	ourIssuer  = "https://kubernetes.example"
	ourSubject = "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer"
)

// world is a Sigstore of its own. VirtualSigstore has the log and the timestamp authority; its certificates have no SCT, so
// the certificate authority and its log are made here.
type world struct {
	*ca.VirtualSigstore
	authority *root.FulcioCertificateAuthority
	key       *ecdsa.PrivateKey
	ctKey     *ecdsa.PrivateKey

	// What the trust root does not have.
	withoutCA, withoutCT, withoutLog, withoutTSA bool
}

func newWorld() *world {
	w := &world{VirtualSigstore: must(ca.NewVirtualSigstore()), ctKey: newKey()}
	top, topKey := must2(ca.GenerateRootCa())
	middle, middleKey := must2(ca.GenerateFulcioIntermediate(top, topKey))
	w.key = middleKey
	// The intermediate is younger than certificates that tests want to have expired.
	template := *middle
	template.NotBefore, template.NotAfter = time.Now().Add(-4*time.Hour), time.Now().Add(4*time.Hour)
	raw := must(x509.CreateCertificate(rand.Reader, &template, top, middleKey.Public(), topKey))
	w.authority = &root.FulcioCertificateAuthority{Root: top, Intermediates: []*x509.Certificate{must(x509.ParseCertificate(raw))}}
	return w
}

func (w *world) FulcioCertificateAuthorities() []root.CertificateAuthority {
	if w.withoutCA {
		return nil
	}
	return []root.CertificateAuthority{w.authority}
}

func (w *world) CTLogs() map[string]*root.TransparencyLog {
	if w.withoutCT {
		return nil
	}
	id := logID(w.ctKey)
	return map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {PublicKey: w.ctKey.Public(), HashFunc: crypto.SHA256}}
}

func (w *world) RekorLogs() map[string]*root.TransparencyLog {
	if w.withoutLog {
		return nil
	}
	return w.VirtualSigstore.RekorLogs()
}

func (w *world) TimestampingAuthorities() []root.TimestampingAuthority {
	if w.withoutTSA {
		return nil
	}
	return w.VirtualSigstore.TimestampingAuthorities()
}

// leaf is a certificate for a key of its own, valid for ten minutes.
func (w *world) leaf(subject, issuer string, from time.Time, sct bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	key := newKey()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()),
		URIs:         []*url.URL{must(url.Parse(subject))},
		NotBefore:    from,
		NotAfter:     from.Add(10 * time.Minute),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: must(asn1.MarshalWithParams(issuer, "utf8"))},
		},
	}
	parent := w.authority.Intermediates[0]
	raw := must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), w.key))
	if sct {
		// The log signs what the certificate is without the log's signature.
		list := w.sct(must(x509.ParseCertificate(raw)).RawTBSCertificate, parent, from)
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier(ctx509.OIDExtensionCTSCT), Value: list})
		raw = must(x509.CreateCertificate(rand.Reader, template, parent, key.Public(), w.key))
	}
	return must(x509.ParseCertificate(raw)), key
}

func (w *world) sct(tbs []byte, issuer *x509.Certificate, at time.Time) []byte {
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: logID(w.ctKey)}, Timestamp: uint64(at.UnixMilli())}
	entry := ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(issuer.RawSubjectPublicKeyInfo), TBSCertificate: tbs},
		},
	}}
	sum := sha256.Sum256(must(ct.SerializeSCTSignatureInput(sct, entry)))
	sct.Signature = ct.DigitallySigned{
		Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA},
		Signature: must(ecdsa.SignASN1(rand.Reader, w.ctKey, sum[:])),
	}
	list := ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: must(tls.Marshal(sct))}}}
	return must(asn1.Marshal(must(tls.Marshal(list))))
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func logID(key *ecdsa.PrivateKey) [32]byte {
	return sha256.Sum256(must(x509.MarshalPKIXPublicKey(key.Public())))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[T, U any](v T, u U, err error) (T, U) {
	if err != nil {
		panic(err)
	}
	return v, u
}
