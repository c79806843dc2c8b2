package sign

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"

	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// credential is a key and the certificate that says whose it is.
type credential struct {
	key  *ecdsa.PrivateKey
	leaf *x509.Certificate
	// certificate and chain are PEM: the leaf, and those above it.
	certificate, chain string
}

// sign returns a signature of message.
func (c *credential) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, c.key, sum[:])
}

// certificateRequest is the body of a request to Fulcio
// (https://github.com/sigstore/fulcio/blob/v1.8.8/fulcio.proto).
type certificateRequest struct {
	PublicKeyRequest publicKeyRequest `json:"publicKeyRequest"`
}

type publicKeyRequest struct {
	PublicKey         publicKey `json:"publicKey"`
	ProofOfPossession []byte    `json:"proofOfPossession"`
}

type publicKey struct {
	Algorithm string `json:"algorithm"`
	Content   string `json:"content"`
}

// certify gets a certificate for a new key.
func (s *Signer) certify(ctx context.Context) (*credential, error) {
	token, err := s.options.Token(ctx)
	if err != nil {
		return nil, err
	}
	c := &credential{}
	if c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	body, err := c.request(token)
	if err != nil {
		return nil, err
	}
	answer, err := s.fulcio.ask(ctx, request{contentType: "application/json", token: token, body: body})
	if err != nil {
		return nil, err
	}
	if c.leaf, err = parseCertificate(answer); err != nil {
		return nil, s.fulcio.invalid("%w", err)
	}
	return c, s.trust(c)
}

func (c *credential) request(token string) ([]byte, error) {
	subject, err := subjectOf(token)
	if err != nil {
		return nil, err
	}
	proof, err := c.sign([]byte(subject))
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(c.key.Public())
	if err != nil {
		return nil, err
	}
	content := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return json.Marshal(certificateRequest{publicKeyRequest{publicKey{Algorithm: "ECDSA", Content: content}, proof}})
}

// subjectOf is what Fulcio wants to see signed, as a proof that whoever has the token has the key too.
func subjectOf(token string) (string, error) {
	var claims struct {
		Subject string `json:"sub"`
	}
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[len(parts)/2])
	if len(parts) != 3 || err != nil || json.Unmarshal(raw, &claims) != nil || claims.Subject == "" {
		return "", pipeline.Transientf(pipeline.ReasonIdentityUnavailable, "the identity token of the signer is not a JSON Web Token with a subject: check that the cluster's ServiceAccount tokens are not replaced by others")
	}
	return claims.Subject, nil
}

// parseCertificate reads the first certificate of an answer. Those above it are taken from the trust root.
func parseCertificate(answer []byte) (*x509.Certificate, error) {
	type chain struct {
		Chain struct {
			Certificates []string `json:"certificates"`
		} `json:"chain"`
	}
	var found struct {
		Embedded chain `json:"signedCertificateEmbeddedSct"`
		Detached chain `json:"signedCertificateDetachedSct"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, errNoCertificate
	}
	certificates := found.Embedded.Chain.Certificates
	if len(found.Detached.Chain.Certificates) > 0 {
		return nil, errDetached
	}
	if len(certificates) == 0 {
		return nil, errNoCertificate
	}
	block, _ := pem.Decode([]byte(certificates[0]))
	if block == nil {
		return nil, errNoCertificate
	}
	return x509.ParseCertificate(block.Bytes)
}

// trust checks at once what every verifier will check of the certificate, so that nothing is signed in vain.
func (s *Signer) trust(c *credential) error {
	material, err := s.options.Material()
	if err != nil {
		return err
	}
	if !c.key.PublicKey.Equal(c.leaf.PublicKey) {
		return s.fulcio.invalid("the certificate is for another key")
	}
	if !s.now().Before(c.leaf.NotAfter) {
		return s.fulcio.invalid("the certificate has expired: compare the clocks of it and of this node")
	}
	// By its own clock: that of this node may be a little behind.
	chains, err := sigstore.VerifyLeafCertificate(c.leaf.NotBefore, c.leaf, material)
	if err != nil {
		return s.fulcio.invalid("the certificate is not of an authority in the trust root: %w", err)
	}
	if err := sigstore.VerifySignedCertificateTimestamp(chains, 1, material); err != nil {
		return s.fulcio.invalid("the certificate is in no log of the trust root: %w", err)
	}
	c.certificate = encode(chains[0][:1])
	c.chain = encode(chains[0][1:])
	return nil
}

func encode(certificates []*x509.Certificate) string {
	var out strings.Builder
	for _, c := range certificates {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.String()
}
