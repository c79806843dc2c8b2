package job

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// Addresses of metadata services, which give the credentials of a node to whoever asks from it: of AWS, Azure, Google, Oracle,
// OpenStack and others, of tasks and pods of AWS, of Alibaba, and of the agents of Azure. Not all of 169.254.0.0/16, where
// nodes have their DNS cache.
var (
	metadataIPv4 = []string{"169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "100.100.100.200/32", "168.63.129.16/32"}
	metadataIPv6 = []string{"fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128"}
)

// NetworkPolicies are what the pods of a build may reach: those that build and scan everything but metadata services,
// those that test nothing. Nobody reaches any of them.
func NetworkPolicies(build *v1alpha1.BaseImageBuild) []*networkingv1.NetworkPolicy {
	kind := func(operator metav1.LabelSelectorOperator) metav1.LabelSelector {
		return metav1.LabelSelector{
			MatchLabels:      map[string]string{LabelManagedBy: ManagedBy, LabelBuild: build.Name},
			MatchExpressions: []metav1.LabelSelectorRequirement{{Key: LabelJob, Operator: operator, Values: []string{KindTest}}},
		}
	}
	return []*networkingv1.NetworkPolicy{
		networkPolicy(build, "network", kind(metav1.LabelSelectorOpNotIn), dns(), everythingElse()),
		networkPolicy(build, "test-network", kind(metav1.LabelSelectorOpIn)),
	}
}

func networkPolicy(build *v1alpha1.BaseImageBuild, what string, pods metav1.LabelSelector, egress ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: Name(build.Name, what), Namespace: build.Namespace, Labels: Labels(build)},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: pods,
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Egress:      egress,
		},
	}
}

// dns may be anywhere, also where a metadata service is.
func dns() networkingv1.NetworkPolicyEgressRule {
	port := func(protocol corev1.Protocol) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(53))}
	}
	return networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP), port(corev1.ProtocolTCP)}}
}

// everythingElse names the pods of the cluster apart: some network plugins don't count them among addresses.
func everythingElse() networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{
		{NamespaceSelector: &metav1.LabelSelector{}},
		{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: metadataIPv4}},
		{IPBlock: &networkingv1.IPBlock{CIDR: "::/0", Except: metadataIPv6}},
	}}
}
