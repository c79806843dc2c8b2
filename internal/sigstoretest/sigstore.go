// Package sigstoretest is a private Sigstore in one process, for tests: a Fulcio, a Rekor (version 1) and a timestamp
// authority, as far as clients use them to sign, with keys of their own and a trust root to verify with. Each of them can
// be made to fail in the ways in which services do.
package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Sigstore is three services and the trust root that knows their keys. It is safe for concurrent use.
type Sigstore struct {
	// Fulcio gives certificates.
	Fulcio *Fulcio
	// Rekor is a transparency log.
	Rekor *Rekor
	// Timestamp is a timestamp authority.
	Timestamp *Timestamp

	tokens *ecdsa.PrivateKey
	root   *root.TrustedRoot
	noLog  *root.TrustedRoot
}

// New starts a Sigstore that ends with the test. Each one has other keys.
func New(t testing.TB) *Sigstore {
	t.Helper()
	s := &Sigstore{tokens: newKey()}
	s.Fulcio = newFulcio(&s.tokens.PublicKey)
	s.Rekor = newRekor()
	s.Timestamp = newTimestamp()
	s.Fulcio.start(t, "/api/v2/signingCert", s.Fulcio.serve)
	s.Rekor.start(t, "/api/v1/log/entries", s.Rekor.serve)
	s.Timestamp.start(t, "/api/v1/timestamp", s.Timestamp.serve)
	s.root, s.noLog = s.trust(logs(s.Rekor.URL, s.Rekor.key, hourAgo())), s.trust(nil)
	return s
}

// TrustedRoot is what verifiers have to know. It is made of its own JSON.
func (s *Sigstore) TrustedRoot() *root.TrustedRoot { return s.root }

// Material is TrustedRoot as a function.
func (s *Sigstore) Material() (root.TrustedMaterial, error) { return s.root, nil }

// MaterialWithoutLog is for a Sigstore without Rekor, in which timestamps alone say when something was signed.
func (s *Sigstore) MaterialWithoutLog() (root.TrustedMaterial, error) { return s.noLog, nil }

// TrustedRootJSON is TrustedRoot as a file trusted_root.json has it.
func (s *Sigstore) TrustedRootJSON() []byte { return must(json.Marshal(s.root)) }

func hourAgo() time.Time { return time.Now().Add(-time.Hour) }

func (s *Sigstore) trust(rekor map[string]*root.TransparencyLog) *root.TrustedRoot {
	from, until := hourAgo(), time.Now().Add(24*time.Hour)
	made := must(root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: s.Fulcio.root.certificate, Intermediates: []*x509.Certificate{s.Fulcio.issuing.certificate},
			ValidityPeriodStart: from, ValidityPeriodEnd: until, URI: s.Fulcio.URL,
		}},
		logs(s.Fulcio.URL, s.Fulcio.ctLog, from),
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{
			Root: s.Timestamp.root.certificate, Leaf: s.Timestamp.leaf.certificate,
			ValidityPeriodStart: from, ValidityPeriodEnd: until, URI: s.Timestamp.URL,
		}},
		rekor))
	return must(root.NewTrustedRootFromJSON(must(json.Marshal(made))))
}

func logs(url string, key *ecdsa.PrivateKey, from time.Time) map[string]*root.TransparencyLog {
	id := logID(key)
	return map[string]*root.TransparencyLog{hex.EncodeToString(id[:]): {
		BaseURL: url, ID: id[:], ValidityPeriodStart: from,
		HashFunc: crypto.SHA256, PublicKey: key.Public(), SignatureHashFunc: crypto.SHA256,
	}}
}

// logID is how logs are named: by the hash of their public key.
func logID(key *ecdsa.PrivateKey) [sha256.Size]byte {
	return sha256.Sum256(must(x509.MarshalPKIXPublicKey(key.Public())))
}

func newKey() *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// must is for what fails only if this package is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
