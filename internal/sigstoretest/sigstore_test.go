package sigstoretest

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

const issuer = "https://cluster.example"

// signed is what Sigstore's own library makes with s.
func signed(t *testing.T, s *Sigstore, content sign.Content) (*protobundle.Bundle, error) {
	t.Helper()
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		t.Fatal(err)
	}
	return sign.Bundle(content, key, sign.BundleOptions{
		CertificateProvider:        sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.Fulcio.URL}),
		CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: s.Token(issuer, "ns", "signer")},
		TransparencyLogs:           []sign.Transparency{sign.NewRekor(&sign.RekorOptions{BaseURL: s.Rekor.URL})},
		TimestampAuthorities:       []*sign.TimestampAuthority{sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: s.Timestamp.URL})},
		Context:                    t.Context(),
	})
}

// check verifies all that there is to verify.
func check(t *testing.T, material root.TrustedMaterial, b *protobundle.Bundle, identity string) error {
	t.Helper()
	v, err := verify.NewVerifier(material, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1),
		verify.WithSignedTimestamps(1), verify.WithIntegratedTimestamps(1))
	if err != nil {
		t.Fatal(err)
	}
	who, err := verify.NewShortCertificateIdentity(issuer, "", identity, "")
	if err != nil {
		t.Fatal(err)
	}
	entity, err := bundle.NewBundle(b)
	if err != nil {
		return err
	}
	artifact := verify.WithoutArtifactUnsafe()
	if b.GetMessageSignature() != nil {
		artifact = verify.WithArtifact(strings.NewReader("hello"))
	}
	_, err = v.Verify(entity, verify.NewPolicy(artifact, verify.WithCertificateIdentity(who)))
	return err
}

var contents = map[string]sign.Content{
	"a message":   &sign.PlainData{Data: []byte("hello")},
	"a statement": &sign.DSSEData{Data: []byte(`{"_type":"https://in-toto.io/Statement/v1"}`), PayloadType: "application/vnd.in-toto+json"},
}

func TestWhatIsSignedHereVerifies(t *testing.T) {
	s := New(t)
	for desc, content := range contents {
		t.Run(desc, func(t *testing.T) {
			for range 5 { // Trees of several shapes.
				b, err := signed(t, s, content)
				if err != nil {
					t.Fatal(err)
				}
				if err := check(t, s.TrustedRoot(), b, Identity("ns", "signer")); err != nil {
					t.Error(err)
				}
				if check(t, s.TrustedRoot(), b, Identity("ns", "other")) == nil {
					t.Error("it verifies for another identity")
				}
				if check(t, New(t).TrustedRoot(), b, Identity("ns", "signer")) == nil {
					t.Error("it verifies with another trust root")
				}
			}
		})
	}
	if f, k, ts := s.Fulcio.Requests(), s.Rekor.Requests(), s.Timestamp.Requests(); f != 10 || k != 10 || ts != 10 || s.Rekor.Entries() != 10 {
		t.Errorf("counted %d, %d and %d requests, %d entries", f, k, ts, s.Rekor.Entries())
	}
}

func TestForgeriesDoNotVerify(t *testing.T) {
	s := New(t)
	services := map[string]*Service{"Fulcio": &s.Fulcio.Service, "Rekor": &s.Rekor.Service, "the authority": &s.Timestamp.Service}
	for desc, tt := range map[string]struct {
		service string
		fault   Fault
	}{
		"a certificate of another authority": {"Fulcio", OtherAuthority},
		"a certificate for another key":      {"Fulcio", OtherKey},
		"a certificate for another identity": {"Fulcio", OtherIdentity},
		"a certificate without SCT":          {"Fulcio", WithoutSCT},
		"a certificate of another CT log":    {"Fulcio", OtherLog},
		"an entry of another log":            {"Rekor", OtherLog},
		"another entry":                      {"Rekor", OtherEntry},
		"a wrong proof":                      {"Rekor", WrongProof},
		"a timestamp of another authority":   {"the authority", OtherAuthority},
		"a timestamp of something else":      {"the authority", OtherImprint},
	} {
		t.Run(desc, func(t *testing.T) {
			services[tt.service].FailTimes(tt.fault, 1)
			b, err := signed(t, s, contents["a statement"])
			if err == nil {
				err = check(t, s.TrustedRoot(), b, Identity("ns", "signer"))
			}
			if err == nil {
				t.Error("it verifies")
			}
			if b, err = signed(t, s, contents["a statement"]); err != nil || check(t, s.TrustedRoot(), b, Identity("ns", "signer")) != nil {
				t.Errorf("after that, nothing verifies: %v", err)
			}
		})
	}
}

