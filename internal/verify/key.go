package verify

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

const (
	// maxPEM is how much of a key is read. The longest that is accepted has about 1,500 bytes.
	maxPEM = 16 << 10
	// Keys of RSA outside of this are too weak, or take long to verify with.
	minRSA, maxRSA = 2048, 8192
)

// Key of whoever may have signed. Nothing that was signed with a certificate satisfies it.
type Key struct {
	// Public is of ECDSA (P-256, P-384 or P-521), RSA (2048 to 8192 bits) or Ed25519, see ParseKey.
	Public crypto.PublicKey
	// Name of it in messages. Default: its fingerprint.
	Name string
	// Log: the transparency log of the trust root must have the signature, and says when it was made. Without it nobody
	// knows when, and no trust root is asked for.
	Log bool
}

// ParseKey reads a public key in PEM, as cosign writes it to cosign.pub. The error repeats nothing of what was read.
func ParseKey(raw []byte) (crypto.PublicKey, error) {
	switch {
	case len(raw) > maxPEM:
		return nil, fmt.Errorf("it has %d bytes, a public key has at most %d", len(raw), maxPEM)
	case bytes.Contains(raw, []byte("PRIVATE KEY-----")):
		return nil, errors.New("it is a private key: make a new pair of keys, since everybody who may read this has this one, and put the public key here")
	}
	block, rest := pem.Decode(raw)
	switch {
	case block == nil:
		return nil, errors.New("it is not a public key in PEM: it has to begin with -----BEGIN PUBLIC KEY-----")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the first key: put exactly one key here")
	}
	key, err := parseBlock(block)
	if err != nil {
		return nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

func parseBlock(block *pem.Block) (key crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		return nil, errors.New("it is a certificate: put its public key here, which openssl x509 -noout -pubkey prints")
	default:
		return nil, fmt.Errorf("it is a PEM block of type %q, not a PUBLIC KEY", clip(block.Type))
	}
	if err != nil {
		return nil, errors.New("its PEM block holds no public key of ECDSA, RSA or Ed25519 that can be read")
	}
	return key, nil
}

func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k == nil || !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return errors.New("its curve is not one of P-256, P-384 and P-521")
		}
		return nil
	case *rsa.PublicKey:
		if k == nil || k.N == nil || k.N.BitLen() < minRSA || k.N.BitLen() > maxRSA {
			return fmt.Errorf("it is not an RSA key of %d to %d bits", minRSA, maxRSA)
		}
		return nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return errors.New("it is not an Ed25519 key of 32 bytes")
		}
		return nil
	}
	return errors.New("it is not a key of ECDSA, RSA or Ed25519")
}

// trustedKey verifies with a Key.
type trustedKey struct {
	name      string
	log       bool
	public    crypto.PublicKey
	verifiers []signature.Verifier
}

func newTrustedKey(k Key) (*trustedKey, error) {
	if err := checkKey(k.Public); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	out := &trustedKey{name: cmp.Or(k.Name, fmt.Sprintf("key sha256:%x", sha256.Sum256(der))), log: k.Log, public: k.Public}
	for _, option := range schemes(k.Public) {
		v, err := signature.LoadVerifierWithOpts(k.Public, option)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		out.verifiers = append(out.verifiers, v)
	}
	return out, nil
}

// schemes are the ways in which cosign has signed with such a key, most common first: its hash has changed with versions
// and settings.
func schemes(key crypto.PublicKey) []signature.LoadOption {
	if _, ok := key.(ed25519.PublicKey); ok {
		return []signature.LoadOption{options.WithED25519ph(), options.WithHash(crypto.SHA512)} // the second is Ed25519 itself
	}
	first := crypto.SHA256
	if k, ok := key.(*ecdsa.PublicKey); ok && k.Curve != elliptic.P256() {
		first = map[elliptic.Curve]crypto.Hash{elliptic.P384(): crypto.SHA384, elliptic.P521(): crypto.SHA512}[k.Curve]
	}
	out := []signature.LoadOption{options.WithHash(first)}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if h != first {
			out = append(out, options.WithHash(h))
		}
	}
	return out
}

// PublicKey implements signature.Verifier.
func (k *trustedKey) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return k.public, nil
}

// VerifySignature implements signature.Verifier.
func (k *trustedKey) VerifySignature(signed, message io.Reader, opts ...signature.VerifyOption) error {
	s, err := io.ReadAll(signed)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	for _, v := range k.verifiers {
		if v.VerifySignature(bytes.NewReader(s), bytes.NewReader(m), opts...) == nil {
			return nil
		}
	}
	return fmt.Errorf("it is not by %s", k.name)
}

// keyed is a trust root of a key, and of logs and timestamp authorities if the key wants them. It trusts no certificate.
type keyed struct {
	root.TrustedMaterial
	key root.TimeConstrainedVerifier
}

func newKeyed(material root.TrustedMaterial, k *trustedKey) keyed {
	return keyed{material, root.NewExpiringKey(k, time.Time{}, time.Time{})}
}

// PublicKeyVerifier is for any hint: what a signature says of its key is not what it is verified with.
func (k keyed) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) { return k.key, nil }

func (keyed) FulcioCertificateAuthorities() []root.CertificateAuthority { return nil }

func (keyed) CTLogs() map[string]*root.TransparencyLog { return nil }
