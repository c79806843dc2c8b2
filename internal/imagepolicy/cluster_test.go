package imagepolicy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/policy-controller/pkg/apis/glob"
	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

type clusterSpec = v1beta1.ClusterImagePolicySpec

func clusterPolicy(name, pattern string, changes ...func(*clusterSpec)) *v1beta1.ClusterImagePolicy {
	o := &v1beta1.ClusterImagePolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 2},
		Spec: clusterSpec{
			Images: []v1beta1.ImagePattern{{Glob: pattern}},
			Authorities: []v1beta1.Authority{{Keyless: &v1beta1.KeylessRef{
				Identities: []v1beta1.Identity{{Issuer: "https://issuer.example", Subject: "https://git.example/x@refs/heads/main"}},
			}}},
		},
	}
	for _, change := range changes {
		change(&o.Spec)
	}
	return o
}

func authority(a v1beta1.Authority) func(*clusterSpec) {
	return func(s *clusterSpec) { s.Authorities = []v1beta1.Authority{a} }
}

func firstAuthority(change func(*v1beta1.Authority)) func(*clusterSpec) {
	return func(s *clusterSpec) { change(&s.Authorities[0]) }
}

func attested(p *v1beta1.Policy) func(*clusterSpec) {
	return firstAuthority(func(a *v1beta1.Authority) {
		a.Attestations = []v1beta1.Attestation{{Name: "x", PredicateType: "https://a.example/b", Policy: p}}
	})
}

