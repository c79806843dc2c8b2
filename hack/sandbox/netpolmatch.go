//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// mostMatches bounds what policies can make of one direction of a pod.
const mostMatches = 10_000

// matcher writes the matches of one policy in one direction.
type matcher struct {
	view      clusterView
	known     map[types.UID]netip.Addr
	namespace string
	// field is where packets have the address of the other side.
	field string
}

// allow adds what a rule allows: each of its peers with each of its ports. Without peers, or without ports, it is any.
func (m matcher) allow(d *direction, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) error {
	from, err := matchesOf(peers, m.peer)
	if err != nil {
		return err
	}
	to, err := matchesOf(ports, matchPort)
	if err != nil {
		return err
	}
	if len(d.Allowed)+len(from)*len(to) > mostMatches {
		return fmt.Errorf("the policies of one pod make more than %d matches", mostMatches)
	}
	for _, peer := range from {
		for _, port := range to {
			d.Allowed = append(d.Allowed, strings.TrimSpace(peer+" "+port))
		}
	}
	return nil
}

// matchesOf is one match of everything for an empty list. An item that nothing can match adds nothing.
func matchesOf[T any](items []T, match func(T) (string, error)) ([]string, error) {
	if len(items) == 0 {
		return []string{""}, nil
	}
	var all []string
	for _, item := range items {
		text, err := match(item)
		if err != nil {
			return nil, err
		}
		if text != "" {
			all = append(all, text)
		}
	}
	return all, nil
}

func (m matcher) peer(peer networkingv1.NetworkPolicyPeer) (string, error) {
	if peer.IPBlock == nil {
		return m.selected(peer)
	}
	if peer.PodSelector != nil || peer.NamespaceSelector != nil {
		return "", errors.New("a peer has an ipBlock and a selector, and may have only one of them")
	}
	return m.block(peer.IPBlock)
}

// block never matches pods, which have IPv4 only, if it is of IPv6.
func (m matcher) block(block *networkingv1.IPBlock) (string, error) {
	cidr, err := netip.ParsePrefix(block.CIDR)
	if err != nil {
		return "", fmt.Errorf("ipBlock.cidr %q is not a range of addresses: %w", block.CIDR, err)
	}
	match := m.field + " " + cidr.Masked().String()
	for _, text := range block.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return "", fmt.Errorf("ipBlock.except %q is not a range of addresses: %w", text, err)
		}
		if except.Addr().Is4() {
			match += " " + m.field + " != " + except.Masked().String()
		}
	}
	if !cidr.Addr().Is4() {
		return "", nil
	}
	return match, nil
}

// selected are the addresses of the pods that two selectors agree on. Pods on the node's network can't be told from it, and
// are not among them.
func (m matcher) selected(peer networkingv1.NetworkPolicyPeer) (string, error) {
	if peer.PodSelector == nil && peer.NamespaceSelector == nil {
		return "", errors.New("a peer is empty, and has to have an ipBlock, a podSelector or a namespaceSelector")
	}
	namespaces, err := m.selectedNamespaces(peer.NamespaceSelector)
	if err != nil {
		return "", err
	}
	var addresses []netip.Addr
	for _, pod := range m.view.pods {
		selected, err := selects(peer.PodSelector, pod.Labels)
		if err != nil {
			return "", err
		}
		if address := m.known[pod.UID]; selected && address.IsValid() && slices.Contains(namespaces, pod.Namespace) {
			addresses = append(addresses, address)
		}
	}
	return m.anyOf(addresses), nil
}

func (m matcher) anyOf(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return ""
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	var texts []string
	for _, address := range addresses {
		texts = append(texts, address.String())
	}
	return m.field + " { " + strings.Join(texts, ", ") + " }"
}

// selectedNamespaces is the policy's own without a selector.
func (m matcher) selectedNamespaces(selector *metav1.LabelSelector) ([]string, error) {
	if selector == nil {
		return []string{m.namespace}, nil
	}
	var names []string
	for _, namespace := range m.view.namespaces {
		selected, err := selects(selector, namespace.Labels)
		if err != nil {
			return nil, err
		}
		if selected {
			names = append(names, namespace.Name)
		}
	}
	return names, nil
}

// selects tells whether a selector, or none, selects what has the labels.
func selects(selector *metav1.LabelSelector, have map[string]string) (bool, error) {
	if selector == nil {
		return true, nil
	}
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false, fmt.Errorf("parsing a selector: %w", err)
	}
	return parsed.Matches(labels.Set(have)), nil
}

// matchPort matches nothing for a port with a name, whose number depends on the pod that is talked to: nothing here has one.
func matchPort(port networkingv1.NetworkPolicyPort) (string, error) {
	protocol := corev1.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	if !slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, protocol) {
		return "", fmt.Errorf("protocol %q is unknown, it may be TCP, UDP or SCTP", protocol)
	}
	name := strings.ToLower(string(protocol))
	if port.Port == nil {
		if port.EndPort != nil {
			return "", fmt.Errorf("endPort %d needs a port to start from", *port.EndPort)
		}
		return "meta l4proto " + name, nil
	}
	if port.Port.Type == intstr.String {
		return "", nil
	}
	first, last := port.Port.IntVal, port.Port.IntVal
	if port.EndPort != nil {
		last = *port.EndPort
	}
	if first < 1 || last < first || last > 65535 {
		return "", fmt.Errorf("ports %d to %d are not within 1 to 65535", first, last)
	}
	return fmt.Sprintf("%s dport %d-%d", name, first, last), nil
}
