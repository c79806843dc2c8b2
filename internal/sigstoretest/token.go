package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// claims of a token of a ServiceAccount.
type claims struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Audience   string `json:"aud"`
	Expires    int64  `json:"exp"`
	Kubernetes struct {
		Namespace      string `json:"namespace"`
		ServiceAccount struct {
			Name string `json:"name"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// identity is what the certificate will have as its subject alternative name.
func (c claims) identity() string {
	return Identity(c.Kubernetes.Namespace, c.Kubernetes.ServiceAccount.Name)
}

// Identity of a ServiceAccount in certificates.
func Identity(namespace, name string) string {
	return "https://kubernetes.io/namespaces/" + namespace + "/serviceaccounts/" + name
}

// Token is what a cluster with that issuer gives for a ServiceAccount. Fulcio takes tokens of any issuer, if they are
// from here.
func (s *Sigstore) Token(issuer, namespace, name string) string {
	c := claims{Issuer: issuer, Subject: "system:serviceaccount:" + namespace + ":" + name, Audience: "sigstore", Expires: time.Now().Add(10 * time.Minute).Unix()}
	c.Kubernetes.Namespace, c.Kubernetes.ServiceAccount.Name = namespace, name
	signed := segment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + segment(must(json.Marshal(c)))
	sum := sha256.Sum256([]byte(signed))
	return signed + "." + segment(must(ecdsa.SignASN1(rand.Reader, s.tokens, sum[:])))
}

func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func parseToken(token string, key *ecdsa.PublicKey) (claims, error) {
	signed, signature, _ := cutLast(token)
	sum := sha256.Sum256([]byte(signed))
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ecdsa.VerifyASN1(key, sum[:], raw) {
		return claims{}, errors.New("the token is not from here")
	}
	_, payload, _ := strings.Cut(signed, ".")
	var c claims
	raw, err = base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return claims{}, err
	}
	return c, json.Unmarshal(raw, &c)
}

func cutLast(s string) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
