package imagepolicy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/root"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

type spec = v1alpha1.ImageAdmissionPolicySpec

func TestWhatIsWrongWithAPolicyIsToldAllAtOnce(t *testing.T) {
	hour := metav1.Duration{Duration: time.Hour}
	ignored := v1alpha1.SigningKey{PublicKey: publicKey, TransparencyLog: v1alpha1.LogIgnored}
	tests := map[string]struct {
		change func(*spec)
		fields []string
	}{
		"no image":                   {func(s *spec) { s.Images = nil }, []string{"spec.images"}},
		"a glob with a tag":          {func(s *spec) { s.Images = []string{"a.example/b", "a.example/b:c"} }, []string{"spec.images[1]"}},
		"no identity":                {func(s *spec) { s.Identities = nil }, []string{"spec.identities"}},
		"an identity of nobody":      {func(s *spec) { s.Identities = append(s.Identities, v1alpha1.SigningIdentity{}) }, []string{"spec.identities[1].issuer"}},
		"an expression that is none": {func(s *spec) { s.Identities[0] = v1alpha1.SigningIdentity{Issuer: "x", SubjectRegExp: "("} }, []string{"spec.identities[0].subjectRegExp"}},
		"two bad identities": {func(s *spec) {
			s.Identities = []v1alpha1.SigningIdentity{{Issuer: "x"}, {Subject: "x", IssuerRegExp: "["}}
		}, []string{"spec.identities[0].subject", "spec.identities[1].issuerRegExp"}},
		"a key beside identities":  {func(s *spec) { s.Key = &v1alpha1.SigningKey{PublicKey: publicKey} }, []string{"spec.key"}},
		"identities beside a key":  {func(s *spec) { s.Authority, s.Key = v1alpha1.AuthorityKey, &ignored }, []string{"spec.identities"}},
		"no key":                   {func(s *spec) { s.Authority, s.Identities = v1alpha1.AuthorityKey, nil }, []string{"spec.key"}},
		"an empty key":             {keyed(v1alpha1.SigningKey{}), []string{"spec.key"}},
		"two keys":                 {keyed(v1alpha1.SigningKey{PublicKey: publicKey, SecretRef: &v1alpha1.KeySecretReference{Name: "x"}}), []string{"spec.key"}},
		"a key that is none":       {keyed(v1alpha1.SigningKey{PublicKey: "x"}), []string{"spec.key.publicKey"}},
		"a Secret without a key":   {keyed(v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "x"}}), []string{"spec.key.secretRef"}},
		"another authority":        {func(s *spec) { s.Authority = "None" }, []string{"spec.authority"}},
		"another mode":             {func(s *spec) { s.Mode = "enforce" }, []string{"spec.mode"}},
		"another way with digests": {func(s *spec) { s.Digest = "Any" }, []string{"spec.digest"}},
		"another profile":          {func(s *spec) { s.Runtime.Profile = "Privileged" }, []string{"spec.runtime.profile"}},
		"a statement of no type":   {func(s *spec) { s.Attestations = []v1alpha1.RequiredAttestation{{}} }, []string{"spec.attestations[0].predicateType"}},
		"an age that nobody knows": {func(s *spec) {
			keyed(ignored)(s)
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", MaxAge: &hour}}
		}, []string{"spec.attestations[0].maxAge"}},
		"an age of nothing": {func(s *spec) {
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", MaxAge: &metav1.Duration{}}}
		}, []string{"spec.attestations[0].maxAge"}},
		"rules that are none": {func(s *spec) { s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", Rego: "package"}} }, []string{"spec.attestations[0].rego"}},
		"bad identities of statements": {func(s *spec) {
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", Identities: []v1alpha1.SigningIdentity{{Issuer: "x"}}}}
		}, []string{"spec.attestations[0].identities[0].subject"}},
		"an image's age nobody knows": {func(s *spec) {
			keyed(ignored)(s)
			s.Runtime.Parameters = &v1alpha1.RuntimeParameters{ImageMaxAge: &hour}
		}, []string{"spec.runtime.parameters.imageMaxAge"}},
		"no added rules": {func(s *spec) { s.Runtime.ExtraRules = &v1alpha1.LocalReference{Name: "x"} }, []string{"spec.runtime.extraRules"}},
		"rules of no profile": {func(s *spec) {
			s.Runtime = v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileOff, Parameters: &v1alpha1.RuntimeParameters{}, ExtraRules: &v1alpha1.LocalReference{Name: "x"}}
		}, []string{"spec.runtime.extraRules", "spec.runtime.parameters"}},
		"a selector that is none": {func(s *spec) {
			s.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
		}, []string{"spec.namespaceSelector"}},
		"an exception for ever": {func(s *spec) { s.Exceptions = []v1alpha1.ImageException{{Digest: digestA, Namespaces: []string{"x"}}} }, []string{"spec.exceptions[0].expires"}},
		"an exception for nobody": {func(s *spec) {
			s.Exceptions = []v1alpha1.ImageException{{Digest: digestA, Expires: metav1.Time{Time: now}}}
		}, []string{"spec.exceptions[0].namespaces"}},
		"too much": {func(s *spec) {
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: strings.Repeat("x", MaxBytes)}}
		}, []string{"spec"}},
		"much at once": {func(s *spec) { s.Images, s.Identities, s.Mode = []string{"a:b:c"}, nil, "x" },
			[]string{"spec.identities", "spec.images[0]", "spec.mode"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p, _, err := Compile(Input{Object: changed(tt.change), Trust: complete, Now: now})
			reason, fields := faults(err)
			if diff := cmp.Diff(tt.fields, fields); p != nil || reason != pipeline.ReasonPolicyInvalid || diff != "" {
				t.Errorf("got %v, reason %s: %v\n%s", p, reason, err, diff)
			}
		})
	}
}

