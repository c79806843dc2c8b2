package imagepolicy

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

func (c *compiler) keyless() {
	at := specPath.Child("identities")
	if c.spec.Key != nil {
		c.forbidden(specPath.Child("key"), "leave it out unless authority is Key")
	}
	if len(c.spec.Identities) == 0 {
		c.required(at, "name at least one identity that may have signed: without one, anybody's signature would do")
		return
	}
	c.verifier = c.identities(at, c.spec.Identities)
	c.flags = identityFlags(c.spec.Identities)
}

// identitiesOf compiles them one by one, so that each says what is wrong with it.
func (p *problems) identitiesOf(at *field.Path, named []v1alpha1.SigningIdentity, trust Trust) *verify.Verifier {
	before := len(p.list)
	all := make([]verify.Identity, 0, len(named))
	for i, identity := range named {
		all = append(all, verify.Identity(identity))
		if _, err := verify.New(verify.Options{Identities: all[i : i+1], Material: trust.Material, Limits: trust.Limits}); err != nil {
			p.identity(at.Index(i), identity, err)
		}
	}
	if len(p.list) > before {
		return nil
	}
	v, err := verify.New(verify.Options{Identities: all, Material: trust.Material, Limits: trust.Limits})
	if err != nil {
		p.invalid(at, len(all), "%v", err)
	}
	return v
}

// identity tells what verify has to say, of which the beginning is the field.
func (p *problems) identity(at *field.Path, identity v1alpha1.SigningIdentity, err error) {
	name, text, found := strings.Cut(strings.TrimPrefix(err.Error(), "identities[0]."), ": ")
	values := map[string]string{"issuer": identity.Issuer, "issuerRegExp": identity.IssuerRegExp, "subject": identity.Subject, "subjectRegExp": identity.SubjectRegExp}
	value, known := values[name]
	if !found || !known {
		p.invalid(at, "", "%v", err)
		return
	}
	p.invalid(at.Child(name), truncate(value, maxShown), "%s", text)
}

func (c *compiler) identities(at *field.Path, named []v1alpha1.SigningIdentity) *verify.Verifier {
	c.needs.keyless = true
	return c.identitiesOf(at, named, c.in.Trust)
}

// key returns the name that the key has in messages.
func (c *compiler) key() string {
	at := specPath.Child("key")
	if len(c.spec.Identities) > 0 {
		c.forbidden(specPath.Child("identities"), "leave them out if authority is Key: a key has no identity")
	}
	k := c.spec.Key
	if k == nil || (k.PublicKey == "") == (k.SecretRef == nil) {
		c.required(at, "set publicKey or secretRef")
		return ""
	}
	oneOf(c, "key.transparencyLog", k.TransparencyLog, v1alpha1.LogRequired, v1alpha1.LogIgnored)
	source, at, file := []byte(k.PublicKey), at.Child("publicKey"), c.in.Object.Name+".pub"
	if k.SecretRef != nil {
		source, at, file = c.in.PublicKey, specPath.Child("key", "secretRef"), secretFile(*k.SecretRef)
		if len(source) == 0 && c.lenient {
			return ""
		}
	}
	log := k.TransparencyLog != v1alpha1.LogIgnored
	c.undated, c.needs.log = !log, log
	name, verifier := c.keyOf(at, source, log, c.in.Trust)
	c.verifier, c.flags = verifier, keyFlags(file, log)
	return name
}

// keyOf makes the verifier of a key. A value is never told: who pastes a private key must not find it in a log.
func (p *problems) keyOf(at *field.Path, source []byte, log bool, trust Trust) (string, *verify.Verifier) {
	public, err := verify.ParseKey(source)
	if err != nil {
		p.forbidden(at, "%v", err)
		return "", nil
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		p.forbidden(at, "the key can't be written again: %v", err)
		return "", nil
	}
	sum := sha256.Sum256(der)
	name := "key sha256:" + hex.EncodeToString(sum[:8])
	v, err := verify.New(verify.Options{Key: &verify.Key{Public: public, Name: name, Log: log}, Material: trust.Material, Limits: trust.Limits})
	if err != nil {
		p.forbidden(at, "%v", err)
	}
	return name, v
}

// secretFile is how cosign names a key of a Secret; it knows one name of a key only.
func secretFile(ref v1alpha1.KeySecretReference) string {
	if ref.Key == "" || ref.Key == "cosign.pub" {
		return "k8s://basewright-system/" + ref.Name
	}
	return ref.Name + "." + ref.Key
}

func keyFlags(file string, log bool) []string {
	if log {
		return []string{"--key=" + file}
	}
	return []string{"--key=" + file, "--insecure-ignore-tlog=true"}
}

// identityFlags are for cosign, which takes one identity. Of several, what all have in common is exact and the rest an expression: that
// finds the same signatures unless somebody signs with the subject of one and the issuer of another.
func identityFlags(identities []v1alpha1.SigningIdentity) []string {
	subjects, issuers := make([][2]string, 0, len(identities)), make([][2]string, 0, len(identities))
	for _, i := range identities {
		subjects, issuers = append(subjects, [2]string{i.Subject, i.SubjectRegExp}), append(issuers, [2]string{i.Issuer, i.IssuerRegExp})
	}
	return []string{flag("--certificate-identity", subjects), flag("--certificate-oidc-issuer", issuers)}
}

func flag(name string, values [][2]string) string {
	var expressions []string
	same := true
	for _, v := range values {
		same = same && v == values[0]
		expression := v[1]
		if v[0] != "" {
			expression = regexp.QuoteMeta(v[0])
		}
		expressions = append(expressions, expression)
	}
	if same && values[0][0] != "" {
		return name + "=" + values[0][0]
	}
	if same {
		expressions = expressions[:1]
	}
	return name + "-regexp=^(?:" + strings.Join(expressions, "|") + ")$"
}

func (c *compiler) attestation(i int) Attestation {
	required, at := c.spec.Attestations[i], specPath.Child("attestations").Index(i)
	a := Attestation{Name: "attestations[" + itoa(i) + "]", PredicateType: required.PredicateType, Verifier: c.verifier}
	if required.PredicateType == "" {
		c.required(at.Child("predicateType"), "say which statement, for example https://slsa.dev/provenance/v1")
	}
	flags, undated := c.flags, c.undated
	if len(required.Identities) > 0 {
		a.Verifier = c.identities(at.Child("identities"), required.Identities)
		flags, undated = identityFlags(required.Identities), false
	}
	a.Flags = flags
	if required.MaxAge != nil {
		a.MaxAge = required.MaxAge.Duration
		switch {
		case undated:
			c.forbidden(at.Child("maxAge"), "nobody says when a key has signed without the transparency log: set spec.key.transparencyLog to Required, or leave maxAge out")
		case a.MaxAge <= 0:
			c.invalid(at.Child("maxAge"), required.MaxAge.Duration.String(), "it must be more than 0")
		}
	}
	if required.Rego != "" {
		a.Rules = c.statement(at.Child("rego"), required.Rego)
	}
	return a
}

func (p *problems) statement(at *field.Path, source string) *rules.Statement {
	compiled, err := rules.CompileStatement(source)
	if err != nil {
		p.forbidden(at, "%s", without(at, err))
		return nil
	}
	return compiled
}

// without leaves out the name of a field that the error begins with.
func without(at *field.Path, err error) string {
	text := strings.TrimPrefix(err.Error(), at.String()+": ")
	if last := at.String(); strings.Contains(last, ".") {
		text = strings.TrimPrefix(text, last[strings.LastIndex(last, ".")+1:]+": ")
	}
	return text
}
