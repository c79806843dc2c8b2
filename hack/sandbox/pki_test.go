//go:build linux

package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPKI(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := makePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for file, name := range map[string]string{"front": gitHost, "apiserver": kubeHost, "kubelet": nodeName} {
		if err := verify(filepath.Join(dir, file+".crt"), name, roots); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for _, host := range sandboxHosts {
		// The apiserver has its own.
		if err := verify(filepath.Join(dir, "front.crt"), host, roots); (err == nil) == (host == kubeHost) {
			t.Errorf("the front as %s: %v", host, err)
		}
	}
	if err := makePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || !bytes.Equal(again, ca) {
		t.Errorf("the second start changed the CA, or %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key is %v, %v", info, err)
	}
}

func verify(path, name string, roots *x509.CertPool) error {
	der, err := readPEM(path)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	_, err = cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
	return err
}