func TestAPrivateKeyIsNotRepeated(t *testing.T) {
	_, _, err := Compile(Input{Object: changed(keyed(v1alpha1.SigningKey{PublicKey: privateKey})), Trust: complete})
	if _, fields := faults(err); len(fields) != 1 || !strings.Contains(err.Error(), "private key") || strings.Contains(err.Error(), privateKey[40:60]) {
		t.Errorf("got %v", err)
	}
}

func TestWhatAPolicyIs(t *testing.T) {
	o := changed(func(s *spec) {
		s.Mode, s.Digest = v1alpha1.ModeAudit, v1alpha1.DigestRequire
		s.Attestations = []v1alpha1.RequiredAttestation{
			{PredicateType: "https://slsa.dev/provenance/v1"},
			{PredicateType: "https://t.example/x", MaxAge: &metav1.Duration{Duration: time.Hour}, Rego: "package a\n\ndeny contains \"x\" if input.predicate.x",
				Identities: []v1alpha1.SigningIdentity{{Issuer: "https://i.example", SubjectRegExp: `a|b`}}},
		}
		s.Exceptions = []v1alpha1.ImageException{{Digest: digestA, Namespaces: []string{"x"}, Reason: "y", Expires: metav1.Time{Time: now}}}
	})
	p := compiled(t, Input{Object: o})
	if p.Name != "team" || p.Kind != KindImageAdmissionPolicy || p.Generation != 3 || p.Mode != v1alpha1.ModeAudit || p.Digest != v1alpha1.DigestRequire || len(p.Exceptions) != 1 || p.NotReady != nil {
		t.Errorf("got %+v", p)
	}
	a := p.Authorities[0]
	if len(p.Authorities) != 1 || a.Verifier == nil || a.Static != nil || a.AttestationsSuffice || len(a.Attestations) != 2 {
		t.Fatalf("got %+v", p.Authorities)
	}
	wantFlags := []string{"--certificate-identity=https://git.example/team/x@refs/heads/main", "--certificate-oidc-issuer=https://issuer.example"}
	if diff := cmp.Diff(wantFlags, a.Flags); diff != "" {
		t.Error(diff)
	}
	first, second := a.Attestations[0], a.Attestations[1]
	if first.Name != "attestations[0]" || first.PredicateType != "https://slsa.dev/provenance/v1" || first.Verifier != a.Verifier || first.MaxAge != 0 || first.Rules != nil {
		t.Errorf("got %+v", first)
	}
	if diff := cmp.Diff(wantFlags, first.Flags); diff != "" {
		t.Error(diff)
	}
	if second.Verifier == nil || second.Verifier == a.Verifier || second.MaxAge != time.Hour || second.Rules == nil {
		t.Errorf("got %+v", second)
	}
	if diff := cmp.Diff([]string{"--certificate-identity-regexp=^(?:a|b)$", "--certificate-oidc-issuer=https://i.example"}, second.Flags); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAnObjectLeavesOutIsAsTheAPISays(t *testing.T) {
	p := compiled(t, Input{Object: good()})
	if p.Mode != v1alpha1.ModeEnforce || p.Digest != v1alpha1.DigestPin || p.Runtime == nil || p.Runtime.Profile != v1alpha1.ProfileRestricted || p.Runtime.Rules == nil {
		t.Errorf("got %+v", p)
	}
}

// What somebody else has signed without a key has a time, whatever the key has.
func TestAnIdentityBesideAKeyHasAnAge(t *testing.T) {
	compiled(t, Input{Object: changed(keyed(v1alpha1.SigningKey{PublicKey: publicKey, TransparencyLog: v1alpha1.LogIgnored}), func(s *spec) {
		s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", Identities: good().Spec.Identities, MaxAge: &metav1.Duration{Duration: time.Hour}}}
	})})
}

func TestKeys(t *testing.T) {
	secret := v1alpha1.KeySecretReference{Name: "platform", Key: "cosign.pub"}
	tests := map[string]struct {
		key   v1alpha1.SigningKey
		flags []string
	}{
		"inline":                 {v1alpha1.SigningKey{PublicKey: publicKey}, []string{"--key=team.pub"}},
		"inline without the log": {v1alpha1.SigningKey{PublicKey: publicKey, TransparencyLog: v1alpha1.LogIgnored}, []string{"--key=team.pub", "--insecure-ignore-tlog=true"}},
		"of a Secret":            {v1alpha1.SigningKey{SecretRef: &secret}, []string{"--key=k8s://basewright-system/platform"}},
		"of another key of it":   {v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "platform", Key: "b.pem"}}, []string{"--key=platform.b.pem"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p := compiled(t, Input{Object: changed(keyed(tt.key)), PublicKey: []byte(publicKey)})
			a := p.Authorities[0]
			if a.Verifier == nil || !strings.HasPrefix(a.Name, "key sha256:") {
				t.Errorf("got %+v", a)
			}
			if diff := cmp.Diff(tt.flags, a.Flags); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSeveralIdentitiesMakeOneCommand(t *testing.T) {
	tests := map[string]struct {
		identities []v1alpha1.SigningIdentity
		flags      []string
	}{
		"of one issuer": {[]v1alpha1.SigningIdentity{{Issuer: "https://i.example", Subject: "a.b"}, {Issuer: "https://i.example", SubjectRegExp: `c.*`}},
			[]string{`--certificate-identity-regexp=^(?:a\.b|c.*)$`, "--certificate-oidc-issuer=https://i.example"}},
		"of two issuers": {[]v1alpha1.SigningIdentity{{Issuer: "https://i.example", Subject: "a"}, {IssuerRegExp: `https://[jk]`, Subject: "a"}},
			[]string{"--certificate-identity=a", `--certificate-oidc-issuer-regexp=^(?:https://i\.example|https://[jk])$`}},
		"expressions alone": {[]v1alpha1.SigningIdentity{{IssuerRegExp: "a", SubjectRegExp: "b"}}, []string{"--certificate-identity-regexp=^(?:b)$", "--certificate-oidc-issuer-regexp=^(?:a)$"}},
	}
	for desc, tt := range tests {
		if diff := cmp.Diff(tt.flags, identityFlags(tt.identities)); diff != "" {
			t.Errorf("%s: %s", desc, diff)
		}
	}
}

func TestAPolicyIsProvenOnItsTrustRoot(t *testing.T) {
	key := func(log v1alpha1.LogRequirement) func(*spec) {
		return keyed(v1alpha1.SigningKey{PublicKey: publicKey, TransparencyLog: log})
	}
	keyless := func(*spec) {}
	tests := map[string]struct {
		change func(*spec)
		has    material
		lacks  string
	}{
		"identities and all there is": {keyless, material{ca: true, ct: true, log: true}, ""},
		"identities and timestamps":   {keyless, material{ca: true, ct: true, tsa: true}, ""},
		"identities without a CA":     {keyless, material{ct: true, log: true}, "a certificate authority"},
		"identities without a CT log": {keyless, material{ca: true, log: true}, "a certificate transparency log"},
		"identities without time":     {keyless, material{ca: true, ct: true}, "a transparency log or a timestamp authority"},
		"a key and a log":             {key(v1alpha1.LogRequired), material{log: true}, ""},
		"a key without a log":         {key(v1alpha1.LogRequired), material{ca: true, ct: true, tsa: true}, "a transparency log"},
		"a key that ignores the log":  {key(v1alpha1.LogIgnored), material{}, ""},
		"a key, and identities beside it": {func(s *spec) {
			key(v1alpha1.LogIgnored)(s)
			s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x", Identities: good().Spec.Identities}}
		}, material{}, "a certificate authority"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p, _, err := Compile(Input{Object: changed(tt.change), Trust: trusting(tt.has)})
			if tt.lacks == "" {
				if err != nil || p == nil {
					t.Fatalf("got %v", err)
				}
				return
			}
			if reason, _ := faults(err); p != nil || reason != pipeline.ReasonTrustRootInvalid || !strings.Contains(err.Error(), "lacks "+tt.lacks) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestATrustRootThatIsNotThereYetIsNoFaultOfAPolicy(t *testing.T) {
	for desc, m := range map[string]func() (root.TrustedMaterial, error){
		"an error": func() (root.TrustedMaterial, error) { return nil, errors.New("not yet") },
		"nothing":  func() (root.TrustedMaterial, error) { return nil, nil },
	} {
		if _, _, err := Compile(Input{Object: good(), Trust: Trust{Material: m}}); err != nil {
			t.Errorf("%s: %v", desc, err)
		}
	}
	if p, _, err := Compile(Input{Object: good()}); err == nil {
		t.Errorf("without anybody to ask: got %v", p)
	}
}

func TestParametersHaveTheDefaultsOfTheirProfile(t *testing.T) {
	usual := rules.PodParameters{Users: []rules.UserRange{{Min: 65532, Max: 65532}}, ReadOnlyRootFilesystem: true, ServiceAccountToken: "Explicit"}
	all := &v1alpha1.RuntimeParameters{
		Users: []v1alpha1.UserRange{{Min: 5}, {Min: 7, Max: new(int64(9))}}, WritableRootFilesystem: v1alpha1.Allow, ServiceAccountToken: v1alpha1.TokenForbid,
		RequiredLimits: []string{"cpu"}, ImageShells: v1alpha1.Forbid, ImageLabels: []string{"a"}, ImageMaxAge: &metav1.Duration{Duration: time.Hour},
	}
	set := rules.PodParameters{Users: []rules.UserRange{{Min: 5, Max: 5}, {Min: 7, Max: 9}}, ServiceAccountToken: "Forbid",
		RequiredLimits: []string{"cpu"}, NoImageShells: true, ImageLabels: []string{"a"}, ImageMaxAge: time.Hour}
	tests := map[string]struct {
		runtime v1alpha1.RuntimePolicy
		want    rules.PodParameters
	}{
		"nothing with Restricted":           {v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted}, usual},
		"nothing at all":                    {v1alpha1.RuntimePolicy{}, usual},
		"nothing with Baseline":             {v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileBaseline}, rules.PodParameters{}},
		"everything with Restricted":        {v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileRestricted, Parameters: all}, set},
		"everything with Baseline":          {v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileBaseline, Parameters: all}, set},
		"a file system with Baseline alone": {v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileBaseline, Parameters: &v1alpha1.RuntimeParameters{WritableRootFilesystem: v1alpha1.Forbid}}, rules.PodParameters{ReadOnlyRootFilesystem: true}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p := compiled(t, Input{Object: changed(func(s *spec) { s.Runtime = tt.runtime })})
			if diff := cmp.Diff(tt.want, p.Runtime.Parameters); diff != "" {
				t.Error(diff)
			}
		})
	}
	if p := compiled(t, Input{Object: changed(func(s *spec) { s.Runtime.Profile = v1alpha1.ProfileOff })}); p.Runtime != nil {
		t.Errorf("with Off: got %+v", p.Runtime)
	}
}

