//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// validity is long enough that no sandbox outlives its certificates.
const validity = 5 * 365 * 24 * time.Hour

// authority is a certificate authority whose files are in dir.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// identity is a certificate that the authority is asked for.
type identity struct {
	file  string
	name  string
	group string
	hosts []string
	ips   []netip.Addr
}

// identities are who takes part in the cluster. Each component has its own
// name, so that RBAC and the Node authorizer work as they do elsewhere.
var identities = []identity{
	{file: "admin", name: "basewright-admin", group: "system:masters"},
	{file: "apiserver", name: "kube-apiserver", ips: []netip.Addr{nodeAddress, kubeService, netip.MustParseAddr("127.0.0.1")}, hosts: []string{
		kubeHost, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}},
	{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", group: "system:masters"},
	{file: "controller-manager", name: "system:kube-controller-manager"},
	{file: "scheduler", name: "system:kube-scheduler"},
	{file: "proxy", name: "system:kube-proxy"},
	{file: "kubelet", name: "system:node:" + nodeName, group: "system:nodes", hosts: []string{nodeName}, ips: []netip.Addr{nodeAddress}},
	// No pod starts without it, so it can't wait for rules of its own to be applied.
	{file: netpolCommand, name: "basewright-netpol", group: "system:masters"},
	{file: "front", name: registryHost, hosts: []string{registryHost, gitHost, databasesHost, fulcioHost, rekorHost, timestampHost, ctlogHost}, ips: []netip.Addr{nodeAddress}},
}

// makePKI makes the certificates, and the authorities if they are missing.
func makePKI(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	ca, err := openAuthority(dir, "ca", "Basewright sandbox CA", now)
	if err != nil {
		return err
	}
	for _, id := range identities {
		if err := ca.issue(id, now); err != nil {
			return err
		}
	}
	// The aggregation layer trusts the name in a header; its CA must sign
	// nothing else.
	proxies, err := openAuthority(dir, "front-proxy-ca", "Basewright sandbox front proxy CA", now)
	if err != nil {
		return err
	}
	if err := proxies.issue(identity{file: "front-proxy", name: "front-proxy-client"}, now); err != nil {
		return err
	}
	if err := makeSigstorePKI(dir, now); err != nil {
		return err
	}
	return makeTokenKey(filepath.Join(dir, "service-accounts.key"), filepath.Join(dir, "service-accounts.pub"))
}

func openAuthority(dir, file, name string, now time.Time) (authority, error) {
	path := filepath.Join(dir, file)
	if exists(path + ".crt") {
		return readAuthority(dir, path)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("making the key of %s: %w", name, err)
	}
	template := newTemplate(pkix.Name{CommonName: name}, now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = nil
	if err := sign(path, template, template, key, key); err != nil {
		return authority{}, err
	}
	return readAuthority(dir, path)
}

func readAuthority(dir, path string) (authority, error) {
	certificate, err := readPEM(path + ".crt")
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return authority{}, fmt.Errorf("parsing %s.crt: %w", path, err)
	}
	private, err := readPEM(path + ".key")
	if err != nil {
		return authority{}, err
	}
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return authority{}, fmt.Errorf("parsing %s.key: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return authority{}, fmt.Errorf("%s.key cannot sign", path)
	}
	return authority{dir: dir, cert: cert, key: signer}, nil
}

// issue makes a certificate for id. It is made again at every start, so that
// it always fits the program that uses it.
func (a authority) issue(id identity, now time.Time) error {
	path := filepath.Join(a.dir, id.file)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key of %s: %w", id.name, err)
	}
	subject := pkix.Name{CommonName: id.name}
	if id.group != "" {
		subject.Organization = []string{id.group}
	}
	template := newTemplate(subject, now)
	template.DNSNames = id.hosts
	for _, ip := range id.ips {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	return sign(path, template, a.cert, key, a.key)
}

func newTemplate(subject pkix.Name, now time.Time) *x509.Certificate {
	// The clock may be set back a little after this.
	return &x509.Certificate{
		Subject: subject, SerialNumber: randomSerial(),
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

func randomSerial() *big.Int {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes) // never fails: it ends the program instead
	bytes[0] &= 0x7f
	return new(big.Int).SetBytes(bytes)
}

// sign writes path.key and then path.crt: a certificate without its key, after
// a crash, would never be made again.
func sign(path string, template, parent *x509.Certificate, key, signer crypto.Signer) error {
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("signing %s: %w", path, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key of %s: %w", path, err)
	}
	if err := writePEM(path+".key", "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(path+".crt", "CERTIFICATE", certificate, 0o644)
}

// makeTokenKey makes the key that signs ServiceAccount tokens. It is an RSA
// key because every verifier of OIDC tokens knows RS256.
func makeTokenKey(privatePath, publicPath string) error {
	if exists(publicPath) {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the ServiceAccount key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the ServiceAccount key: %w", err)
	}
	if err := writePEM(privatePath, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), 0o600); err != nil {
		return err
	}
	return writePEM(publicPath, "PUBLIC KEY", public, 0o644)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}
