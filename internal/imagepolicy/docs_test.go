package imagepolicy

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/rules"
)

const page = "../../docs/imageadmissionpolicy.md"

func read(t *testing.T, file string) []byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// inYAML compiles the one policy of a file, with the rules and the key that the file has for it.
func inYAML(t *testing.T, text []byte) (*Policy, []string, error) {
	t.Helper()
	in := Input{Trust: complete, Now: now}
	for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatal(err)
		}
		switch kind.Kind {
		case "ConfigMap":
			cm := &corev1.ConfigMap{}
			strictly(t, doc, cm)
			for name, source := range cm.Data {
				in.Rules = append(in.Rules, rules.Module{Name: name, Source: source})
			}
		case "Secret":
			secret := &corev1.Secret{}
			strictly(t, doc, secret)
			in.PublicKey = []byte(secret.StringData["cosign.pub"])
		case KindImageAdmissionPolicy:
			in.Object = &v1alpha1.ImageAdmissionPolicy{}
			strictly(t, doc, in.Object)
		default:
			t.Fatalf("there is a %q", kind.Kind)
		}
	}
	return Compile(in)
}

func strictly(t *testing.T, doc []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(doc, into); err != nil {
		t.Fatal(err)
	}
}

func TestSamplesAreGoodAndListed(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/imageadmissionpolicy_*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("there are %d samples (%v)", len(files), err)
	}
	kustomization := string(read(t, "../../config/samples/kustomization.yaml"))
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, warnings, err := inYAML(t, read(t, file))
			if err != nil || len(warnings) > 0 || !strings.HasPrefix(p.Name, "sample-") {
				t.Errorf("got %v, warned %q", err, warnings)
			}
			if !strings.Contains(kustomization, "- "+filepath.Base(file)+"\n") {
				t.Error("kustomization.yaml does not have it")
			}
		})
	}
}

func TestTheDocumentedExampleIsGood(t *testing.T) {
	blocks := regexp.MustCompile("(?s)\n```yaml\n(.*?)\n```\n").FindAllSubmatch(read(t, page), -1)
	if len(blocks) != 1 {
		t.Fatalf("there are %d examples", len(blocks))
	}
	rego := []byte("kind: ConfigMap\ndata:\n  a.rego: |\n    package a\n    deny_x contains \"x\" if input.x\n---\n")
	p, warnings, err := inYAML(t, append(rego, blocks[0][1]...))
	if err != nil || len(warnings) > 0 || len(p.Authorities[0].Attestations) != 2 {
		t.Errorf("got %v, warned %q", err, warnings)
	}
}

// Every field of a ClusterImagePolicy is in the table, supported or not.
func TestTheTableOfClusterImagePoliciesIsThatOfTheCode(t *testing.T) {
	_, table, found := strings.Cut(string(read(t, page)), "\n| field of `spec` | supported | how |\n")
	if !found {
		t.Fatal("there is no table")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []string
	for _, match := range regexp.MustCompile("`([a-zA-Z][a-zA-Z0-9\\[\\].-]*)`").FindAllStringSubmatch(table, -1) {
		listed = append(listed, match[1])
	}
	c := newClusterCompiler(ClusterInput{Object: clusterPolicy("x", "a.example/**", func(s *clusterSpec) {
		s.Match, s.Policy = make([]v1beta1.MatchResource, 1), &v1beta1.Policy{}
		a := &s.Authorities[0]
		a.Sources, a.RFC3161Timestamp, a.SignatureFormat = make([]v1beta1.Source, 1), &v1beta1.RFC3161Timestamp{}, "x"
		a.CTLog, a.Key = &v1beta1.TLog{TrustRootRef: "x"}, &v1beta1.KeyRef{KMS: "x", HashAlgorithm: "x"}
		a.Keyless.CACert, a.Keyless.TrustRootRef, a.Keyless.InsecureIgnoreSCT = &v1beta1.KeyRef{}, "x", new(true)
	}), Trust: complete})
	c.unsupported()
	if len(c.list) < 11 {
		t.Fatalf("only %d fields are refused: %v", len(c.list), c.list)
	}
	for _, problem := range c.list {
		field := strings.ReplaceAll(strings.TrimPrefix(problem.Field, "spec."), "[0]", "[]")
		if !slices.Contains(listed, field) {
			t.Errorf("the page does not have %s", field)
		}
	}
	if diff := cmp.Diff(true, slices.Contains(listed, "images[].glob")); diff != "" {
		t.Error(diff)
	}
}
