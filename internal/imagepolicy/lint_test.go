package imagepolicy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	intoto "github.com/in-toto/in-toto-golang/in_toto"
	slsa02 "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v0.2"
	slsa1 "github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign/attestation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const github = "https://token.actions.githubusercontent.com"

func TestWhatLooksUnintendedIsAWarning(t *testing.T) {
	subject := func(expression string) func(*spec) {
		return func(s *spec) { s.Identities = []v1alpha1.SigningIdentity{{Issuer: github, SubjectRegExp: expression}} }
	}
	issuer := func(expression string) func(*spec) {
		return func(s *spec) { s.Identities = []v1alpha1.SigningIdentity{{IssuerRegExp: expression, Subject: "x"}} }
	}
	const dot, end, begin, everything = "stands for any character", "open end", "open beginning", "matches everything"
	tests := map[string]struct {
		change func(*spec)
		warns  []string
	}{
		"nothing":                          {func(*spec) {}, nil},
		"an expression of one branch":      {subject(`https://github\.com/team/[^/]+/\.github/workflows/release\.yaml@refs/heads/main`), nil},
		"a choice of branches":             {subject(`https://github\.com/team/x/\.github/workflows/a\.yaml@refs/heads/(main|v[0-9]+)`), nil},
		"any version":                      {subject(`https://github\.com/team/x/\.github/workflows/a\.yaml@refs/tags/v[0-9.]+`), nil},
		"a dot in a class":                 {subject(`https://github[.]com/x@refs/heads/main`), nil},
		"an unescaped dot":                 {subject(`https://github.com/team/x@refs/heads/main`), []string{dot}},
		"an unescaped dot in a choice":     {subject(`(?:a|https://github.com/x)@refs/heads/main`), []string{dot}},
		"an open end":                      {subject(`https://github\.com/team/.*`), []string{end}},
		"an open end that is not empty":    {subject(`https://github\.com/team/.+`), []string{end}},
		"an open end behind an anchor":     {subject(`^https://github\.com/team/.*$`), []string{end}},
		"an open end in a group":           {subject(`https://github\.com/team/(x@.*)`), []string{end}},
		"an open end of a choice":          {subject(`a@b|https://github\.com/team/.*`), []string{end}},
		"an open end without dots":         {subject(`https://github\.com/team/[^@]*`), []string{end}},
		"an open end that is counted":      {subject(`https://github\.com/team/.{3,}`), []string{end}},
		"a last segment":                   {subject(`https://github\.com/team/x@refs/heads/[^/]+`), nil},
		"an open beginning":                {subject(`.*@example\.com`), []string{begin}},
		"an open beginning and end":        {subject(`.*team.*`), []string{begin, end}},
		"a dot and an open end":            {subject(`https://github.com/team/.*`), []string{dot, end}},
		"any subject":                      {subject(`.*`), []string{everything}},
		"any subject, in other words":      {subject(`(?s)(?:a|.+)`), []string{everything}},
		"any subject, in a class":          {subject(`[\s\S]*`), []string{everything}},
		"any issuer":                       {issuer(`.*`), []string{"any issuer may vouch"}},
		"an issuer with a dot":             {issuer(`https://token.actions\.example`), []string{dot}},
		"an issuer with an open end":       {issuer(`https://token\.example.*`), []string{end}},
		"an issuer without TLS":            {func(s *spec) { s.Identities[0].Issuer = "http://issuer.example" }, []string{"has no TLS"}},
		"an exact subject with a wildcard": {func(s *spec) { s.Identities[0].Subject = "https://github.com/team/*" }, []string{"compared exactly"}},
		"an exact issuer with a wildcard":  {func(s *spec) { s.Identities[0].Issuer = "https://*.example" }, []string{"write issuerRegExp"}},
		"an identity of an attestation": {func(s *spec) {
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", Identities: []v1alpha1.SigningIdentity{{Issuer: github, SubjectRegExp: ".*"}}}}
		}, []string{"spec.attestations[0].identities[0].subjectRegExp"}},
		"a short name of a type":        {func(s *spec) { s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "slsaprovenance1"}} }, []string{"write https://slsa.dev/provenance/v1"}},
		"a glob of other organisations": {func(s *spec) { s.Images = []string{"ghcr.io/**"} }, []string{"spec.images[0]: "}},
		"an exception that has expired": {func(s *spec) { s.Exceptions = []v1alpha1.ImageException{exception(now)} }, []string{"has expired"}},
		"an exception that counts":      {func(s *spec) { s.Exceptions = []v1alpha1.ImageException{exception(now.Add(time.Second))} }, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p, got, err := Compile(Input{Object: changed(tt.change), Trust: complete, Now: now})
			if err != nil || p == nil || len(got) != len(tt.warns) {
				t.Fatalf("got %q (%v)", got, err)
			}
			for _, text := range tt.warns {
				if !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, text) }) {
					t.Errorf("nothing says %q: %q", text, got)
				}
			}
		})
	}
}

func exception(expires time.Time) v1alpha1.ImageException {
	return v1alpha1.ImageException{Digest: digestA, Namespaces: []string{"x"}, Reason: "y", Expires: metav1.Time{Time: expires}}
}

func TestWarningsAreBounded(t *testing.T) {
	o := changed(func(s *spec) {
		for range 32 {
			s.Identities = append(s.Identities, v1alpha1.SigningIdentity{Issuer: github, SubjectRegExp: strings.Repeat("é", 1000) + ".*"})
		}
		s.Images = []string{"ghcr.io/**", "ghcr.io/*"}
	})
	_, got, err := Compile(Input{Object: o, Trust: complete, Now: now})
	if err != nil || len(got) != maxWarnings || got[maxWarnings-1] != "there are 3 more warnings" {
		t.Errorf("got %d (%v): %q", len(got), err, got[len(got)-1])
	}
	for _, text := range got {
		if len(text) > 1024 {
			t.Errorf("%d bytes: %s", len(text), text)
		}
	}
	if w := (warnings{"a", "b", "a"}).bounded(); !slices.Equal(w, []string{"a", "b"}) {
		t.Errorf("got %q", w)
	}
}

func TestShortNamesOfTypesAreThoseOfCosign(t *testing.T) {
	theirs := map[string]string{
		"custom": attestation.CosignCustomProvenanceV01, "vuln": attestation.CosignVulnProvenanceV01, "openvex": attestation.OpenVexNamespace,
		"slsaprovenance": slsa02.PredicateSLSAProvenance, "slsaprovenance02": slsa02.PredicateSLSAProvenance, "slsaprovenance1": slsa1.PredicateSLSAProvenance,
		"spdx": intoto.PredicateSPDX, "spdxjson": intoto.PredicateSPDX, "cyclonedx": intoto.PredicateCycloneDX, "link": intoto.PredicateLinkV1,
	}
	if diff := cmp.Diff(theirs, shortTypes); diff != "" {
		t.Error(diff)
	}
}
