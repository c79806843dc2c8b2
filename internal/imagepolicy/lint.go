package imagepolicy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
)

// maxShown is how much of a value a message has.
const maxShown = 200

// warnings about what is good and looks unintended.
type warnings []string

func (w *warnings) add(at *field.Path, format string, args ...any) {
	*w = append(*w, truncate(at.String()+": "+fmt.Sprintf(format, args...), maxProblem))
}

// bounded has each once, and says if there are more than a status takes.
func (w warnings) bounded() []string {
	out := make([]string, 0, min(len(w), maxWarnings))
	for i, text := range w {
		if slices.Contains(w[:i], text) {
			continue
		}
		if len(out) == maxWarnings-1 && i < len(w)-1 {
			return append(out, fmt.Sprintf("there are %d more warnings", len(w)-i))
		}
		out = append(out, text)
	}
	return out
}

// lint looks at what a policy says, whether it compiles or not.
func (c *compiler) lint() []string {
	var w warnings
	for i, pattern := range c.spec.Images {
		if glob, err := imageglob.Compile(pattern); err == nil {
			for _, text := range glob.Lint() {
				w.add(specPath.Child("images").Index(i), "%s", text)
			}
		}
	}
	w.identities(specPath.Child("identities"), c.spec.Identities)
	for i, a := range c.spec.Attestations {
		at := specPath.Child("attestations").Index(i)
		w.identities(at.Child("identities"), a.Identities)
		w.predicateType(at.Child("predicateType"), a.PredicateType)
	}
	for i, e := range c.spec.Exceptions {
		if !c.in.Now.IsZero() && !e.Expires.IsZero() && !c.in.Now.Before(e.Expires.Time) {
			w.add(specPath.Child("exceptions").Index(i), "the exception for %s has expired, and counts no more: remove it", e.Digest)
		}
	}
	return w.bounded()
}

func (w *warnings) identities(at *field.Path, identities []v1alpha1.SigningIdentity) {
	for i, identity := range identities {
		at := at.Index(i)
		switch {
		case identity.IssuerRegExp != "":
			w.expression(at.Child("issuerRegExp"), identity.IssuerRegExp, "any issuer may vouch for any subject: write the issuer exactly, as issuer")
		default:
			w.exact(at.Child("issuer"), identity.Issuer)
			w.issuer(at.Child("issuer"), identity.Issuer)
		}
		if identity.SubjectRegExp != "" {
			w.expression(at.Child("subjectRegExp"), identity.SubjectRegExp, "whoever the issuer knows may sign: say who, as subject")
			continue
		}
		w.exact(at.Child("subject"), identity.Subject)
	}
}

func (w *warnings) issuer(at *field.Path, issuer string) {
	if strings.HasPrefix(strings.ToLower(issuer), "http://") {
		w.add(at, "%q has no TLS: who is between it and Fulcio may sign as anybody: use an issuer with https://", truncate(issuer, maxShown))
	}
}

// exact values have no wildcards.
func (w *warnings) exact(at *field.Path, value string) {
	if strings.Contains(value, "*") {
		w.add(at, "%q is compared exactly, * stands for itself: write %sRegExp for an expression", truncate(value, maxShown), strings.TrimPrefix(at.String()[strings.LastIndex(at.String(), "."):], "."))
	}
}

// shortTypes are names that cosign has for predicate types.
var shortTypes = map[string]string{
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"link":             "https://in-toto.io/Link/v1",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
	"openvex":          "https://openvex.dev/ns",
}

func (w *warnings) predicateType(at *field.Path, name string) {
	if uri, ok := shortTypes[name]; ok {
		w.add(at, "%q is cosign's short name, and compared exactly here: write %s", name, uri)
	}
}
