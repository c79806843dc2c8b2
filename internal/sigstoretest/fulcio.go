package sigstoretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	ct "github.com/google/certificate-transparency-go"
	cttls "github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// Extensions of certificates (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md, RFC 6962).
var (
	oidIssuer   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	oidIssuerV2 = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidSCT      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidPoison   = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
)

// authority is a certificate and its key.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority is signed by parent, or by itself.
func newAuthority(name string, parent *authority, template x509.Certificate) *authority {
	a := &authority{key: newKey()}
	template.Subject = pkix.Name{CommonName: name, Organization: []string{"sigstoretest"}}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	template.SerialNumber, template.BasicConstraintsValid = serial(), true
	if parent == nil {
		parent = &authority{certificate: &template, key: a.key}
	}
	a.certificate = parent.sign(&template, a.key.Public())
	return a
}

func newCA(name string, parent *authority, usage ...x509.ExtKeyUsage) *authority {
	return newAuthority(name, parent, x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: usage})
}

func (a *authority) sign(template *x509.Certificate, key crypto.PublicKey) *x509.Certificate {
	return must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, a.certificate, key, a.key))))
}

func serial() *big.Int {
	return must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)))
}

// Fulcio gives certificates for the identities of tokens.
type Fulcio struct {
	Service
	root, issuing *authority
	ctLog         *ecdsa.PrivateKey
	tokens        *ecdsa.PublicKey

	lifetime struct {
		sync.Mutex
		time.Duration
	}
}

func newFulcio(tokens *ecdsa.PublicKey) *Fulcio {
	f := &Fulcio{root: newCA("root", nil), ctLog: newKey(), tokens: tokens}
	f.issuing = newCA("issuing", f.root, x509.ExtKeyUsageCodeSigning)
	f.SetLifetime(10 * time.Minute)
	return f
}

// SetLifetime is how long certificates are valid from now on. Default: 10 minutes.
func (f *Fulcio) SetLifetime(d time.Duration) {
	f.lifetime.Lock()
	defer f.lifetime.Unlock()
	f.lifetime.Duration = d
}

func (f *Fulcio) getLifetime() time.Duration {
	f.lifetime.Lock()
	defer f.lifetime.Unlock()
	return f.lifetime.Duration
}

// CertificateRequest says what a certificate is to be.
type CertificateRequest struct {
	// Identity is the subject alternative name: a URL.
	Identity string
	// Issuer of the token.
	Issuer string
	// Key that is certified.
	Key crypto.PublicKey
	// NotBefore is the begin of its validity. Default: now.
	NotBefore time.Time
	// Fault is OtherAuthority, OtherLog or WithoutSCT.
	Fault Fault
}

// Certify makes a certificate without asking for a token, and returns it with those of its authorities, the root last.
func (f *Fulcio) Certify(r CertificateRequest) []*x509.Certificate {
	issuing, ctLog := f.issuing, f.ctLog
	if r.Fault == OtherAuthority {
		issuing = newCA("issuing", newCA("root", nil), x509.ExtKeyUsageCodeSigning)
	}
	if r.Fault == OtherLog {
		ctLog = newKey()
	}
	template := f.template(r)
	if r.Fault != WithoutSCT {
		poisoned := *template
		poisoned.ExtraExtensions = append(slices.Clone(template.ExtraExtensions), pkix.Extension{Id: oidPoison, Critical: true, Value: asn1.NullBytes})
		sct := signedTimestamp(ctLog, issuing.sign(&poisoned, r.Key), issuing.certificate)
		template.ExtraExtensions = append(template.ExtraExtensions, sct)
	}
	return []*x509.Certificate{issuing.sign(template, r.Key), issuing.certificate, f.root.certificate}
}

func (f *Fulcio) template(r CertificateRequest) *x509.Certificate {
	if r.NotBefore.IsZero() {
		r.NotBefore = time.Now()
	}
	return &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    r.NotBefore,
		NotAfter:     r.NotBefore.Add(f.getLifetime()),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		URIs:         []*url.URL{must(url.Parse(r.Identity))},
		ExtraExtensions: []pkix.Extension{
			{Id: oidIssuer, Value: []byte(r.Issuer)},
			{Id: oidIssuerV2, Value: must(asn1.MarshalWithParams(r.Issuer, "utf8"))},
		},
	}
}

// signedTimestamp is what the certificate transparency log answers for a precertificate, as an extension.
func signedTimestamp(ctLog *ecdsa.PrivateKey, precertificate, issuing *x509.Certificate) pkix.Extension {
	chain := []*ctx509.Certificate{must(ctx509.ParseCertificate(precertificate.Raw)), must(ctx509.ParseCertificate(issuing.Raw))}
	now := uint64(time.Now().UnixMilli()) //nolint:gosec // After 1970.
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: logID(ctLog)}, Timestamp: now}
	leaf := must(ct.MerkleTreeLeafFromChain(chain, ct.PrecertLogEntryType, now))
	input := must(ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf}))
	sct.Signature = ct.DigitallySigned(must(cttls.CreateSignature(*ctLog, cttls.SHA256, input)))
	list := ctx509.SignedCertificateTimestampList{SCTList: []ctx509.SerializedSCT{{Val: must(cttls.Marshal(sct))}}}
	return pkix.Extension{Id: oidSCT, Value: must(asn1.Marshal(must(cttls.Marshal(list))))}
}

// certificateRequest is the body of a request, as far as it is used.
type certificateRequest struct {
	Credentials struct {
		Token string `json:"oidcIdentityToken"`
	} `json:"credentials"`
	PublicKeyRequest struct {
		PublicKey struct {
			Content string `json:"content"`
		} `json:"publicKey"`
		ProofOfPossession []byte `json:"proofOfPossession"`
	} `json:"publicKeyRequest"`
}

func (f *Fulcio) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	request, err := f.parse(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	request.Fault = fault
	switch fault {
	case OtherKey:
		request.Key = newKey().Public()
	case OtherIdentity:
		request.Identity = Identity("default", "somebody-else")
	}
	var chain []string
	for _, c := range f.Certify(request) {
		chain = append(chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	}
	kind := "signedCertificateEmbeddedSct"
	if fault == WithoutSCT {
		kind = "signedCertificateDetachedSct"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{kind: map[string]any{"chain": map[string]any{"certificates": chain}}})
}

// parse checks who asks, and that they have the key.
func (f *Fulcio) parse(r *http.Request) (CertificateRequest, error) {
	var request certificateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return CertificateRequest{}, err
	}
	token := request.Credentials.Token
	if token == "" {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	c, err := parseToken(token, f.tokens)
	if err != nil {
		return CertificateRequest{}, err
	}
	block, _ := pem.Decode([]byte(request.PublicKeyRequest.PublicKey.Content))
	if block == nil {
		return CertificateRequest{}, errors.New("the key is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok {
		return CertificateRequest{}, errors.New("the key is not of a kind that is known here")
	}
	sum := sha256.Sum256([]byte(c.Subject))
	if !ecdsa.VerifyASN1(key, sum[:], request.PublicKeyRequest.ProofOfPossession) {
		return CertificateRequest{}, errors.New("the proof of possession is not of the subject")
	}
	return CertificateRequest{Identity: c.identity(), Issuer: c.Issuer, Key: key}, nil
}
