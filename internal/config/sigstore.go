package config

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const (
	// PublicGoodTUF is the TUF repository of Sigstore's public good instance.
	PublicGoodTUF = "https://tuf-repo-cdn.sigstore.dev"
	// publicGoodDomain has all services that the public good instance's trust root knows.
	publicGoodDomain = "sigstore.dev"

	maxAudience = 256
	maxPath     = 4096
)

// Sigstore signs images and attestations, and is what they are verified by. Its services are reached by the rules of
// Registries.
type Sigstore struct {
	// FulcioURL of the certificate authority. Default: https://fulcio.sigstore.dev.
	FulcioURL string `json:"fulcioURL"`
	// RekorURL of the transparency log. Empty: no log; TimestampURL is required then. Default: https://rekor.sigstore.dev.
	RekorURL string `json:"rekorURL"`
	// TimestampURL of a timestamp authority (RFC 3161), such as https://timestamp.sigstore.dev/api/v1/timestamp. Default: none.
	TimestampURL string `json:"timestampURL"`
	TrustRoot    `json:",inline"`
	// Formats in which signatures are written: Legacy, Bundle. Default: both.
	Formats []v1alpha1.SignatureFormat `json:"formats"`
	// Audience of the identity token, which Fulcio asks for. Default: sigstore.
	Audience string `json:"audience"`
	// ServiceAccount whose identity signs.
	ServiceAccount ServiceAccount `json:"serviceAccount"`
}

// TrustRoot is where that comes from which signatures are verified by.
type TrustRoot struct {
	// TrustedRootFile is a trusted_root.json in the program's container, which is read again when it changes.
	// Default: the trust root comes over TUF.
	TrustedRootFile string `json:"trustedRootFile"`
	// TUF is where the trust root comes from unless TrustedRootFile is set.
	TUF TUF `json:"tuf"`
}

// TUF is a repository of The Update Framework that has a trusted_root.json.
type TUF struct {
	// Mirror is its URL. Default: https://tuf-repo-cdn.sigstore.dev.
	Mirror string `json:"mirror"`
	// RootFile is its root.json in the program's container. Default: that of the public good instance.
	RootFile string `json:"rootFile"`
}

// ServiceAccount by its name.
type ServiceAccount struct {
	// Namespace of it. Default: basewright-system.
	Namespace string `json:"namespace"`
	// Name of it. Default: basewright-signer.
	Name string `json:"name"`
}

func publicGood() Sigstore {
	return Sigstore{
		FulcioURL:      "https://fulcio.sigstore.dev",
		RekorURL:       "https://rekor.sigstore.dev",
		TrustRoot:      publicTrust(),
		Formats:        []v1alpha1.SignatureFormat{v1alpha1.FormatLegacy, v1alpha1.FormatBundle},
		Audience:       "sigstore",
		ServiceAccount: ServiceAccount{Namespace: "basewright-system", Name: "basewright-signer"},
	}
}

func publicTrust() TrustRoot { return TrustRoot{TUF: TUF{Mirror: PublicGoodTUF}} }

func (s Sigstore) validate(f *findings, at *path) {
	s.validateServices(f, at)
	s.TrustRoot.validate(f, at)
	if s.TrustRoot == publicTrust() {
		s.validatePublic(f, at)
	}
	validateFormats(f, at.child("formats"), s.Formats)
	validateAudience(f, at.child("audience"), s.Audience)
	account := at.child("serviceAccount")
	validateName(f, account.child("namespace"), s.ServiceAccount.Namespace, "namespace", validation.IsDNS1123Label)
	validateName(f, account.child("name"), s.ServiceAccount.Name, "ServiceAccount", validation.IsDNS1123Subdomain)
}

func (s Sigstore) validateServices(f *findings, at *path) {
	validateURL(f, at.child("fulcioURL"), s.FulcioURL, "https://host")
	if s.RekorURL != "" {
		validateURL(f, at.child("rekorURL"), s.RekorURL, "https://host")
	}
	switch {
	case s.TimestampURL != "":
		validateURL(f, at.child("timestampURL"), s.TimestampURL, "https://host/path")
	case s.RekorURL == "":
		f.invalid(at.child("timestampURL"), "is required if rekorURL is empty: without either, nothing says when an image was signed")
	}
}

func (t TrustRoot) validate(f *findings, at *path) {
	tuf := at.child("tuf")
	validateFile(f, at.child("trustedRootFile"), t.TrustedRootFile)
	validateURL(f, tuf.child("mirror"), t.TUF.Mirror, "https://host/path")
	validateFile(f, tuf.child("rootFile"), t.TUF.RootFile)
	switch {
	case t.TrustedRootFile != "" && t.TUF != publicTrust().TUF:
		f.invalid(tuf, "must be left out if trustedRootFile is set: the trust root comes from one of them")
	case t.TUF.RootFile != "" && t.TUF.Mirror == PublicGoodTUF:
		f.invalid(tuf.child("mirror"), "must be that of the repository that rootFile belongs to")
	}
}

// validatePublic refuses services that the public good instance's trust root does not know: with it, no signature of theirs
// would ever verify.
func (s Sigstore) validatePublic(f *findings, at *path) {
	for _, service := range []struct{ field, url string }{{"fulcioURL", s.FulcioURL}, {"rekorURL", s.RekorURL}, {"timestampURL", s.TimestampURL}} {
		u, err := url.Parse(service.url)
		if err != nil || u.Host == "" {
			continue // Said, or left out.
		}
		if host := strings.ToLower(u.Hostname()); host != publicGoodDomain && !strings.HasSuffix(host, "."+publicGoodDomain) {
			f.invalid(at.child(service.field), "%s is not of Sigstore's public good instance: set trustedRootFile or tuf.mirror to where the trust root of yours is", quoted(service.url))
		}
	}
}

func validateFile(f *findings, at *path, file string) {
	switch {
	case file == "":
	case len(file) > maxPath || strings.ContainsFunc(file, unicode.IsControl):
		f.invalid(at, "%s is not the path of a file", quoted(file))
	case !filepath.IsAbs(file):
		f.invalid(at, "%s must be an absolute path in the container, such as /etc/sigstore/trusted_root.json", quoted(file))
	}
}

func validateFormats(f *findings, at *path, formats []v1alpha1.SignatureFormat) {
	if len(formats) == 0 {
		f.invalid(at, "must have Legacy, Bundle or both")
	}
	for i, format := range formats {
		if format != v1alpha1.FormatLegacy && format != v1alpha1.FormatBundle {
			f.invalid(at.index(i), "%s must be Legacy or Bundle", quoted(string(format)))
		} else if first := slices.Index(formats, format); first < i {
			f.invalid(at.index(i), "%s is that of %s, too", quoted(string(format)), at.index(first))
		}
	}
}

func validateAudience(f *findings, at *path, audience string) {
	switch {
	case audience == "":
		f.invalid(at, "is required")
	case len(audience) > maxAudience:
		f.invalid(at, "has %d bytes, at most %d are allowed", len(audience), maxAudience)
	case strings.ContainsFunc(audience, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }):
		f.invalid(at, "%s has a space or what can't be printed", quoted(audience))
	}
}

func validateName(f *findings, at *path, name, of string, problems func(string) []string) {
	if len(problems(name)) > 0 {
		f.invalid(at, "%s is not the name of a %s", quoted(name), of)
	}
}
