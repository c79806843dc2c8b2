//go:build linux

package main

import (
	"flag"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var update = flag.Bool("update", false, "write the golden file")

// podAt is a pod whose UID is its name.
func podAt(namespace, name, address string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), Labels: labels},
		Status:     corev1.PodStatus{PodIP: address, Phase: corev1.PodRunning},
	}
}

func policyOf(spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "builds", Name: "policy"}, Spec: spec}
}

func ipBlock(cidr string, except ...string) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: cidr, Except: except}}
}

func labelled(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func expression(key string, operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

func port(protocol corev1.Protocol, number int) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: new(intstr.FromInt(number))}
}

// testCluster has a build, which policies select, its neighbours in the namespace, and pods elsewhere.
func testCluster(policies ...*networkingv1.NetworkPolicy) clusterView {
	ended := podAt("builds", "ended", "10.231.16.9", map[string]string{"app": "client"})
	ended.Status.Phase = corev1.PodSucceeded
	onNode := podAt("builds", "on-node", nodeAddress.String(), map[string]string{"app": "client"})
	onNode.Spec.HostNetwork = true
	return clusterView{
		policies: policies,
		namespaces: []*corev1.Namespace{
			{ObjectMeta: metav1.ObjectMeta{Name: "builds", Labels: map[string]string{"team": "images"}}},
			{ObjectMeta: metav1.ObjectMeta{Name: "other", Labels: map[string]string{"team": "other"}}},
		},
		pods: []*corev1.Pod{
			podAt("builds", "build", "10.231.16.5", map[string]string{"app": "build"}),
			podAt("builds", "client", "10.231.16.6", map[string]string{"app": "client"}),
			podAt("other", "client-elsewhere", "10.231.16.7", map[string]string{"app": "client"}),
			podAt("other", "server-elsewhere", "10.231.16.8", map[string]string{"app": "server"}),
			ended, onNode, podAt("builds", "starting", "", map[string]string{"app": "client"}),
		},
	}
}

// buildPolicy is like that of the product's builds.
func buildPolicy() *networkingv1.NetworkPolicy {
	return policyOf(networkingv1.NetworkPolicySpec{
		PodSelector: *labelled("app", "build"),
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{
			{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, 53), port(corev1.ProtocolTCP, 53)}},
			{To: []networkingv1.NetworkPolicyPeer{ipBlock("0.0.0.0/0", "169.254.169.254/32", "169.254.170.2/32"), ipBlock("::/0", "fd00:ec2::254/128")}},
		},
	})
}

