package verify

import (
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestIdentitiesThatNoVerifierIsMadeFor(t *testing.T) {
	tests := map[string]struct {
		identities []Identity
		names      string
	}{
		"none":                       {nil, "identities"},
		"an empty one":               {[]Identity{{}}, "identities[0].issuer"},
		"an empty one behind a good": {[]Identity{us, {}}, "identities[1].issuer"},
		"a subject alone":            {[]Identity{{Subject: "x"}}, "identities[0].issuer"},
		"an issuer alone":            {[]Identity{{Issuer: "x"}}, "identities[0].subject"},
		"both of an issuer":          {[]Identity{{Issuer: "x", IssuerRegExp: "x", Subject: "x"}}, "issuerRegExp"},
		"both of a subject":          {[]Identity{{Issuer: "x", Subject: "x", SubjectRegExp: "x"}}, "subjectRegExp"},
		"an open bracket":            {[]Identity{{Issuer: "x", SubjectRegExp: "("}}, "identities[0].subjectRegExp"},
		"one that ends its group":    {[]Identity{{IssuerRegExp: "a)|(?:b", Subject: "x"}}, "identities[0].issuerRegExp"},
		"one that quotes its group":  {[]Identity{{IssuerRegExp: `\Qa`, Subject: "x"}}, "identities[0].issuerRegExp"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			v, err := New(Options{Identities: tt.identities, Material: func() (root.TrustedMaterial, error) { return nil, nil }})
			if v != nil || err == nil || !strings.Contains(err.Error(), tt.names) {
				t.Errorf("got %v: %v", v, err)
			}
		})
	}
	if v, err := New(Options{Identities: []Identity{us}}); v != nil || err == nil {
		t.Errorf("without a trust root: got %v", v)
	}
}

func TestIdentities(t *testing.T) {
	w := newWorld()
	s := newStore(t, true)
	f := newForge(w, s.ref.DigestStr())
	f.subject, f.issuer = "https://github.com/org/repo/.github/workflows/a.yml@refs/heads/main", "https://token.example"
	ways["a signature in a bundle"].put(t, s, f)
	tests := map[string]struct {
		identity Identity
		match    bool
	}{
		"both exactly":                     {Identity{Issuer: f.issuer, Subject: f.subject}, true},
		"both as expressions":              {Identity{IssuerRegExp: `https://token\.example`, SubjectRegExp: `https://github\.com/org/.*`}, true},
		"an expression with anchors":       {Identity{Issuer: f.issuer, SubjectRegExp: `^https://github\.com/org/repo/.+$`}, true},
		"a choice":                         {Identity{Issuer: f.issuer, SubjectRegExp: `x|https://github\.com/org/.*`}, true},
		"another issuer":                   {Identity{Issuer: "https://token.example.evil", Subject: f.subject}, false},
		"another issuer's expression":      {Identity{IssuerRegExp: `https://other\..*`, SubjectRegExp: `.*`}, false},
		"another subject's expression":     {Identity{IssuerRegExp: `.*`, SubjectRegExp: `https://github\.com/other/.*`}, false},
		"an expression of its beginning":   {Identity{Issuer: f.issuer, SubjectRegExp: `https://github\.com/org/`}, false},
		"an expression of its end":         {Identity{Issuer: f.issuer, SubjectRegExp: `main`}, false},
		"an expression of its middle":      {Identity{IssuerRegExp: `token`, Subject: f.subject}, false},
		"a choice of beginnings":           {Identity{Issuer: f.issuer, SubjectRegExp: `https://github\.com/org|x`}, false},
		"a choice of ends":                 {Identity{Issuer: f.issuer, SubjectRegExp: `x|main`}, false},
		"a choice of ends, over lines":     {Identity{Issuer: f.issuer, SubjectRegExp: `(?m)^x$|main$`}, false},
		"an issuer's choice of beginnings": {Identity{IssuerRegExp: `https://token|x`, Subject: f.subject}, false},
		"in other letters":                 {Identity{Issuer: strings.ToUpper(f.issuer), Subject: f.subject}, false},
		"one in place of the other":        {Identity{Issuer: f.subject, Subject: f.issuer}, false},
		"an expression taken exactly":      {Identity{Issuer: f.issuer, Subject: `.*`}, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := newVerifier(t, w, limits.Signatures{}, tt.identity).Signatures(t.Context(), s.client, s.ref)
			want := ""
			if !tt.match {
				want = "Terminal " + pipeline.ReasonIdentityMismatch
			}
			if got := fault(err); got != want {
				t.Errorf("got %s: %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), f.subject) || !strings.Contains(err.Error(), f.issuer)) {
				t.Errorf("it is not said who has signed: %v", err)
			}
			if _, err := newVerifier(t, w, limits.Signatures{}, us, tt.identity).Signatures(t.Context(), s.client, s.ref); fault(err) != want {
				t.Errorf("as the second: got %v", err)
			}
		})
	}
}

// Whoever takes every issuer means one that there is.
func TestACertificateWithoutAnIssuerMatchesNothing(t *testing.T) {
	w := newWorld()
	anybody := Identity{IssuerRegExp: `.*`, SubjectRegExp: `.*`}
	for desc, way := range ways {
		s := newStore(t, true)
		way.put(t, s, way.forge(w, s.ref.DigestStr()).with(func(f *forge) { f.issuer = "" }))
		if _, err := way.verify(t.Context(), newVerifier(t, w, limits.Signatures{}, anybody), s); fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
			t.Errorf("%s: got %v", desc, err)
		}
	}
}
