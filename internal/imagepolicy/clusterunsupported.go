package imagepolicy

import (
	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"knative.dev/pkg/apis"
)

// Addresses that policy-controller fills in, or that people write because its examples do. They stand for the trust root.
const (
	publicFulcio = "https://fulcio.sigstore.dev"
	publicRekor  = "https://rekor.sigstore.dev"
)

// unsupported names every field that asks for what we don't do.
func (c *clusterCompiler) unsupported() {
	if len(c.spec.Authorities) == 0 {
		c.required(specPath.Child("authorities"), "name at least one authority: without one, nobody could vouch for an image")
	}
	c.refuse(len(c.spec.Match) > 0, specPath.Child("match"), "all kinds of objects are looked at, whatever their labels: remove it")
	c.refuse(c.spec.Policy != nil, specPath.Child("policy"), "rules over what all authorities found are not supported: put them at attestations, or use an ImageAdmissionPolicy")
	for i := range c.spec.Authorities {
		a, at := &c.spec.Authorities[i], specPath.Child("authorities").Index(i)
		c.refuse(len(a.Sources) > 0, at.Child("source"), "signatures are looked for in the repository of the image alone: remove it")
		c.refuse(a.RFC3161Timestamp != nil, at.Child("rfc3161timestamp"), "timestamp authorities are those of the webhook's trust root: remove it")
		c.refuse(a.SignatureFormat != "" && a.SignatureFormat != "legacy" && a.SignatureFormat != "bundle", at.Child("signatureFormat"), "both formats are looked for, legacy and bundle: remove it")
		if a.CTLog != nil {
			c.address(at.Child("ctlog", "url"), a.CTLog.URL, publicRekor)
			c.refuse(a.CTLog.TrustRootRef != "", at.Child("ctlog", "trustRootRef"), ownTrustRoot)
		}
		if a.Key != nil {
			c.unsupportedKey(at.Child("key"), a.Key)
		}
		if a.Keyless != nil {
			c.unsupportedKeyless(at.Child("keyless"), a.Keyless)
		}
		for j := range a.Attestations {
			c.unsupportedPolicy(at.Child("attestations").Index(j).Child("policy"), a.Attestations[j].Policy)
		}
	}
}

const ownTrustRoot = "the trust root is that of the webhook: configure it there, and remove this"

func (c *clusterCompiler) refuse(present bool, at *field.Path, why string) {
	if present {
		c.forbidden(at, "not supported: %s", why)
	}
}

func (c *clusterCompiler) address(at *field.Path, url *apis.URL, standard string) {
	c.refuse(url != nil && !url.IsEmpty() && url.String() != standard, at, ownTrustRoot)
}

func (c *clusterCompiler) unsupportedKey(at *field.Path, k *v1beta1.KeyRef) {
	c.refuse(k.KMS != "", at.Child("kms"), "nothing is asked of a cloud while a pod is admitted: write the public key as data")
	c.refuse(k.HashAlgorithm != "" && k.HashAlgorithm != "sha256", at.Child("hashAlgorithm"), "digests are of SHA-256: remove it")
	if ref := k.SecretRef; ref != nil {
		c.refuse(ref.Namespace != "" && ref.Namespace != ClusterNamespace, at.Child("secretRef", "namespace"), "the Secrets of these policies are in "+ClusterNamespace+": put it there")
	}
}

func (c *clusterCompiler) unsupportedKeyless(at *field.Path, k *v1beta1.KeylessRef) {
	c.address(at.Child("url"), k.URL, publicFulcio)
	c.refuse(k.CACert != nil, at.Child("ca-cert"), ownTrustRoot)
	c.refuse(k.TrustRootRef != "", at.Child("trustRootRef"), ownTrustRoot)
	c.refuse(k.InsecureIgnoreSCT != nil && *k.InsecureIgnoreSCT, at.Child("insecureIgnoreSCT"), "a certificate that no log has is never taken: remove it")
}

func (c *clusterCompiler) unsupportedPolicy(at *field.Path, p *v1beta1.Policy) {
	if p == nil {
		return
	}
	c.refuse(p.Type != "rego", at.Child("type"), "rules are in Rego: write them so")
	c.refuse(p.Remote != nil, at.Child("remote"), "nothing is fetched: write the rules as data")
	c.refuse(p.ConfigMapRef != nil, at.Child("configMapRef"), "write the rules as data")
	c.refuse(p.FetchConfigFile != nil || p.IncludeSpec != nil || p.IncludeObjectMeta != nil || p.IncludeTypeMeta != nil, at, "an attestation is judged by itself: remove what is beside type and data")
}