func TestNetpolRulesOfABuild(t *testing.T) {
	got := translate(testCluster(buildPolicy()))
	if len(got.problems) > 0 {
		t.Errorf("got problems %v", got.problems)
	}
	golden := filepath.Join("testdata", "netpol.nft")
	if *update {
		if err := writeFile(golden, []byte(got.rules), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got.rules != string(want) {
		t.Errorf("the rules are not those of %s, which -update writes: %v\n%s", golden, err, got.rules)
	}
}

func TestPolicyAllows(t *testing.T) {
	ingress, egress := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	from := func(peers ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicySpec {
		return networkingv1.NetworkPolicySpec{PolicyTypes: ingress, Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peers}}}
	}
	to := func(ports ...networkingv1.NetworkPolicyPort) networkingv1.NetworkPolicySpec {
		return networkingv1.NetworkPolicySpec{PolicyTypes: egress, Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: ports}}}
	}
	selecting := func(selector *metav1.LabelSelector) networkingv1.NetworkPolicySpec {
		return networkingv1.NetworkPolicySpec{PodSelector: *selector, PolicyTypes: ingress}
	}
	free, closed := direction{}, direction{Isolated: true}
	only := func(matches ...string) direction { return direction{Isolated: true, Allowed: matches} }
	for name, test := range map[string]struct {
		specs           []networkingv1.NetworkPolicySpec
		ingress, egress direction
	}{
		"without a policy a pod is free":                 {nil, free, free},
		"a policy without rules closes what it is about": {[]networkingv1.NetworkPolicySpec{{PolicyTypes: egress}}, free, closed},
		"without types it is about ingress":              {[]networkingv1.NetworkPolicySpec{{}}, closed, free},
		"without types and with egress it is about both": {[]networkingv1.NetworkPolicySpec{{Egress: []networkingv1.NetworkPolicyEgressRule{{}}}}, closed, only("")},
		"rules of another direction don't count":         {[]networkingv1.NetworkPolicySpec{{PolicyTypes: ingress, Egress: []networkingv1.NetworkPolicyEgressRule{{}}}}, closed, free},
		"a selector of other labels doesn't select":      {[]networkingv1.NetworkPolicySpec{selecting(labelled("app", "other"))}, free, free},
		"an expression selects":                          {[]networkingv1.NetworkPolicySpec{selecting(expression("app", metav1.LabelSelectorOpIn, "x", "build"))}, closed, free},
		"an expression doesn't select":                   {[]networkingv1.NetworkPolicySpec{selecting(expression("app", metav1.LabelSelectorOpNotIn, "x", "build"))}, free, free},
		"an empty rule allows everything":                {[]networkingv1.NetworkPolicySpec{from()}, only(""), free},
		"two policies allow what either does":            {[]networkingv1.NetworkPolicySpec{{PolicyTypes: ingress}, from(ipBlock("192.0.2.0/24"))}, only("ip saddr 192.0.2.0/24"), free},
		"a block without some parts":                     {[]networkingv1.NetworkPolicySpec{from(ipBlock("10.0.0.7/8", "10.1.0.0/16", "10.2.0.0/16"))}, only("ip saddr 10.0.0.0/8 ip saddr != 10.1.0.0/16 ip saddr != 10.2.0.0/16"), free},
		"a block of IPv6 is nobody":                      {[]networkingv1.NetworkPolicySpec{from(ipBlock("::/0"))}, closed, free},
		"pods are of the policy's namespace":             {[]networkingv1.NetworkPolicySpec{from(networkingv1.NetworkPolicyPeer{PodSelector: labelled("app", "client")})}, only("ip saddr { 10.231.16.6 }"), free},
		"an empty selector is all pods of the namespace": {[]networkingv1.NetworkPolicySpec{from(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}})}, only("ip saddr { 10.231.16.5, 10.231.16.6 }"), free},
		"namespaces are all of their pods":               {[]networkingv1.NetworkPolicySpec{from(networkingv1.NetworkPolicyPeer{NamespaceSelector: labelled("team", "other")})}, only("ip saddr { 10.231.16.7, 10.231.16.8 }"), free},
		"pods of namespaces are those that both select":  {[]networkingv1.NetworkPolicySpec{from(networkingv1.NetworkPolicyPeer{PodSelector: labelled("app", "client"), NamespaceSelector: labelled("team", "other")})}, only("ip saddr { 10.231.16.7 }"), free},
		"pods that don't exist are nobody":               {[]networkingv1.NetworkPolicySpec{from(networkingv1.NetworkPolicyPeer{PodSelector: labelled("app", "none")})}, closed, free},
		"a port is of TCP":                               {[]networkingv1.NetworkPolicySpec{to(networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(443))})}, free, only("tcp dport 443-443")},
		"a port of a protocol":                           {[]networkingv1.NetworkPolicySpec{to(port(corev1.ProtocolSCTP, 7))}, free, only("sctp dport 7-7")},
		"all ports of a protocol":                        {[]networkingv1.NetworkPolicySpec{to(networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolUDP)})}, free, only("meta l4proto udp")},
		"ports up to another":                            {[]networkingv1.NetworkPolicySpec{to(networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(80)), EndPort: new(int32(90))})}, free, only("tcp dport 80-90")},
		"a port with a name is none":                     {[]networkingv1.NetworkPolicySpec{to(networkingv1.NetworkPolicyPort{Port: new(intstr.FromString("http"))})}, free, closed},
		"each peer is allowed each port, and others nothing": {[]networkingv1.NetworkPolicySpec{{PolicyTypes: egress, Egress: []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{ipBlock("192.0.2.1/32"), ipBlock("192.0.2.2/32")}, Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 1), port(corev1.ProtocolUDP, 2)}}}}},
			free, only("ip daddr 192.0.2.1/32 tcp dport 1-1", "ip daddr 192.0.2.1/32 udp dport 2-2", "ip daddr 192.0.2.2/32 tcp dport 1-1", "ip daddr 192.0.2.2/32 udp dport 2-2")},
	} {
		t.Run(name, func(t *testing.T) {
			view := testCluster()
			for _, spec := range test.specs {
				view.policies = append(view.policies, policyOf(spec))
			}
			got, err := view.guard(view.pods[0], view.addresses())
			if err != nil || !reflect.DeepEqual(got.Ingress, test.ingress) || !reflect.DeepEqual(got.Egress, test.egress) {
				t.Errorf("got ingress %+v, egress %+v, %v", got.Ingress, got.Egress, err)
			}
		})
	}
}