func TestWhatIsNotSupportedIsNamed(t *testing.T) {
	other := apis.HTTPS("fulcio.example")
	tests := map[string]struct {
		change func(*clusterSpec)
		fields []string
	}{
		"nobody":     {func(s *clusterSpec) { s.Authorities = nil }, []string{"spec", "spec.authorities"}},
		"no image":   {func(s *clusterSpec) { s.Images = nil }, []string{"spec", "spec.images"}},
		"a bad glob": {func(s *clusterSpec) { s.Images[0].Glob = "a?b" }, []string{"spec", "spec.images[0].glob"}},
		"a mode":     {func(s *clusterSpec) { s.Mode = "audit" }, []string{"spec"}},
		"some objects": {func(s *clusterSpec) {
			s.Match = []v1beta1.MatchResource{{GroupVersionResource: metav1.GroupVersionResource{Resource: "pods"}}}
		}, []string{"spec.match"}},
		"rules over all":        {func(s *clusterSpec) { s.Policy = &v1beta1.Policy{Type: "rego", Data: "x"} }, []string{"spec.policy"}},
		"another repository":    {firstAuthority(func(a *v1beta1.Authority) { a.Sources = []v1beta1.Source{{OCI: "a.example/b"}} }), []string{"spec.authorities[0].source"}},
		"a timestamp authority": {firstAuthority(func(a *v1beta1.Authority) { a.RFC3161Timestamp = &v1beta1.RFC3161Timestamp{TrustRootRef: "x"} }), []string{"spec.authorities[0].rfc3161timestamp"}},
		"another format":        {firstAuthority(func(a *v1beta1.Authority) { a.SignatureFormat = "notation" }), []string{"spec.authorities[0].signatureFormat"}},
		"another log":           {firstAuthority(func(a *v1beta1.Authority) { a.CTLog = &v1beta1.TLog{URL: other} }), []string{"spec.authorities[0].ctlog.url"}},
		"a log's own root":      {firstAuthority(func(a *v1beta1.Authority) { a.CTLog = &v1beta1.TLog{TrustRootRef: "x"} }), []string{"spec.authorities[0].ctlog.trustRootRef"}},
		"another Fulcio":        {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.URL = other }), []string{"spec.authorities[0].keyless.url"}},
		"a CA":                  {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.CACert = &v1beta1.KeyRef{Data: publicKey} }), []string{"spec.authorities[0].keyless.ca-cert"}},
		"a root":                {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.TrustRootRef = "x" }), []string{"spec.authorities[0].keyless.trustRootRef"}},
		"no SCT":                {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.InsecureIgnoreSCT = new(true) }), []string{"spec.authorities[0].keyless.insecureIgnoreSCT"}},
		"no identity":           {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.Identities = nil }), []string{"spec", "spec.authorities[0].keyless.identities"}},
		"half an identity":      {firstAuthority(func(a *v1beta1.Authority) { a.Keyless.Identities[0].Issuer = "" }), []string{"spec", "spec.authorities[0].keyless.identities[0].issuer"}},
		"a bad expression": {firstAuthority(func(a *v1beta1.Authority) {
			a.Keyless.Identities[0] = v1beta1.Identity{Issuer: "x", SubjectRegExp: "a)|(?:b"}
		}), []string{"spec", "spec.authorities[0].keyless.identities[0].subjectRegExp"}},
		"a cloud's key":       {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{KMS: "gcpkms://x"}}), []string{"spec.authorities[0].key.kms"}},
		"another hash":        {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{Data: publicKey, HashAlgorithm: "sha512"}}), []string{"spec.authorities[0].key.hashAlgorithm"}},
		"a key that is none":  {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{Data: "x"}}), []string{"spec", "spec.authorities[0].key.data"}},
		"no key":              {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{}}), []string{"spec"}},
		"a Secret elsewhere":  {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{SecretRef: &corev1.SecretReference{Name: "there", Namespace: "x"}}}), []string{"spec.authorities[0].key.secretRef.namespace"}},
		"a Secret of nothing": {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{SecretRef: &corev1.SecretReference{Name: "x"}}}), []string{"spec.authorities[0].key.secretRef"}},
		"no authority at all": {authority(v1beta1.Authority{}), []string{"spec"}},
		"another action":      {authority(v1beta1.Authority{Static: &v1beta1.StaticRef{Action: "maybe"}}), []string{"spec"}},
		"CUE":                 {attested(&v1beta1.Policy{Type: "cue", Data: "x: 1"}), []string{"spec.authorities[0].attestations[0].policy.type"}},
		"rules elsewhere":     {attested(&v1beta1.Policy{Type: "rego", ConfigMapRef: &v1beta1.ConfigMapReference{Name: "x", Key: "y"}}), []string{"spec.authorities[0].attestations[0].policy.configMapRef"}},
		"rules far away":      {attested(&v1beta1.Policy{Type: "rego", Remote: &v1beta1.RemotePolicy{URL: *other, Sha256sum: "x"}}), []string{"spec.authorities[0].attestations[0].policy.remote"}},
		"rules about a spec":  {attested(&v1beta1.Policy{Type: "rego", Data: compliant, IncludeSpec: new(true)}), []string{"spec", "spec.authorities[0].attestations[0].policy"}},
		"rules that are none": {attested(&v1beta1.Policy{Type: "rego", Data: "package other"}), []string{"spec.authorities[0].attestations[0].policy.data"}},
		"all at once": {func(s *clusterSpec) {
			s.Match, s.Authorities[0].SignatureFormat, s.Authorities[0].Keyless.TrustRootRef = make([]v1beta1.MatchResource, 1), "x", "y"
		}, []string{"spec.authorities[0].keyless.trustRootRef", "spec.authorities[0].signatureFormat", "spec.match"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			o := clusterPolicy("x", "a.example/**", tt.change)
			before := o.DeepCopy()
			p, _, err := CompileCluster(ClusterInput{Object: o, PublicKeys: map[string][]byte{"there": []byte(publicKey)}, Trust: complete})
			reason, fields := faults(err)
			if diff := cmp.Diff(tt.fields, fields); p != nil || reason != pipeline.ReasonPolicyUnsupported || diff != "" {
				t.Errorf("got %v, reason %s: %v\n%s", p, reason, err, diff)
			}
			if diff := cmp.Diff(before, o); diff != "" {
				t.Errorf("the object is another one: %s", diff)
			}
			unready := NotReadyCluster(o, err)
			if unready.NotReady == nil || !unready.matcher.everything && len(unready.matcher.patterns) == 0 {
				t.Errorf("it is for nothing: %+v", unready)
			}
		})
	}
}

