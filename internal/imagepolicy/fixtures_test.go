package imagepolicy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// now is what exceptions expire by.
var now = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// material is a trust root that has, or lacks, what a test says.
type material struct {
	root.BaseTrustedMaterial
	ca, ct, log, tsa bool
}

func (m *material) FulcioCertificateAuthorities() []root.CertificateAuthority {
	if !m.ca {
		return nil
	}
	return []root.CertificateAuthority{&root.FulcioCertificateAuthority{}}
}

func (m *material) CTLogs() map[string]*root.TransparencyLog { return logs(m.ct) }

func (m *material) RekorLogs() map[string]*root.TransparencyLog { return logs(m.log) }

func (m *material) TimestampingAuthorities() []root.TimestampingAuthority {
	if !m.tsa {
		return nil
	}
	return []root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{}}
}

func logs(there bool) map[string]*root.TransparencyLog {
	if !there {
		return nil
	}
	return map[string]*root.TransparencyLog{"log": {}}
}

func trusting(m material) Trust {
	return Trust{Material: func() (root.TrustedMaterial, error) { return &m, nil }}
}

var complete = trusting(material{ca: true, ct: true, log: true})

// good is a policy of which tests change one thing.
func good() *v1alpha1.ImageAdmissionPolicy {
	return &v1alpha1.ImageAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "team", Generation: 3},
		Spec: v1alpha1.ImageAdmissionPolicySpec{
			Images:     []string{"registry.example/team/**"},
			Identities: []v1alpha1.SigningIdentity{{Issuer: "https://issuer.example", Subject: "https://git.example/team/x@refs/heads/main"}},
		},
	}
}

func changed(changes ...func(*v1alpha1.ImageAdmissionPolicySpec)) *v1alpha1.ImageAdmissionPolicy {
	o := good()
	for _, change := range changes {
		change(&o.Spec)
	}
	return o
}

// keyed is a policy with a key in place of identities.
func keyed(key v1alpha1.SigningKey) func(*v1alpha1.ImageAdmissionPolicySpec) {
	return func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Identities, s.Authority, s.Key = nil, v1alpha1.AuthorityKey, &key
	}
}

// publicKey and otherKey are in PEM; privateKey belongs to the first.
var publicKey, privateKey = newKey()
var otherKey, _ = newKey()

func newKey() (public, private string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	encode := func(kind string, der []byte, err error) string {
		if err != nil {
			panic(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	public = encode("PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(k)
	return public, encode("PRIVATE KEY", der, err)
}

func compiled(t *testing.T, in Input) *Policy {
	t.Helper()
	if in.Trust.Material == nil {
		in.Trust = complete
	}
	p, _, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// faults of an error: its reason, and the fields that it blames.
func faults(err error) (reason string, fields []string) {
	terminal, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok {
		return "", nil
	}
	if invalid, ok := errors.AsType[*InvalidError](err); ok {
		for _, problem := range invalid.Fields {
			fields = append(fields, problem.Field)
		}
	}
	slices.Sort(fields)
	return terminal.Reason, fields
}

func named(t testing.TB, repository string) imageglob.Name {
	t.Helper()
	n, err := imageglob.NameOf(repository)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
