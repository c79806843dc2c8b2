//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// makeSigstorePKI makes what Sigstore signs with. All of it stays as long as the sandbox does: it is what verifiers trust.
func makeSigstorePKI(dir string, now time.Time) error {
	if _, err := openAuthority(dir, "fulcio", "Basewright sandbox Fulcio", now); err != nil {
		return err
	}
	for _, log := range []string{"rekor", "ctlog"} {
		if err := makeLogKey(filepath.Join(dir, log)); err != nil {
			return err
		}
	}
	ca, err := openAuthority(dir, "timestamp-ca", "Basewright sandbox timestamp CA", now)
	if err != nil {
		return err
	}
	return ca.issueTimestamp(now)
}

// makeLogKey writes path.key and then path.pub, which says that both are there.
func makeLogKey(path string) error {
	if exists(path + ".pub") {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key %s: %w", path, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key %s: %w", path, err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the key %s: %w", path, err)
	}
	if err := writePEM(path+".key", "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(path+".pub", "PUBLIC KEY", public, 0o644)
}

// issueTimestamp makes the certificate of the timestamp authority, and the chain that it begins.
func (a authority) issueTimestamp(now time.Time) error {
	path := filepath.Join(a.dir, "timestamp")
	if exists(path + "-chain.crt") {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key of the timestamp authority: %w", err)
	}
	// RFC 3161 wants this extension to be a critical one, as which the library does not write it.
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		return fmt.Errorf("encoding the use of a certificate: %w", err)
	}
	template := newTemplate(pkix.Name{CommonName: "Basewright sandbox timestamps"}, now)
	template.ExtKeyUsage = nil
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}
	if err := sign(path, template, a.cert, key, a.key); err != nil {
		return err
	}
	leaf, err := os.ReadFile(path + ".crt")
	if err != nil {
		return fmt.Errorf("reading %s.crt: %w", path, err)
	}
	chain := append(leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	return writeFile(path+"-chain.crt", chain, 0o644)
}

// What follows is the JSON of Sigstore's protobuf-specs.
type (
	trustedRoot struct {
		MediaType              string             `json:"mediaType"`
		Tlogs                  []trustedLog       `json:"tlogs"`
		CertificateAuthorities []trustedAuthority `json:"certificateAuthorities"`
		Ctlogs                 []trustedLog       `json:"ctlogs"`
		TimestampAuthorities   []trustedAuthority `json:"timestampAuthorities"`
	}
	trustedLog struct {
		BaseURL       string     `json:"baseUrl"`
		HashAlgorithm string     `json:"hashAlgorithm"`
		PublicKey     trustedKey `json:"publicKey"`
		LogID         logID      `json:"logId"`
	}
	trustedKey struct {
		RawBytes   []byte `json:"rawBytes"`
		KeyDetails string `json:"keyDetails"`
		ValidFor   period `json:"validFor"`
	}
	logID struct {
		KeyID []byte `json:"keyId"`
	}
	trustedAuthority struct {
		Subject   subject `json:"subject"`
		URI       string  `json:"uri"`
		CertChain chain   `json:"certChain"`
		ValidFor  period  `json:"validFor"`
	}
	subject struct {
		CommonName string `json:"commonName"`
	}
	chain struct {
		Certificates []certificate `json:"certificates"`
	}
	certificate struct {
		RawBytes []byte `json:"rawBytes"`
	}
	period struct {
		Start time.Time `json:"start"`
	}
)

// readTrustedRoot says what to trust of what makeSigstorePKI has made.
func readTrustedRoot(dir string) (trustedRoot, error) {
	fulcio, err := readTrustedAuthority("https://"+fulcioHost, filepath.Join(dir, "fulcio.crt"))
	if err != nil {
		return trustedRoot{}, err
	}
	timestamp, err := readTrustedAuthority(timestampURL, filepath.Join(dir, "timestamp.crt"), filepath.Join(dir, "timestamp-ca.crt"))
	if err != nil {
		return trustedRoot{}, err
	}
	// Keys have no time of their own. They were made after Fulcio's certificate.
	rekor, err := readTrustedLog("https://"+rekorHost, filepath.Join(dir, "rekor.pub"), fulcio.ValidFor)
	if err != nil {
		return trustedRoot{}, err
	}
	ctlog, err := readTrustedLog("https://"+ctlogHost+"/"+ctlogPrefix, filepath.Join(dir, "ctlog.pub"), fulcio.ValidFor)
	return trustedRoot{
		MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		Tlogs:     []trustedLog{rekor}, CertificateAuthorities: []trustedAuthority{fulcio},
		Ctlogs: []trustedLog{ctlog}, TimestampAuthorities: []trustedAuthority{timestamp},
	}, err
}

func readTrustedAuthority(url string, paths ...string) (trustedAuthority, error) {
	made := trustedAuthority{URI: url}
	for _, path := range paths {
		der, err := readPEM(path)
		if err != nil {
			return made, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return made, fmt.Errorf("parsing %s: %w", path, err)
		}
		made.CertChain.Certificates = append(made.CertChain.Certificates, certificate{RawBytes: der})
		made.Subject.CommonName, made.ValidFor.Start = cert.Subject.CommonName, cert.NotBefore
	}
	return made, nil
}

func readTrustedLog(url, path string, valid period) (trustedLog, error) {
	der, err := readPEM(path)
	if err != nil {
		return trustedLog{}, err
	}
	id := sha256.Sum256(der)
	return trustedLog{
		BaseURL: url, HashAlgorithm: "SHA2_256", LogID: logID{KeyID: id[:]},
		PublicKey: trustedKey{RawBytes: der, KeyDetails: "PKIX_ECDSA_P256_SHA_256", ValidFor: valid},
	}, nil
}

// signingConfig says where to sign, since the trusted root says whom to trust.
func signingConfig(valid period) any {
	service := func(url string) []map[string]any {
		return []map[string]any{{"url": url, "majorApiVersion": 1, "operator": "basewright.test", "validFor": valid}}
	}
	anyOf := map[string]string{"selector": "ANY"}
	return map[string]any{
		"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
		"caUrls":    service("https://" + fulcioHost),
		"oidcUrls":  service(issuerURL), "rekorTlogUrls": service("https://" + rekorHost), "rekorTlogConfig": anyOf,
		"tsaUrls": service(timestampURL), "tsaConfig": anyOf,
	}
}

// sigstoreFiles are the files for clients.
func sigstoreFiles(dir string) (map[string][]byte, error) {
	root, err := readTrustedRoot(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	// For programs that take each of these by itself, which cosign 2 does for attestations in tags.
	for _, name := range []string{"fulcio.crt", "rekor.pub", "ctlog.pub"} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	for name, value := range map[string]any{
		"trusted_root.json": root, "signing_config.json": signingConfig(root.CertificateAuthorities[0].ValidFor),
	} {
		content, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		files[name] = append(content, '\n')
	}
	return files, nil
}