func TestWhatAClusterImagePolicyIs(t *testing.T) {
	flags := []string{"--certificate-identity=https://git.example/x@refs/heads/main", "--certificate-oidc-issuer=https://issuer.example"}
	rekor := &v1beta1.TLog{URL: apis.HTTPS("rekor.sigstore.dev")}
	tests := map[string]struct {
		change func(*clusterSpec)
		want   []Authority
		mode   v1alpha1.PolicyMode
	}{
		"keyless":               {func(*clusterSpec) {}, []Authority{{Name: "authority authority-0", Flags: flags}}, v1alpha1.ModeEnforce},
		"warnings alone":        {func(s *clusterSpec) { s.Mode = "warn" }, []Authority{{Name: "authority authority-0", Flags: flags}}, v1alpha1.ModeWarn},
		"the addresses of all":  {firstAuthority(func(a *v1beta1.Authority) { a.CTLog, a.Keyless.URL = rekor, apis.HTTPS("fulcio.sigstore.dev") }), []Authority{{Name: "authority authority-0", Flags: flags}}, v1alpha1.ModeEnforce},
		"a format that we find": {firstAuthority(func(a *v1beta1.Authority) { a.SignatureFormat = "bundle" }), []Authority{{Name: "authority authority-0", Flags: flags}}, v1alpha1.ModeEnforce},
		"a key":                 {authority(v1beta1.Authority{Name: "k", Key: &v1beta1.KeyRef{Data: publicKey, HashAlgorithm: "sha256"}}), []Authority{{Name: "authority k", Flags: []string{"--key=x.pub", "--insecure-ignore-tlog=true"}}}, v1alpha1.ModeEnforce},
		"a key and the log":     {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{Data: publicKey}, CTLog: rekor}), []Authority{{Name: "authority authority-0", Flags: []string{"--key=x.pub"}}}, v1alpha1.ModeEnforce},
		"a key of a Secret":     {authority(v1beta1.Authority{Key: &v1beta1.KeyRef{SecretRef: &corev1.SecretReference{Name: "there", Namespace: "cosign-system"}}}), []Authority{{Name: "authority authority-0", Flags: []string{"--key=there.pub", "--insecure-ignore-tlog=true"}}}, v1alpha1.ModeEnforce},
		"everything":            {authority(v1beta1.Authority{Static: &v1beta1.StaticRef{Action: "pass"}}), []Authority{{Name: "authority authority-0", Static: &Static{Pass: true}}}, v1alpha1.ModeEnforce},
		"nothing":               {authority(v1beta1.Authority{Static: &v1beta1.StaticRef{Action: "fail", Message: "no"}}), []Authority{{Name: "authority authority-0", Static: &Static{Message: "no"}}}, v1alpha1.ModeEnforce},
		"attestations": {firstAuthority(func(a *v1beta1.Authority) {
			a.Attestations = []v1beta1.Attestation{{Name: "p", PredicateType: "slsaprovenance"}}
		}), []Authority{{Name: "authority authority-0", Flags: flags, AttestationsSuffice: true, Attestations: []Attestation{{Name: "attestation p", PredicateType: "https://slsa.dev/provenance/v0.2", Flags: flags}}}}, v1alpha1.ModeEnforce},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p, _, err := CompileCluster(ClusterInput{Object: clusterPolicy("x", "a.example/**", tt.change), PublicKeys: map[string][]byte{"there": []byte(publicKey)}, Trust: complete})
			if err != nil {
				t.Fatal(err)
			}
			if p.Name != "x" || p.Kind != KindClusterImagePolicy || p.Generation != 2 || p.Mode != tt.mode || p.Digest != v1alpha1.DigestPin || p.Runtime != nil || len(p.Hash) != 64 {
				t.Errorf("got %+v", p)
			}
			for i := range p.Authorities {
				a := &p.Authorities[i]
				if (a.Verifier == nil) != (a.Static != nil) {
					t.Errorf("%s has the verifier %v", a.Name, a.Verifier)
				}
				for j := range a.Attestations {
					if a.Attestations[j].Verifier != a.Verifier {
						t.Errorf("%s has another verifier", a.Attestations[j].Name)
					}
					a.Attestations[j].Verifier = nil
				}
				a.Verifier = nil
			}
			if diff := cmp.Diff(tt.want, p.Authorities); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheHashOfAClusterImagePolicyIsOfItsKeys(t *testing.T) {
	o := clusterPolicy("x", "a.example/**", authority(v1beta1.Authority{Key: &v1beta1.KeyRef{SecretRef: &corev1.SecretReference{Name: "there"}}}))
	hashes := map[string]bool{}
	for _, key := range []string{publicKey, otherKey} {
		p, _, err := CompileCluster(ClusterInput{Object: o, PublicKeys: map[string][]byte{"there": []byte(key)}, Trust: complete})
		if err != nil {
			t.Fatal(err)
		}
		hashes[p.Hash] = true
	}
	if len(hashes) != 2 {
		t.Error("another key in the same Secret has the same hash")
	}
}

