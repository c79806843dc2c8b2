package verify

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
)

func TestOptionsThatCannotBe(t *testing.T) {
	material := func() (root.TrustedMaterial, error) { return newWorld(), nil }
	key := &newKey().PublicKey
	var none *ecdsa.PublicKey
	tests := map[string]struct {
		options Options
		want    string
	}{
		"nobody":                  {Options{Material: material}, "identities"},
		"both":                    {Options{Identities: []Identity{us}, Key: &Key{Public: key}, Material: material}, "beside identities"},
		"no key":                  {Options{Key: &Key{}, Material: material}, "key: "},
		"a key that is nil":       {Options{Key: &Key{Public: none}, Material: material}, "key: "},
		"a private key":           {Options{Key: &Key{Public: newKey()}, Material: material}, "key: "},
		"a key that is no point":  {Options{Key: &Key{Public: &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}}, Material: material}, "key: "}, //nolint:staticcheck // It is meant to be wrong.
		"a short key":             {Options{Key: &Key{Public: ed25519.PublicKey("x")}, Material: material}, "key: "},
		"a log without material":  {Options{Key: &Key{Public: key, Log: true}}, "material"},
		"us without a trust root": {Options{Identities: []Identity{us}}, "material"},
	}
	for desc, tt := range tests {
		if v, err := New(tt.options); v != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v: %v", desc, v, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	public := func(key crypto.PublicKey) string { return block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(key))) }
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	strong := must(rsa.GenerateKey(rand.Reader, 2048))
	large := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8192), big.NewInt(1)), E: 65537}
	private := block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(strong)))
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := public(newKey().Public())
	tests := map[string]struct{ pem, want string }{
		"P-256":                       {pem: good},
		"P-384":                       {pem: public(must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public())},
		"P-521":                       {pem: public(must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public())},
		"Ed25519":                     {pem: public(edwards)},
		"RSA":                         {pem: public(strong.Public())},
		"RSA as openssl writes it":    {pem: block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&strong.PublicKey))},
		"with space around it":        {pem: "\n\n  \n" + good + "\n\n"},
		"P-224":                       {public(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public()), "P-256"},
		"RSA that is weak":            {public(weak.Public()), "2048"},
		"RSA that is slow":            {public(large), "8192"},
		"a private key":               {private, "private key"},
		"a private key of cosign":     {block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte("xyz")), "private key"},
		"a private key after another": {good + private, "private key"},
		"a private key cut off":       {private[:200], "private key"},
		"two keys":                    {good + good, "exactly one"},
		"something behind it":         {good + "x", "exactly one"},
		"a certificate":               {block("CERTIFICATE", []byte("x")), "certificate"},
		"another block":               {block("PGP PUBLIC KEY BLOCK", []byte("x")), "PGP"},
		"no key in it":                {block("PUBLIC KEY", []byte("x")), "no public key"},
		"not PEM":                     {"ssh-ed25519 AAAA", "PEM"},
		"nothing":                     {"", "PEM"},
		"too much":                    {strings.Repeat(" ", maxPEM) + good, "bytes"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			key, err := ParseKey([]byte(tt.pem))
			if tt.want == "" {
				if err != nil || key == nil {
					t.Errorf("got %v: %v", key, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v: %v", key, err)
			}
			if lines := strings.Split(tt.pem, "\n"); len(lines) > 1 && strings.Contains(err.Error(), lines[1]) {
				t.Errorf("the content is repeated: %v", err)
			}
		})
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(newKey().Public()))}))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		key, err := ParseKey(raw)
		if err == nil {
			if _, err := newTrustedKey(Key{Public: key}); err != nil {
				t.Error(err)
			}
		}
	})
}