// Every field of the parameters is one that somebody looks at.
func TestNoParameterIsIgnored(t *testing.T) {
	if got, want := reflect.TypeFor[rules.PodParameters]().NumField(), reflect.TypeFor[v1alpha1.RuntimeParameters]().NumField(); got != want {
		t.Errorf("the API has %d parameters, the rules have %d", want, got)
	}
}

func TestTheHashIsOfWhatVerdictsDependOn(t *testing.T) {
	base := compiled(t, Input{Object: good()}).Hash
	keyA := changed(keyed(v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "x"}}))
	for desc, tt := range map[string]struct {
		change func(*spec)
		same   bool
	}{
		"another mode":     {func(s *spec) { s.Mode = v1alpha1.ModeWarn }, true},
		"other images":     {func(s *spec) { s.Images = []string{"a.example/**"} }, true},
		"other namespaces": {func(s *spec) { s.NamespaceSelector = &metav1.LabelSelector{} }, true},
		"exceptions": {func(s *spec) {
			s.Exceptions = []v1alpha1.ImageException{{Digest: digestA, Namespaces: []string{"x"}, Expires: metav1.Time{Time: now}}}
		}, true},
		"digests": {func(s *spec) { s.Digest = v1alpha1.DigestRequire }, true},
		"users": {func(s *spec) {
			s.Runtime.Parameters = &v1alpha1.RuntimeParameters{Users: []v1alpha1.UserRange{{Min: 5}}}
		}, true},
		"a default":       {func(s *spec) { s.Authority = v1alpha1.AuthorityKeyless }, true},
		"another issuer":  {func(s *spec) { s.Identities[0].Issuer += "x" }, false},
		"another subject": {func(s *spec) { s.Identities[0].Subject += "x" }, false},
		"an expression":   {func(s *spec) { s.Identities[0].SubjectRegExp, s.Identities[0].Subject = s.Identities[0].Subject, "" }, false},
		"another identity": {func(s *spec) {
			s.Identities = append(s.Identities, v1alpha1.SigningIdentity{Issuer: "a", Subject: "b"})
		}, false},
		"an attestation": {func(s *spec) { s.Attestations = []v1alpha1.RequiredAttestation{{PredicateType: "x"}} }, false},
		"no rules":       {func(s *spec) { s.Runtime.Profile = v1alpha1.ProfileOff }, false},
		"shells":         {func(s *spec) { s.Runtime.Parameters = &v1alpha1.RuntimeParameters{ImageShells: v1alpha1.Forbid} }, false},
		"a key":          {keyed(v1alpha1.SigningKey{PublicKey: publicKey}), false},
	} {
		if got := compiled(t, Input{Object: changed(tt.change)}).Hash; (got == base) != tt.same {
			t.Errorf("%s: the same hash: %t", desc, got == base)
		}
	}
	one, two := compiled(t, Input{Object: keyA, PublicKey: []byte(publicKey)}), compiled(t, Input{Object: keyA, PublicKey: []byte(otherKey)})
	if one.Hash == two.Hash {
		t.Error("another key in the same Secret has the same hash")
	}
	attested := func(change func(*v1alpha1.RequiredAttestation)) string {
		return compiled(t, Input{Object: changed(func(s *spec) {
			a := v1alpha1.RequiredAttestation{PredicateType: "x"}
			change(&a)
			s.Attestations = []v1alpha1.RequiredAttestation{a}
		})}).Hash
	}
	seen := map[string]string{}
	for desc, change := range map[string]func(*v1alpha1.RequiredAttestation){
		"none":       func(*v1alpha1.RequiredAttestation) {},
		"type":       func(a *v1alpha1.RequiredAttestation) { a.PredicateType = "y" },
		"identities": func(a *v1alpha1.RequiredAttestation) { a.Identities = good().Spec.Identities },
		"age":        func(a *v1alpha1.RequiredAttestation) { a.MaxAge = &metav1.Duration{Duration: time.Hour} },
		"rego":       func(a *v1alpha1.RequiredAttestation) { a.Rego = "package a\n\ndeny contains \"x\" if input.x" },
	} {
		hash := attested(change)
		if other := seen[hash]; other != "" {
			t.Errorf("%s and %s of an attestation have the same hash", desc, other)
		}
		seen[hash] = desc
	}
}

func TestAnObjectThatIsAboutToBeWrittenMayReferToWhatIsNotThereYet(t *testing.T) {
	o := changed(keyed(v1alpha1.SigningKey{SecretRef: &v1alpha1.KeySecretReference{Name: "x"}}), func(s *spec) { s.Runtime.ExtraRules = &v1alpha1.LocalReference{Name: "y"} })
	if _, list := Validate(Input{Object: o, Trust: complete}); len(list) > 0 {
		t.Errorf("got %v", list)
	}
	o.Spec.Images = nil
	if _, list := Validate(Input{Object: o, PublicKey: []byte("x"), Trust: complete}); len(list) != 2 {
		t.Errorf("got %v", list)
	}
}