func TestWhatLooksUnintendedInAClusterImagePolicyIsAWarning(t *testing.T) {
	subject := func(expression string) func(*clusterSpec) {
		return firstAuthority(func(a *v1beta1.Authority) {
			a.Keyless.Identities[0] = v1beta1.Identity{Issuer: "https://i.example", SubjectRegExp: expression}
		})
	}
	tests := map[string]struct {
		pattern string
		change  func(*clusterSpec)
		warns   []string
	}{
		"nothing":                       {"a.example/**", func(*clusterSpec) {}, nil},
		"an expression as we take it":   {"a.example/**", subject(`^a@b$`), nil},
		"an expression without anchors": {"a.example/**", subject(`a@b`), []string{"match the whole value here"}},
		"any subject":                   {"a.example/**", subject(`^.*$`), []string{"matches everything"}},
		"a glob of a tag":               {"a.example/b:*", func(*clusterSpec) {}, []string{"end it with a.example/b**"}},
		"a glob of a bare name":         {"a.example/b", func(*clusterSpec) {}, []string{"end it with **"}},
		"a glob of a digest":            {"a.example/b@sha256:*", func(*clusterSpec) {}, nil},
		"a glob of everything":          {"**", func(*clusterSpec) {}, []string{"every registry"}},
		"an authority that takes all":   {"a.example/**", authority(v1beta1.Authority{Static: &v1beta1.StaticRef{Action: "pass"}}), []string{"signed or not"}},
		"what policy-controller calls old": {"a.example/**", firstAuthority(func(a *v1beta1.Authority) {
			a.Attestations = []v1beta1.Attestation{{Name: "p", PredicateType: "custom"}}
		}), []string{"deprecated"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, got, err := CompileCluster(ClusterInput{Object: clusterPolicy("x", tt.pattern, tt.change), Trust: complete})
			if err != nil || len(got) != len(tt.warns) {
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

// What policy-controller finds a policy for, it is for here too.
func TestGlobsMatchAtLeastWhatPolicyControllerMatches(t *testing.T) {
	patterns := []string{"*", "*/*", "**", "a.example/**", "a.example/*", "a.example/x", "a.example/x:*", "a.example/x*", "a.example/x@sha256:*", "index.docker.io/library/*", "foo", "foo*", "ind**", "a.example:5000/**", "*/x:**"}
	images := map[string]string{
		"foo": "index.docker.io/library/foo", "foo:v1": "index.docker.io/library/foo", "me/foo": "index.docker.io/me/foo", "a.example/x": "a.example/x",
		"a.example/x:v1": "a.example/x", "a.example/x@" + digestA: "a.example/x", "a.example/x:v1@" + digestA: "a.example/x", "a.example/x/y": "a.example/x/y", "a.example:5000/x": "a.example:5000/x", "docker.io/foo": "index.docker.io/library/foo",
	}
	matched := 0
	for _, pattern := range patterns {
		p, _, err := CompileCluster(ClusterInput{Object: clusterPolicy("x", pattern), Trust: complete})
		if err != nil {
			t.Fatal(err)
		}
		for image, canonical := range images {
			theirs, err := glob.Match(pattern, image)
			if err != nil {
				t.Fatal(err)
			}
			found, err := NewSet([]*Policy{p}).For(named(t, canonical), image, "team", nil)
			if ours := len(found) > 0; err != nil || ours != theirs {
				t.Errorf("%s and %s: we say %t, policy-controller %t (%v)", pattern, image, ours, theirs, err)
			}
			if theirs {
				matched++
			}
		}
	}
	if matched < 20 {
		t.Errorf("only %d match", matched)
	}
}

func TestAFieldThatNobodyKnowsIsNotIgnored(t *testing.T) {
	const images = `{"metadata":{"name":"x","generation":3},"spec":{"images":[{"glob":"a.example/**"}]`
	for desc, tt := range map[string]struct {
		document string
		good     bool
	}{
		"all known":        {images + `,"mode":"warn"}}`, true},
		"one that is not":  {images + `,"more":1}}`, false},
		"one further down": {images + `,"authorities":[{"keyless":{"more":1}}]}}`, false},
		"of another type":  {images + `,"mode":1}}`, false},
	} {
		o, err := DecodeCluster([]byte(tt.document))
		if (err == nil) != tt.good || o.Name != "x" || o.Generation != 3 || len(o.Spec.Images) != 1 {
			t.Errorf("%s: got %+v (%v)", desc, o, err)
		}
	}
	if o, err := DecodeCluster([]byte("x")); err == nil || o == nil {
		t.Errorf("nonsense: got %v (%v)", o, err)
	}
}