func TestPolicyOfAnotherNamespaceDoesNotSelect(t *testing.T) {
	policy := policyOf(networkingv1.NetworkPolicySpec{})
	policy.Namespace = "other"
	view := testCluster(policy)
	if got, err := view.guard(view.pods[0], view.addresses()); err != nil || got.Ingress.Isolated {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPodIsCutOff(t *testing.T) {
	for name, spec := range map[string]networkingv1.NetworkPolicySpec{
		"a selector that is none":                {PodSelector: *expression("app", "Sounds Like", "x")},
		"a type that is none":                    {PolicyTypes: []networkingv1.PolicyType{"Sideways"}},
		"a range that is none":                   {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{ipBlock("10.0.0.0")}}}},
		"an exception that is none":              {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{ipBlock("10.0.0.0/8", "drop")}}}},
		"an empty peer":                          {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{}}}}},
		"a peer of two kinds":                    {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{IPBlock: ipBlock("10.0.0.0/8").IPBlock, PodSelector: labelled("a", "b")}}}}},
		"a peer with a selector of no pod":       {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: expression("app", "Sounds Like", "x")}}}}},
		"a peer with a selector of no namespace": {Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: expression("app", "Sounds Like", "x")}}}}},
		"an unknown protocol":                    {Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{port("ICMP", 1)}}}},
		"a port that is none":                    {Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 0)}}}},
		"a port beyond all":                      {Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 65536)}}}},
		"ports that end too early":               {Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(2)), EndPort: new(int32(1))}}}}},
		"an end without a start":                 {Egress: []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{{EndPort: new(int32(1))}}}}},
		"more than nft should have": {Egress: []networkingv1.NetworkPolicyEgressRule{{
			To: slices.Repeat([]networkingv1.NetworkPolicyPeer{ipBlock("10.0.0.0/8")}, mostMatches/2), Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 1), port(corev1.ProtocolTCP, 2), port(corev1.ProtocolTCP, 3)}}}},
	} {
		t.Run(name, func(t *testing.T) {
			allowing := policyOf(networkingv1.NetworkPolicySpec{
				Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, Egress: []networkingv1.NetworkPolicyEgressRule{{}},
			})
			got := translate(testCluster(allowing, policyOf(spec)))
			if len(got.problems) == 0 || !strings.HasPrefix(got.problems[0], "pod builds/build is cut off: NetworkPolicy policy: ") {
				t.Errorf("got problems %q", got.problems)
			}
			for _, name := range []string{"ingress", "egress"} {
				if want := "chain " + name + "-10.231.16.5 {\n\t\tdrop\n"; !strings.Contains(got.rules, want) {
					t.Errorf("there is no %q in:\n%s", want, got.rules)
				}
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	address := netip.MustParseAddr
	for name, test := range map[string]struct {
		claims map[types.UID]netip.Addr
		change func(pods []*corev1.Pod)
		want   map[types.UID]netip.Addr
	}{
		"pods that have ended, are on the node's network or have no address have none": {
			want: map[types.UID]netip.Addr{"build": address("10.231.16.5"), "client": address("10.231.16.6"), "client-elsewhere": address("10.231.16.7"), "server-elsewhere": address("10.231.16.8")},
		},
		"a claim counts before the status and more than it": {
			claims: map[types.UID]netip.Addr{"starting": address("10.231.16.5"), "client": address("10.231.16.9"), "ended": address("10.231.16.10"), "gone": address("10.231.16.11")},
			want:   map[types.UID]netip.Addr{"starting": address("10.231.16.5"), "client": address("10.231.16.9"), "client-elsewhere": address("10.231.16.7"), "server-elsewhere": address("10.231.16.8")},
		},
		"an address of two pods is nobody's": {
			change: func(pods []*corev1.Pod) { pods[1].Status.PodIP = "10.231.16.5" },
			want:   map[types.UID]netip.Addr{"client-elsewhere": address("10.231.16.7"), "server-elsewhere": address("10.231.16.8")},
		},
		"an address that pods don't have is nobody's": {
			change: func(pods []*corev1.Pod) { pods[0].Status.PodIP, pods[1].Status.PodIP = "10.231.0.1", "fd00::1" },
			want:   map[types.UID]netip.Addr{"client-elsewhere": address("10.231.16.7"), "server-elsewhere": address("10.231.16.8")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			view := testCluster()
			view.claims = test.claims
			if test.change != nil {
				test.change(view.pods)
			}
			if got := view.addresses(); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// nft only looks at the rules here: in a network of its own, and without loading them.
func TestNftTakesTheRules(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "basewright", "debian-*", "root", "usr", "sbin", "nft"))
	if err != nil || len(found) == 0 || os.Geteuid() != 0 {
		t.Skipf("this needs root and the packages of the sandbox: %v, %v", found, err)
	}
	unpacked := debian{dir: strings.TrimSuffix(found[0], "/root/usr/sbin/nft")}
	for name, rules := range map[string]string{
		"of a build":    translate(testCluster(buildPolicy())).rules,
		"for no pod":    netpolRules(nil),
		"of every kind": translate(testCluster(everyKind()...)).rules,
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), found[0], "--check", "--file", "-")
			cmd.Env, cmd.Stdin = []string{"LD_LIBRARY_PATH=" + unpacked.libraries()}, strings.NewReader(rules)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
			if output, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s\n%s", err, output, rules)
			}
		})
	}
}

func everyKind() []*networkingv1.NetworkPolicy {
	peers := []networkingv1.NetworkPolicyPeer{ipBlock("10.0.0.0/8", "10.0.0.0/9", "10.0.0.0/10"), {PodSelector: &metav1.LabelSelector{}}}
	ports := []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 1), port(corev1.ProtocolUDP, 2), port(corev1.ProtocolSCTP, 65535), {Protocol: new(corev1.ProtocolSCTP)}}
	return []*networkingv1.NetworkPolicy{
		policyOf(networkingv1.NetworkPolicySpec{
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: peers, Ports: ports}, {}}, Egress: []networkingv1.NetworkPolicyEgressRule{{To: peers, Ports: ports}, {}},
		}),
		buildPolicy(),
	}
}
