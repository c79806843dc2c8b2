package imagepolicy

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
)

func policyNamed(t testing.TB, name string, changes ...func(*spec)) *Policy {
	t.Helper()
	o := changed(changes...)
	o.Name = name
	p, _, err := Compile(Input{Object: o, Trust: complete})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func forImages(globs ...string) func(*spec) {
	return func(s *spec) { s.Images = globs }
}

func inNamespaces(labels map[string]string) func(*spec) {
	return func(s *spec) { s.NamespaceSelector = &metav1.LabelSelector{MatchLabels: labels} }
}

func TestThePoliciesForAnImage(t *testing.T) {
	cluster := func(name, glob string) *Policy {
		p, _, err := CompileCluster(ClusterInput{Object: clusterPolicy(name, glob), Trust: complete})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	broken := good()
	broken.Name, broken.Spec.Images = "broken", []string{"a.example/broken", "a:b:c"}
	unready := good()
	unready.Name, unready.Spec.Images = "unready", []string{"a.example/unready"}
	oddly := good()
	oddly.Name, oddly.Spec.Images = "oddly", []string{"odd.example/**"}
	oddly.Spec.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
	s := NewSet([]*Policy{
		policyNamed(t, "two", forImages("b.example/x", "a.example/team/**")),
		policyNamed(t, "one", forImages("a.example/**")),
		policyNamed(t, "prod", forImages("a.example/**"), inNamespaces(map[string]string{"env": "prod"})),
		nil,
		cluster("tagged", "c.example/x:v1"), cluster("one", "c.example/**"), cluster("hub", "*"),
		NotReady(unready, errors.New("x")),
	})
	tests := map[string]struct {
		name, reference string
		labels          map[string]string
		want            []string
	}{
		"one of its globs":              {"b.example/x", "b.example/x", nil, []string{"two"}},
		"all that match, by name":       {"a.example/team/x", "a.example/team/x:1", nil, []string{"one", "two"}},
		"no more than a whole segment":  {"a.example/team-evil/x", "a.example/team-evil/x", nil, []string{"one"}},
		"its namespaces":                {"a.example/x", "a.example/x", map[string]string{"env": "prod"}, []string{"one", "prod"}},
		"not those of others":           {"a.example/x", "a.example/x", map[string]string{"env": "test"}, []string{"one"}},
		"a tag":                         {"c.example/x", "c.example/x:v1", nil, []string{"cluster one", "cluster tagged"}},
		"another tag":                   {"c.example/x", "c.example/x:v2", nil, []string{"cluster one"}},
		"a digest behind the tag":       {"c.example/x", "c.example/x:v1@" + digestA, nil, []string{"cluster one"}},
		"a host in other letters":       {"c.example/x", "C.Example:443/x@" + digestA, nil, []string{"cluster one"}},
		"a short name":                  {"index.docker.io/library/alpine", "alpine", nil, []string{"cluster hub"}},
		"a policy that was never ready": {"a.example/unready", "a.example/unready", nil, []string{"one", "unready"}},
		"nothing":                       {"d.example/x", "d.example/x", nil, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			found, err := s.For(named(t, tt.name), tt.reference, "team", tt.labels)
			if diff := cmp.Diff(tt.want, titles(found)); err != nil || diff != "" {
				t.Errorf("got %v\n%s", err, diff)
			}
		})
	}
	for desc, o := range map[string]*v1alpha1.ImageAdmissionPolicy{"globs": broken, "namespaces": oddly} {
		found, err := NewSet([]*Policy{NotReady(o, errors.New("x"))}).For(named(t, "z.example/z"), "z.example/z", "team", nil)
		if err != nil || len(found) != 1 || found[0].NotReady == nil {
			t.Errorf("a policy of which nobody knows the %s is not for everything: %v %v", desc, found, err)
		}
	}
}

func titles(found []*Policy) []string {
	var out []string
	for _, p := range found {
		title := p.Name
		if p.Kind == KindClusterImagePolicy {
			title = "cluster " + p.Name
		}
		out = append(out, title)
	}
	return out
}

func TestWhereNobodyKnowsWhichPoliciesThereAreIsAnError(t *testing.T) {
	s := NewSet([]*Policy{NotReadyCluster(clusterPolicy("x", "a.example/**"), errors.New("x"))})
	n := named(t, "a.example/x")
	for desc, tt := range map[string]struct {
		name                 imageglob.Name
		reference, namespace string
	}{
		"no name":                 {imageglob.Name{}, "a.example/x", "team"},
		"no path":                 {imageglob.Name{Host: "a.example"}, "a.example/x", "team"},
		"no namespace":            {n, "a.example/x", ""},
		"a reference of no image": {n, "a.example/X?", "team"},
	} {
		if found, err := s.For(tt.name, tt.reference, tt.namespace, nil); err == nil || found != nil {
			t.Errorf("%s: got %v", desc, found)
		}
	}
}

func BenchmarkFor(b *testing.B) {
	policies := make([]*Policy, 0, 100)
	for i := range 100 {
		policies = append(policies, policyNamed(b, fmt.Sprintf("p%03d", i), forImages(fmt.Sprintf("registry.example/team%d/**", i)), inNamespaces(map[string]string{"env": "prod"})))
	}
	clusters := policies[:90:90]
	for i := range 10 {
		p, _, err := CompileCluster(ClusterInput{Object: clusterPolicy(fmt.Sprintf("c%d", i), fmt.Sprintf("registry.example/team%d/**", i)), Trust: complete})
		if err != nil {
			b.Fatal(err)
		}
		clusters = append(clusters, p)
	}
	n, reference, labels := named(b, "registry.example/team7/app"), "registry.example/team7/app:v1@"+digestA, map[string]string{"env": "prod", "team": "x"}
	for name, s := range map[string]*Set{"100": NewSet(policies), "90+10ClusterImagePolicies": NewSet(clusters)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found, err := s.For(n, reference, "team", labels); err != nil || len(found) == 0 {
					b.Fatal(found, err)
				}
			}
		})
	}
}