func TestServicesFail(t *testing.T) {
	s := New(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for fault, want := range map[Fault]int{Down: 0, Unavailable: 503, Throttles: 429, Refuses: 400, Redirects: 307, Babbles: 200, Empty: 200, Works: 400} {
		for name, service := range map[string]*Service{"/api/v2/signingCert": &s.Fulcio.Service, "/api/v1/log/entries": &s.Rekor.Service, "/": &s.Timestamp.Service} {
			service.Fail(fault)
			resp, err := client.Post(service.URL+name, "text/plain", strings.NewReader("?"))
			status := 0
			if err == nil {
				status = resp.StatusCode
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if status != want {
				t.Errorf("%s %s: got %d (%v), want %d", name, fault, status, err, want)
			}
		}
	}
}

func TestOnlyTokensFromHereAreTaken(t *testing.T) {
	s, other := New(t), New(t)
	for desc, token := range map[string]string{
		"of another":      other.Token(issuer, "ns", "signer"),
		"none":            "",
		"a changed claim": strings.Replace(s.Token(issuer, "ns", "signer"), ".", ".e30", 1),
	} {
		if _, err := parseToken(token, s.Fulcio.tokens); err == nil {
			t.Errorf("%s: it was taken", desc)
		}
	}
	c, err := parseToken(s.Token(issuer, "ns", "signer"), s.Fulcio.tokens)
	if err != nil || c.Issuer != issuer || c.identity() != "https://kubernetes.io/namespaces/ns/serviceaccounts/signer" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestProofsOfTheTree(t *testing.T) {
	var leaves [][]byte
	for i := range 17 {
		leaves = append(leaves, leafHash([]byte{byte(i)}))
		for at := range leaves {
			err := merkle.VerifyInclusion(rfc6962.DefaultHasher, uint64(at), uint64(len(leaves)), leaves[at], auditPath(at, leaves), treeHash(leaves))
			if err != nil {
				t.Errorf("leaf %d of %d: %v", at, len(leaves), err)
			}
		}
	}
}

func TestTheTrustRootSurvivesItsFile(t *testing.T) {
	s := New(t)
	again, err := root.NewTrustedRootFromJSON(s.TrustedRootJSON())
	if err != nil || len(again.RekorLogs()) != 1 || len(again.CTLogs()) != 1 || len(again.FulcioCertificateAuthorities()) != 1 || len(again.TimestampingAuthorities()) != 1 {
		t.Errorf("got %+v, %v", again, err)
	}
}

func TestEntriesOfThePast(t *testing.T) {
	s := New(t)
	past := time.Now().Add(-time.Hour).Truncate(time.Second)
	entry, err := s.Rekor.Enter(someEntry(), past, WithoutPromise)
	if err != nil || entry.IntegratedTime != past.Unix() || entry.Verification.SignedEntryTimestamp != nil || entry.LogIndex != firstIndex {
		t.Errorf("got %+v, %v", entry, err)
	}
	id := hex.EncodeToString(leafHash(must(base64.StdEncoding.DecodeString(entry.Body))))
	if entry.Verification.InclusionProof.RootHash != id {
		t.Errorf("the root of a tree with one leaf is not that leaf: %+v", entry)
	}
	forged := strings.Replace(string(someEntry()), `"value":"`, `"value":"00`, 1)
	if _, err := s.Rekor.Enter([]byte(forged), past, Works); err == nil {
		t.Error("an entry whose signature does not verify was entered")
	}
	chain := s.Fulcio.Certify(CertificateRequest{Identity: Identity("a", "b"), Issuer: issuer, Key: newKey().Public(), NotBefore: past})
	if !chain[0].NotBefore.Equal(past) || !chain[0].NotAfter.Equal(past.Add(10*time.Minute)) {
		t.Errorf("the certificate is valid from %s until %s", chain[0].NotBefore, chain[0].NotAfter)
	}
}

func TestTimestampsWithTheirCertificate(t *testing.T) {
	s := New(t)
	sum := sha256.Sum256([]byte("hello"))
	raw := s.Timestamp.respond(&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Certificates: true}, Works)
	stamp, err := timestamp.ParseResponse(raw)
	if err != nil || len(stamp.Certificates) != 1 || stamp.Certificates[0].KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("got %+v, %v", stamp, err)
	}
	if _, err := json.Marshal(s.TrustedRoot()); err != nil {
		t.Error(err)
	}
}
