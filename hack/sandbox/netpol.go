//go:build linux

package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
)

// clusterView is what NetworkPolicies are judged by.
type clusterView struct {
	pods       []*corev1.Pod
	policies   []*networkingv1.NetworkPolicy
	namespaces []*corev1.Namespace
	// claims are the addresses that pods got on this node, which the apiserver hears of later.
	claims map[types.UID]netip.Addr
}

// podGuard is what a pod may receive and send.
type podGuard struct {
	Name            string
	Address         netip.Addr
	Ingress, Egress direction
}

// direction is free unless a policy speaks of it: then it has matches of nft for all that is allowed.
type direction struct {
	Isolated bool
	Allowed  []string
}

// translation is a set of rules and whom they are about.
type translation struct {
	rules string
	known map[types.UID]netip.Addr
	// problems are pods that are cut off, and why.
	problems []string
}

// translate turns policies into rules. A pod with a policy that can't be translated is cut off: whoever wrote the policy
// wanted less than everything.
func translate(view clusterView) translation {
	t := translation{known: view.addresses()}
	var guards []podGuard
	for _, pod := range view.pods {
		if !t.known[pod.UID].IsValid() {
			continue
		}
		guard, err := view.guard(pod, t.known)
		if err != nil {
			t.problems = append(t.problems, fmt.Sprintf("pod %s is cut off: %v", guard.Name, err))
			guard.Ingress, guard.Egress = direction{Isolated: true}, direction{Isolated: true}
		}
		guards = append(guards, guard)
	}
	slices.SortFunc(guards, func(a, b podGuard) int { return a.Address.Compare(b.Address) })
	slices.Sort(t.problems)
	t.rules = netpolRules(guards)
	return t
}

// addresses are those that belong to one pod for certain. What the node gave out counts more than what a status says,
// which may be from before a restart.
func (v clusterView) addresses() map[types.UID]netip.Addr {
	known := uniqueAddresses(v.pods, func(pod *corev1.Pod) netip.Addr { return v.claims[pod.UID] })
	taken := map[netip.Addr]bool{}
	for _, address := range known {
		taken[address] = true
	}
	maps.Copy(known, uniqueAddresses(v.pods, func(pod *corev1.Pod) netip.Addr {
		address, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil || taken[address] || known[pod.UID].IsValid() {
			return netip.Addr{}
		}
		return address
	}))
	return known
}

// uniqueAddresses leaves out pods that are on the node's own network, those that have ended, whose addresses go to others,
// and those that have the same address.
func uniqueAddresses(pods []*corev1.Pod, of func(*corev1.Pod) netip.Addr) map[types.UID]netip.Addr {
	found, times := map[types.UID]netip.Addr{}, map[netip.Addr]int{}
	for _, pod := range pods {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if address := of(pod); podRange.Contains(address) && !pod.Spec.HostNetwork && !ended {
			found[pod.UID] = address
			times[address]++
		}
	}
	maps.DeleteFunc(found, func(_ types.UID, address netip.Addr) bool { return times[address] > 1 })
	return found
}

// guard joins the policies of a pod: what one of them allows, the others don't take away.
func (v clusterView) guard(pod *corev1.Pod, known map[types.UID]netip.Addr) (podGuard, error) {
	guard := podGuard{Name: pod.Namespace + "/" + pod.Name, Address: known[pod.UID]}
	for _, policy := range v.policies {
		if policy.Namespace != pod.Namespace {
			continue
		}
		selected, err := selects(&policy.Spec.PodSelector, pod.Labels)
		if err == nil && selected {
			err = guard.add(policy, matcher{view: v, known: known, namespace: policy.Namespace})
		}
		if err != nil {
			return guard, fmt.Errorf("NetworkPolicy %s: %w", policy.Name, err)
		}
	}
	return guard, nil
}

func (g *podGuard) add(policy *networkingv1.NetworkPolicy, m matcher) error {
	kinds, err := policyTypes(policy)
	if err != nil {
		return err
	}
	if slices.Contains(kinds, networkingv1.PolicyTypeIngress) {
		m.field, g.Ingress.Isolated = "ip saddr", true
		for i, rule := range policy.Spec.Ingress {
			if err := m.allow(&g.Ingress, rule.From, rule.Ports); err != nil {
				return fmt.Errorf("spec.ingress[%d]: %w", i, err)
			}
		}
	}
	if slices.Contains(kinds, networkingv1.PolicyTypeEgress) {
		m.field, g.Egress.Isolated = "ip daddr", true
		for i, rule := range policy.Spec.Egress {
			if err := m.allow(&g.Egress, rule.To, rule.Ports); err != nil {
				return fmt.Errorf("spec.egress[%d]: %w", i, err)
			}
		}
	}
	return nil
}

// policyTypes are the directions that a policy speaks of. The apiserver fills in the same default.
func policyTypes(policy *networkingv1.NetworkPolicy) ([]networkingv1.PolicyType, error) {
	both := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	kinds := policy.Spec.PolicyTypes
	for _, kind := range kinds {
		if !slices.Contains(both, kind) {
			return nil, fmt.Errorf("spec.policyTypes has %q, and may have %v", kind, both)
		}
	}
	switch {
	case len(kinds) > 0:
		return kinds, nil
	case len(policy.Spec.Egress) > 0:
		return both, nil
	default:
		return both[:1], nil
	}
}
