package probe

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// certificate in PEM that is valid until a time.
func certificate(t *testing.T, until time.Time) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	must(t, err)
	return block("CERTIFICATE", der)
}

func block(kind string, der []byte) string {
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: kind, Bytes: der})
	return out.String()
}

func TestCABundle(t *testing.T) {
	const usual = "etc/ssl/certs/ca-certificates.crt"
	valid, expired := certificate(t, now.Add(time.Second)), certificate(t, now.Add(-time.Second))
	// A SEQUENCE that is no certificate that this version of Go knows.
	unknown := block("CERTIFICATE", []byte{0x30, 3, 2, 1, 5})
	named := map[string]string{"SSL_CERT_FILE": "/own.pem"}
	tests := map[string]struct {
		image files
		env   map[string]string
		want  Outcome
		says  string
	}{
		"none, and none is promised":             {files{"etc/passwd": ""}, nil, Absent, "SSL_CERT_FILE is not set"},
		"one that is valid":                      {files{usual: valid}, nil, Passed, "1 certificates in /" + usual + ", 1 unexpired"},
		"another usual place":                    {files{"etc/ssl/cert.pem": valid}, nil, Passed, "/etc/ssl/cert.pem"},
		"a link":                                 {files{usual: "-> bundle", "etc/ssl/certs/bundle": valid}, nil, Passed, ""},
		"comments between certificates":          {files{usual: "# a\n" + valid + "# b\n" + valid}, nil, Passed, "2 certificates"},
		"some have expired":                      {files{usual: expired + valid}, nil, Passed, "2 certificates in /" + usual + ", 1 unexpired"},
		"one that only others know":              {files{usual: unknown + valid}, nil, Passed, "2 certificates"},
		"the one that is promised":               {files{"own.pem": valid, usual: "broken"}, named, Passed, "/own.pem"},
		"a promise that is not kept":             {files{usual: valid}, named, Failed, "SSL_CERT_FILE says /own.pem, which is not there"},
		"a promise that is a link to nothing":    {files{"own.pem": "-> missing"}, named, Failed, "not there"},
		"an empty file":                          {files{usual: ""}, nil, Failed, "no certificate in PEM"},
		"a key in place of certificates":         {files{usual: block("PRIVATE KEY", []byte{0x30, 0})}, nil, Failed, "no certificate in PEM"},
		"one that nobody knows":                  {files{usual: unknown}, nil, Failed, "no certificate in PEM"},
		"DER":                                    {files{usual: "0\x82"}, nil, Failed, "no certificate in PEM"},
		"all have expired":                       {files{usual: expired + expired}, nil, Failed, "all 2 certificates in /" + usual + " have expired"},
		"one is cut":                             {files{usual: valid + valid[:len(valid)-40]}, nil, Failed, "1 of 2 certificates in /" + usual + " are damaged"},
		"one is not base64":                      {files{usual: valid + strings.Replace(valid, "MI", "!!", 1)}, nil, Failed, "damaged"},
		"one has something else inside":          {files{usual: valid + block("CERTIFICATE", []byte("junk"))}, nil, Failed, "damaged"},
		"one goes on after its end":              {files{usual: valid + block("CERTIFICATE", []byte{0x30, 0, 0})}, nil, Failed, "damaged"},
		"a directory":                            {files{usual + "/": ""}, nil, Failed, "is not a regular file"},
		"a FIFO, which would never end":          {files{usual: "fifo"}, nil, Failed, "is not a regular file"},
		"a huge file":                            {files{usual: strings.Repeat(" ", maxBundle+1)}, nil, Failed, "has more than"},
		"the first place decides, as in Go":      {files{usual: "broken", "etc/ssl/cert.pem": valid}, nil, Failed, "/" + usual},
		"a promise that is empty is none at all": {files{}, map[string]string{"SSL_CERT_FILE": ""}, Absent, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			expect(t, machine(t, tt.image, tt.env).caBundle(), tt.want, tt.says)
		})
	}
}

func TestCABundleThatTheUserCannotRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read every file")
	}
	m := machine(t, files{"own.pem": certificate(t, now)}, map[string]string{"SSL_CERT_FILE": "/own.pem"})
	must(t, os.Chmod(m.at("/own.pem"), 0))
	expect(t, m.caBundle(), Failed, "can't read the CA bundle /own.pem: make it readable")
}
