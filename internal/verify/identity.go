package verify

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
)

// Identity is who may have signed. A subject means nothing without its issuer: two clusters have the same ServiceAccounts.
// Of each pair exactly one is set.
type Identity struct {
	// Issuer of the token that the certificate was given for, exactly.
	Issuer string
	// IssuerRegExp matches the whole issuer: it is compiled as ^(?:…)$.
	IssuerRegExp string
	// Subject is the certificate's subject alternative name, exactly.
	Subject string
	// SubjectRegExp matches the whole subject: it is compiled as ^(?:…)$.
	SubjectRegExp string
}

func (i Identity) String() string {
	return describe(i.Subject, i.SubjectRegExp) + " of issuer " + describe(i.Issuer, i.IssuerRegExp)
}

func describe(exact, expression string) string {
	if expression != "" {
		return "/" + expression + "/"
	}
	return fmt.Sprintf("%q", exact)
}

func compileAll(identities []Identity) ([]sigstore.PolicyOption, error) {
	if len(identities) == 0 {
		return nil, errors.New("identities: name at least one identity that may have signed")
	}
	out := make([]sigstore.PolicyOption, 0, len(identities))
	for i, identity := range identities {
		compiled, err := identity.compile()
		if err != nil {
			return nil, fmt.Errorf("identities[%d].%w", i, err)
		}
		out = append(out, sigstore.WithCertificateIdentity(compiled))
	}
	return out, nil
}

func (i Identity) compile() (sigstore.CertificateIdentity, error) {
	issuer, err := compile("issuer", i.Issuer, i.IssuerRegExp)
	if err != nil {
		return sigstore.CertificateIdentity{}, err
	}
	subject, err := compile("subject", i.Subject, i.SubjectRegExp)
	if err != nil {
		return sigstore.CertificateIdentity{}, err
	}
	return sigstore.NewCertificateIdentity(
		sigstore.SubjectAlternativeNameMatcher{SubjectAlternativeName: i.Subject, Regexp: *subject},
		sigstore.IssuerMatcher{Issuer: i.Issuer, Regexp: *issuer},
		certificate.Extensions{})
}

// compile anchors expression as a whole: ^a|b$ would match all that begins with a. By itself it must be an expression too,
// or it could end the group that it is put into. sigstore-go takes an expression of no characters for none.
func compile(field, exact, expression string) (*regexp.Regexp, error) {
	switch {
	case exact == "" && expression == "":
		return nil, fmt.Errorf("%s: it is empty: set %s or %sRegExp", field, field, field)
	case exact != "" && expression != "":
		return nil, fmt.Errorf("%s: %q is set beside %sRegExp %q: set one of them", field, exact, field, expression)
	case expression == "":
		return &regexp.Regexp{}, nil
	}
	if _, err := regexp.Compile(expression); err != nil {
		return nil, fmt.Errorf("%sRegExp: %q is not a regular expression: %w", field, expression, err)
	}
	anchored, err := regexp.Compile("^(?:" + expression + ")$")
	if err != nil {
		return nil, fmt.Errorf("%sRegExp: %q is not a regular expression inside of ^(?:…)$: %w", field, expression, err)
	}
	return anchored, nil
}

func describeAll(identities []Identity) string {
	all := make([]string, 0, len(identities))
	for _, i := range identities {
		all = append(all, i.String())
	}
	return strings.Join(all, " or ")
}
