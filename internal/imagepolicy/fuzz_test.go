package imagepolicy

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// vouched fails unless somebody has to vouch for every image that p is for.
func vouched(t *testing.T, p *Policy, err error) {
	t.Helper()
	if err != nil {
		if p != nil || !pipeline.IsTerminal(err) || pipeline.ReasonOf(err) == pipeline.ReasonInternalError {
			t.Fatalf("got %v and %v", p, err)
		}
		return
	}
	if p.NotReady != nil || len(p.Authorities) == 0 || p.Hash == "" || p.Mode == "" {
		t.Fatalf("got %+v", p)
	}
	for _, a := range p.Authorities {
		if (a.Verifier == nil) == (a.Static == nil) || a.AttestationsSuffice && len(a.Attestations) == 0 {
			t.Fatalf("got %+v", a)
		}
		for _, att := range a.Attestations {
			if att.Verifier == nil || att.PredicateType == "" {
				t.Fatalf("got %+v", att)
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("../../config/samples/imageadmissionpolicy_*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if document, err := yaml.YAMLToJSON(raw); err == nil {
			f.Add(document)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := &v1alpha1.ImageAdmissionPolicy{}
		if json.Unmarshal(raw, o) != nil {
			return
		}
		p, warnings, err := Compile(Input{Object: o, PublicKey: []byte(publicKey), Trust: complete, Now: now})
		vouched(t, p, err)
		if len(warnings) > maxWarnings {
			t.Fatalf("%d warnings", len(warnings))
		}
		refuses(t, NotReady(o, errors.New("x")))
	})
}

// refuses fails if a policy that is not ready is for nothing.
func refuses(t *testing.T, p *Policy) {
	t.Helper()
	if p.NotReady == nil || !p.matcher.everything && len(p.matcher.globs)+len(p.matcher.patterns) == 0 {
		t.Fatalf("got %+v", p)
	}
	if _, err := NewSet([]*Policy{p}).For(imageglob.Name{Host: "a.example", Path: "b"}, "a.example/b:c", "d", nil); err != nil {
		t.Fatal(err)
	}
}

func FuzzCompileCluster(f *testing.F) {
	for _, spec := range []string{
		`{"images":[{"glob":"a.example/**"}],"authorities":[{"keyless":{"url":"https://fulcio.sigstore.dev","identities":[{"issuer":"a","subjectRegExp":"b.*"}]},"ctlog":{"url":"https://rekor.sigstore.dev"}}]}`,
		`{"images":[{"glob":"*"}],"mode":"warn","authorities":[{"key":{"secretRef":{"name":"there","namespace":"x"}},"attestations":[{"name":"a","predicateType":"custom","policy":{"type":"rego","data":"package sigstore\nisCompliant { true }"}}]}]}`,
		`{"images":[{"glob":"**"}],"authorities":[{"static":{"action":"fail","message":"no"}}],"policy":{"type":"cue","data":"x"},"match":[{"resource":"pods","selector":{"matchLabels":{"a":"b"}}}]}`,
		`{"images":null,"authorities":[{"key":{"kms":"awskms:///arn:aws:kms:x"}},{"keyless":{"ca-cert":{"secretRef":{"namespace":"y"}}}}]}`,
	} {
		f.Add([]byte(`{"metadata":{"name":"x"},"spec":` + spec + `}`))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, err := DecodeCluster(raw)
		if err == nil {
			p, _, err := CompileCluster(ClusterInput{Object: o, PublicKeys: map[string][]byte{"there": []byte(publicKey)}, Trust: complete})
			vouched(t, p, err)
		}
		refuses(t, NotReadyCluster(o, errors.New("x")))
	})
}
