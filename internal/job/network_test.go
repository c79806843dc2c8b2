package job

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func someBuild() *v1alpha1.BaseImageBuild {
	return &v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "wolfi-micro-7-ab12cd"},
		Spec: v1alpha1.BaseImageBuildSpec{BaseImage: "wolfi-micro"}}
}

func TestNetworkPolicies(t *testing.T) {
	const golden = "testdata/network.yaml"
	var got bytes.Buffer
	for _, p := range NetworkPolicies(someBuild()) {
		raw, err := yaml.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(raw)
	}
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("run go test ./internal/job -update if this is intended: %s", diff)
	}
}

// reaches tells, as the API defines it, whether a pod with these labels may send to an address that is no pod's.
func reaches(t *testing.T, pod labels.Set, to netip.AddrPort) bool {
	t.Helper()
	isolated, may := false, false
	for _, p := range NetworkPolicies(someBuild()) {
		selector, err := metav1.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			t.Fatal(err)
		}
		if !selector.Matches(pod) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Egress {
			may = may || (allowsPort(rule, to.Port()) && allowsAddress(rule, to.Addr()))
		}
	}
	return may || !isolated
}

func allowsPort(rule networkingv1.NetworkPolicyEgressRule, port uint16) bool {
	for _, p := range rule.Ports {
		if p.Port.IntValue() == int(port) {
			return true
		}
	}
	return len(rule.Ports) == 0
}

func allowsAddress(rule networkingv1.NetworkPolicyEgressRule, to netip.Addr) bool {
	for _, peer := range rule.To {
		if peer.IPBlock == nil || !netip.MustParsePrefix(peer.IPBlock.CIDR).Contains(to) {
			continue
		}
		excepted := false
		for _, e := range peer.IPBlock.Except {
			excepted = excepted || netip.MustParsePrefix(e).Contains(to)
		}
		if !excepted {
			return true
		}
	}
	return len(rule.To) == 0
}

func TestWhatPodsReach(t *testing.T) {
	of := func(kind string) labels.Set {
		set := labels.Set(Labels(someBuild()))
		if kind != "" {
			set[LabelJob] = kind
		}
		return set
	}
	other := of("")
	other[LabelBuild] = "another"
	tests := map[string]struct {
		pod  labels.Set
		to   string
		want bool
	}{
		"a build, a registry":                     {of(""), "203.0.113.1:443", true},
		"a build, a registry by IPv6":             {of(""), "[2001:db8::1]:443", true},
		"a build, the DNS cache of its node":      {of(""), "169.254.20.10:53", true},
		"a build, DNS where the metadata are":     {of(""), "169.254.169.254:53", true},
		"a build, the metadata of its node":       {of(""), "169.254.169.254:80", false},
		"a build, those of a task":                {of(""), "169.254.170.2:80", false},
		"a build, the identity of pods":           {of(""), "169.254.170.23:80", false},
		"a build, those of Alibaba":               {of(""), "100.100.100.200:80", false},
		"a build, the agent of Azure":             {of(""), "168.63.129.16:32526", false},
		"a build, the metadata by IPv6":           {of(""), "[fd00:ec2::254]:80", false},
		"a build, the identity of pods by IPv6":   {of(""), "[fd00:ec2::23]:80", false},
		"a scan, a database":                      {of("scan"), "203.0.113.1:443", true},
		"a scan, the metadata of its node":        {of("scan"), "169.254.169.254:80", false},
		"a test, a registry":                      {of("test"), "203.0.113.1:443", false},
		"a test, DNS":                             {of("test"), "203.0.113.1:53", false},
		"a pod of another build, for all we know": {other, "169.254.169.254:80", true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := reaches(t, tt.pod, netip.MustParseAddrPort(tt.to)); got != tt.want {
				t.Errorf("reaches %s: %t, want %t", tt.to, got, tt.want)
			}
		})
	}
}

func TestNobodyReachesPods(t *testing.T) {
	for _, p := range NetworkPolicies(someBuild()) {
		if len(p.Spec.Ingress) > 0 || len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("%s lets somebody in, or through: %+v", p.Name, p.Spec)
		}
	}
}
