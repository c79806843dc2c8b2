package webhook

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
)

// Keys of the Secret with the certificates.
const (
	keyAuthorities  = "ca.crt"
	keyAuthorityKey = "ca.key"
	keyCertificate  = "tls.crt"
	keyKey          = "tls.key"
)

const (
	day = 24 * time.Hour

	authorityFor = 10 * 365 * day
	// authorityAhead is how long before its end an authority gets a successor.
	authorityAhead = 365 * day
	// certificateFor is short enough that renewal is something that happens.
	certificateFor   = 90 * day
	certificateAhead = 30 * day
	// backdated is by how much the clock of an apiserver may be behind.
	backdated = time.Hour
	// settle is how long everybody has to learn of a change: apiservers of a new authority, replicas of a certificate.
	settle = 10 * time.Minute
	// maxAuthorities that are trusted at a time: the one that signs, and those that have signed.
	maxAuthorities = 3
)

// maker makes certificates, by a plan in which no apiserver ever meets one that it does not trust yet: a new authority is
// trusted beside the old one first, signs only then, and the old one goes when nobody serves with what it has signed.
type maker struct {
	rotator *rotator.CertRotator
}

func newMaker(dnsName string) maker {
	return maker{&rotator.CertRotator{
		CAName: "basewright-webhook-ca", CAOrganization: "basewright", DNSName: dnsName,
		ExtKeyUsages: &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}}
}

// stock is what the Secret holds. All of it is PEM.
type stock struct {
	// authorities that are trusted, of which the first signs.
	authorities [][]byte
	// authorityKey of the first.
	authorityKey     []byte
	certificate, key []byte
}

func stockOf(data map[string][]byte) stock {
	s := stock{authorityKey: data[keyAuthorityKey], certificate: data[keyCertificate], key: data[keyKey]}
	for block, rest := pem.Decode(data[keyAuthorities]); block != nil; block, rest = pem.Decode(rest) {
		s.authorities = append(s.authorities, pem.EncodeToMemory(block))
	}
	return s
}

func (s stock) data() map[string][]byte {
	return map[string][]byte{
		keyAuthorities: bytes.Join(s.authorities, nil), keyAuthorityKey: s.authorityKey,
		keyCertificate: s.certificate, keyKey: s.key,
	}
}

// next is what has to become of what the Secret holds; nil if nothing has to. Trusted says that whoever asks the webhook
// trusts the first authority.
func (m maker) next(s stock, trusted bool, now time.Time) (*stock, error) {
	switch {
	case !m.canSign(s, now.Add(authorityAhead)):
		return m.withAuthority(s, now)
	case !m.serves(s, now):
		return m.signed(s, now)
	case !m.signedByFirst(s, now.Add(certificateAhead)):
		// One that the same authority has signed can be replaced at any time.
		if m.signedByFirst(s, now) || trusted && older(s.authorities[0], now) {
			return m.signed(s, now)
		}
	case len(s.authorities) > 1 && older(s.certificate, now):
		s.authorities = s.authorities[:1]
		return &s, nil
	}
	return nil, nil
}

// withAuthority has a new authority, which signs at once only if there is nothing that serves.
func (m maker) withAuthority(s stock, now time.Time) (*stock, error) {
	made, err := m.rotator.CreateCACert(now.Add(-backdated), now.Add(authorityFor))
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	kept := [][]byte{made.CertPEM}
	for _, old := range s.authorities {
		if c := certificateOf(old); c != nil && now.Before(c.NotAfter) && len(kept) < maxAuthorities {
			kept = append(kept, old)
		}
	}
	s.authorities, s.authorityKey = kept, made.KeyPEM
	if !m.serves(s, now) {
		return m.signed(s, now)
	}
	return &s, nil
}

// signed has a new certificate of the first authority.
func (m maker) signed(s stock, now time.Time) (*stock, error) {
	key, err := x509.ParsePKCS1PrivateKey(bytesOf(s.authorityKey))
	if err != nil {
		return nil, fmt.Errorf("reading the key of the certificate authority: %w", err)
	}
	authority := &rotator.KeyPairArtifacts{Cert: certificateOf(s.authorities[0]), Key: key}
	s.certificate, s.key, err = m.rotator.CreateCertPEM(authority, now.Add(-backdated), now.Add(certificateFor))
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return &s, nil
}

func (m maker) canSign(s stock, at time.Time) bool {
	return len(s.authorities) > 0 && valid(s.authorities[0], s.authorities[0], s.authorityKey, m.rotator.CAName, nil, at)
}

// serves reports whether who trusts all authorities trusts the certificate.
func (m maker) serves(s stock, at time.Time) bool {
	for i := range s.authorities {
		if m.signedBy(s.authorities[i], s, at) {
			return true
		}
	}
	return false
}

func (m maker) signedByFirst(s stock, at time.Time) bool { return m.signedBy(s.authorities[0], s, at) }

func (m maker) signedBy(authority []byte, s stock, at time.Time) bool {
	return valid(authority, s.certificate, s.key, m.rotator.DNSName, m.rotator.ExtKeyUsages, at)
}

func valid(authority, certificate, key []byte, name string, usages *[]x509.ExtKeyUsage, at time.Time) bool {
	ok, err := rotator.ValidCert(authority, certificate, key, name, usages, at)
	return ok && err == nil
}

// older reports whether a certificate was made before everybody must have learnt of it.
func older(certificate []byte, now time.Time) bool {
	c := certificateOf(certificate)
	return c != nil && now.Sub(c.NotBefore.Add(backdated)) > settle
}

// certificateOf PEM, or nil.
func certificateOf(text []byte) *x509.Certificate {
	c, err := x509.ParseCertificate(bytesOf(text))
	if err != nil {
		return nil
	}
	return c
}

// bytesOf the first block of PEM, or none.
func bytesOf(text []byte) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	return block.Bytes
}
