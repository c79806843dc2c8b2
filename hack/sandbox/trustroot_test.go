//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

func TestTrustedRootIsWhatTheServersSignWith(t *testing.T) {
	dir := t.TempDir()
	if err := makeSigstorePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	files, err := sigstoreFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := root.NewTrustedRootFromJSON(files["trusted_root.json"])
	if err != nil {
		t.Fatal(err)
	}
	fulcio := parsed(t, filepath.Join(dir, "fulcio.crt"))
	if cas := trusted.FulcioCertificateAuthorities(); len(cas) != 1 || !cas[0].(*root.FulcioCertificateAuthority).Root.Equal(fulcio) {
		t.Errorf("got %+v", cas)
	}
	tsas := trusted.TimestampingAuthorities()
	if len(tsas) != 1 {
		t.Fatalf("got %+v", tsas)
	}
	tsa := tsas[0].(*root.SigstoreTimestampingAuthority)
	if !tsa.Leaf.Equal(parsed(t, filepath.Join(dir, "timestamp.crt"))) || !tsa.Root.Equal(parsed(t, filepath.Join(dir, "timestamp-ca.crt"))) {
		t.Errorf("got %+v", tsa)
	}
	for log, got := range map[string]map[string]*root.TransparencyLog{"rekor": trusted.RekorLogs(), "ctlog": trusted.CTLogs()} {
		der, err := readPEM(filepath.Join(dir, log+".key"))
		if err != nil {
			t.Fatal(err)
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range got {
			if !key.(*ecdsa.PrivateKey).PublicKey.Equal(entry.PublicKey) || !entry.ValidityPeriodStart.Before(time.Now()) {
				t.Errorf("%s: got %+v", log, entry)
			}
		}
		if len(got) != 1 {
			t.Errorf("%s: there are %d", log, len(got))
		}
	}
	config, err := root.NewSigningConfigFromJSON(files["signing_config.json"])
	if err != nil {
		t.Fatal(err)
	}
	if got := config.TimestampAuthorityURLs(); len(got) != 1 || got[0].URL != timestampURL {
		t.Errorf("got %+v", got)
	}
}

func TestATimestampAuthorityMayDoNothingElse(t *testing.T) {
	dir := t.TempDir()
	if err := makeSigstorePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	cert, ca := parsed(t, filepath.Join(dir, "timestamp.crt")), x509.NewCertPool()
	ca.AddCert(parsed(t, filepath.Join(dir, "timestamp-ca.crt")))
	for usage, want := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageTimeStamping: true, x509.ExtKeyUsageServerAuth: false} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{usage}}); (err == nil) != want {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
}

func TestTheUseOfATimestampCertificateIsCritical(t *testing.T) {
	dir := t.TempDir()
	if err := makeSigstorePKI(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(parsed(t, filepath.Join(dir, "timestamp.crt")).Extensions, func(e pkix.Extension) bool {
		return e.Critical && e.Id.String() == "2.5.29.37"
	}) {
		t.Error("RFC 3161 wants it to be")
	}
}

func TestASecondStartChangesNothingThatIsTrusted(t *testing.T) {
	dir := t.TempDir()
	var before map[string][]byte
	for range 2 {
		if err := makeSigstorePKI(dir, time.Now()); err != nil {
			t.Fatal(err)
		}
		files, err := sigstoreFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !maps.EqualFunc(before, files, bytes.Equal) {
			t.Error("the files differ")
		}
		before = files
	}
}

func parsed(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	der, err := readPEM(path)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
