package imagepolicy

import (
	"strings"

	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// authority of a ClusterImagePolicy. One with attestations asks for no signature beside them.
func (c *clusterCompiler) authority(i int) Authority {
	a, at := c.spec.Authorities[i], specPath.Child("authorities").Index(i)
	out := Authority{Name: "authority " + a.Name, AttestationsSuffice: len(a.Attestations) > 0}
	switch {
	case a.Static != nil:
		out.Static = &Static{Pass: a.Static.Action == "pass", Message: truncate(a.Static.Message, maxProblem)}
		if out.Static.Pass {
			c.warnings.add(at.Child("static"), "it lets in every image that the policy is for, signed or not")
		}
		return out
	case a.Key != nil:
		c.key(at, a, &out)
	case a.Keyless != nil:
		c.keyless(at.Child("keyless"), a.Keyless, &out)
	}
	for j := range a.Attestations {
		out.Attestations = append(out.Attestations, c.attestation(at.Child("attestations").Index(j), a.Attestations[j], out))
	}
	return out
}

func (c *clusterCompiler) keyless(at *field.Path, k *v1beta1.KeylessRef, out *Authority) {
	at = at.Child("identities")
	if len(k.Identities) == 0 {
		c.required(at, "name at least one identity that may have signed")
		return
	}
	identities := make([]v1alpha1.SigningIdentity, 0, len(k.Identities))
	for i, identity := range k.Identities {
		identities = append(identities, v1alpha1.SigningIdentity{
			Issuer: identity.Issuer, IssuerRegExp: identity.IssuerRegExp, Subject: identity.Subject, SubjectRegExp: identity.SubjectRegExp,
		})
		c.unanchored(at.Index(i).Child("issuerRegExp"), identity.IssuerRegExp)
		c.unanchored(at.Index(i).Child("subjectRegExp"), identity.SubjectRegExp)
	}
	c.needs.keyless = true
	c.warnings.identities(at, identities)
	out.Verifier = c.identitiesOf(at, identities, c.in.Trust)
	out.Flags = identityFlags(identities)
}

// unanchored tells of what is stricter here. policy-controller takes an expression that is found anywhere in a value, by which
// evil.example/https://github.com/org/ is of that organisation.
func (c *clusterCompiler) unanchored(at *field.Path, expression string) {
	if expression == "" || strings.HasPrefix(expression, "^") && strings.HasSuffix(expression, "$") {
		return
	}
	c.warnings.add(at, "%q has to match the whole value here, and any part of it with policy-controller: write ^…$ around what both are to take", truncate(expression, maxShown))
}

func (c *clusterCompiler) key(at *field.Path, a v1beta1.Authority, out *Authority) {
	source, file := []byte(a.Key.Data), c.in.Object.Name+".pub"
	at = at.Child("key", "data")
	if ref := a.Key.SecretRef; ref != nil && a.Key.Data == "" {
		at = field.NewPath(strings.TrimSuffix(at.String(), "data") + "secretRef")
		source, file = c.in.PublicKeys[ref.Name], ref.Name+".pub"
		if len(source) == 0 {
			c.required(at, "there is no Secret %s with one public key in the namespace %s", ref.Name, ClusterNamespace)
			return
		}
	}
	if len(source) == 0 {
		return // kms, of which unsupported tells.
	}
	log := a.CTLog != nil
	c.needs.log = c.needs.log || log
	_, out.Verifier = c.keyOf(at, source, log, c.in.Trust)
	out.Flags = keyFlags(file, log)
}

func (c *clusterCompiler) attestation(at *field.Path, a v1beta1.Attestation, of Authority) Attestation {
	predicateType := a.PredicateType
	if uri, ok := shortTypes[predicateType]; ok {
		predicateType = uri
	}
	out := Attestation{
		Name: "attestation " + a.Name, PredicateType: predicateType, Verifier: of.Verifier,
		Flags: of.Flags,
	}
	if predicateType == "" {
		c.required(at.Child("predicateType"), "say which statement, for example https://slsa.dev/provenance/v1")
	}
	if a.Policy != nil && a.Policy.Type == "rego" && a.Policy.Data != "" {
		at = at.Child("policy", "data")
		source, err := compliance(a.Policy.Data)
		if err != nil {
			c.forbidden(at, "%v", err)
			return out
		}
		out.Rules = c.statement(at, source)
	}
	return out
}
