package imagepolicy

import (
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// needs are what a policy asks of the trust root. A policy that it can't serve would refuse everything, and look ready.
type needs struct{ keyless, log bool }

// check is silent while there is no trust root: nobody knows yet, and verification says so itself.
func (n needs) check(material func() (root.TrustedMaterial, error)) error {
	if !n.keyless && !n.log {
		return nil
	}
	m, err := material()
	if err != nil || m == nil {
		return nil //nolint:nilerr // A trust root that is not there yet is no fault of the policy.
	}
	logs := len(m.RekorLogs()) > 0
	switch {
	case n.log && !logs:
		return unprovable("a transparency log, which spec.key.transparencyLog asks for", "set it to Ignored, or give the webhook a trust root with a log")
	case !n.keyless:
		return nil
	case len(m.FulcioCertificateAuthorities()) == 0:
		return unprovable("a certificate authority, which identities need", "give the webhook a trust root with one")
	case len(m.CTLogs()) == 0:
		return unprovable("a certificate transparency log, which identities need", "give the webhook a trust root with one")
	case !logs && len(m.TimestampingAuthorities()) == 0:
		return unprovable("a transparency log or a timestamp authority, of which identities need one", "give the webhook a trust root with one")
	}
	return nil
}

func unprovable(what, fix string) error {
	return pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "the trust root lacks %s: %s", what, fix)
}
