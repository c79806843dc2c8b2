package probe

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io/fs"
)

const maxBundle = 16 << 20

// bundles are where programs look for certificate authorities (crypto/x509, root_linux.go).
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"}

const bundleFix = "copy a complete one in, for example COPY --from=… /etc/ssl/certs/ca-certificates.crt, or take SSL_CERT_FILE out"

// caBundle looks at the bundle that SSL_CERT_FILE promises, or at the first one that is there.
func (m Machine) caBundle() Check {
	path := m.Getenv("SSL_CERT_FILE")
	places, promised := bundles, path != ""
	if promised {
		places = []string{path}
	}
	for _, path := range places {
		raw, err := readRegular(m.at(path), maxBundle)
		switch {
		case errors.Is(err, fs.ErrNotExist) && promised:
			return failed("SSL_CERT_FILE says %s, which is not there: %s", path, bundleFix)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			return failed("the image's user can't read the CA bundle %s: make it readable, COPY --chmod=0644", path)
		case err != nil:
			return failed("reading the CA bundle %s: %v; %s", path, why(err), bundleFix)
		}
		return m.certificates(path, raw)
	}
	return absent("no CA bundle, and SSL_CERT_FILE is not set")
}

// certificates wants at least one that is valid now. One that is well-formed, but of a kind that Go does not know, such
// as another curve, is only counted.
func (m Machine) certificates(path string, raw []byte) Check {
	begun, whole, known, unexpired := bytes.Count(raw, []byte("-----BEGIN CERTIFICATE-----")), 0, 0, 0
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || !wellFormed(block.Bytes) {
			continue
		}
		whole++
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			known++
			if !m.Now.After(cert.NotAfter) {
				unexpired++
			}
		}
	}
	switch {
	case begun == 0 || known == 0:
		return failed("%s has no certificate in PEM: %s", path, bundleFix)
	case whole < begun:
		return failed("%d of %d certificates in %s are damaged: %s", begun-whole, begun, path, bundleFix)
	case unexpired == 0:
		return failed("all %d certificates in %s have expired: rebuild from a newer image, or %s", known, path, bundleFix)
	}
	return passed("%d certificates in %s, %d unexpired", whole, path, unexpired)
}

func wellFormed(der []byte) bool {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(der, &outer)
	return err == nil && len(rest) == 0 && outer.Tag == asn1.TagSequence
}
