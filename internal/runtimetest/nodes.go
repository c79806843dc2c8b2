package runtimetest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// EmulationLabel with an architecture behind it is a label of nodes that run its programs through binfmt_misc. Whoever
// installs that sets it: emulation.basewright.dev/arm64.
const EmulationLabel = "emulation.basewright.dev/"

// NodeFacts are what decides whether a node can run a test pod. One that is cordoned, has a taint or no room counts: the
// pod waits for it, and says so. To skip tests because of that would let images through that could be tested.
type NodeFacts struct {
	Labels map[string]string
}

// CanRun reports whether any node can run the image of a platform: natively, or because of its EmulationLabel.
func CanRun(nodes []NodeFacts, p pipeline.Platform, nodeSelector map[string]string) bool {
	return slices.ContainsFunc(nodes, func(n NodeFacts) bool {
		for key, value := range nodeSelector {
			if got, ok := n.Labels[key]; !ok || got != value {
				return false
			}
		}
		_, emulated := n.Labels[EmulationLabel+p.Architecture]
		return n.Labels[corev1.LabelOSStable] == p.OS && (emulated || n.Labels[corev1.LabelArchStable] == p.Architecture)
	})
}

// nodesFor says the same to the scheduler.
func nodesFor(p pipeline.Platform) *corev1.NodeSelector {
	os := corev1.NodeSelectorRequirement{Key: corev1.LabelOSStable, Operator: corev1.NodeSelectorOpIn, Values: []string{p.OS}}
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{os, {Key: corev1.LabelArchStable, Operator: corev1.NodeSelectorOpIn, Values: []string{p.Architecture}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{os, {Key: EmulationLabel + p.Architecture, Operator: corev1.NodeSelectorOpExists}}},
	}}
}
