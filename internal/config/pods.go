package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

// maxPlacement is how many labels and tolerations the API accepts for a platform.
const maxPlacement = 32

// validate says what the apiserver would say of every build pod, at the first one.
func (b BuildPods) validate(f *findings, at *path) {
	validateResources(f, at.child("resources"), *b.Resources)
	validateNodeSelector(f, at.child("nodeSelector"), b.NodeSelector)
	tolerations := at.child("tolerations")
	if len(b.Tolerations) > maxPlacement {
		f.invalid(tolerations, "has %d items, at most %d are allowed", len(b.Tolerations), maxPlacement)
		return
	}
	for i, t := range b.Tolerations {
		validateToleration(f, tolerations.index(i), t)
	}
}

func validateResources(f *findings, at *path, r corev1.ResourceRequirements) {
	if len(r.Claims) > 0 {
		f.invalid(at.child("claims"), "are not supported: build pods claim no devices")
	}
	validateQuantities(f, at.child("limits"), r.Limits)
	validateQuantities(f, at.child("requests"), r.Requests)
	for _, resource := range slices.Sorted(maps.Keys(r.Requests)) {
		request := r.Requests[resource]
		if limit, ok := r.Limits[resource]; ok && request.Cmp(limit) > 0 {
			f.invalid(at.child("requests").key(string(resource)), "%s is more than the limit of %s", request.String(), limit.String())
		}
	}
}

func validateQuantities(f *findings, at *path, list corev1.ResourceList) {
	for _, resource := range slices.Sorted(maps.Keys(list)) {
		field, quantity := at.key(string(resource)), list[resource]
		if !isContainerResource(string(resource)) {
			f.invalid(field, "is not a resource of containers: cpu, memory, ephemeral-storage, hugepages-<size> or one with a domain, such as example.com/gpu")
		}
		if quantity.Sign() < 0 {
			f.invalid(field, "%s must not be negative", quantity.String())
		}
	}
}

// isContainerResource knows the resources of Kubernetes itself, which have no domain. The others are what plugins on
// nodes say.
func isContainerResource(resource string) bool {
	switch corev1.ResourceName(resource) {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return true
	}
	own := strings.HasPrefix(resource, corev1.ResourceHugePagesPrefix)
	return (own || strings.Contains(resource, "/")) && len(content.IsLabelKey(resource)) == 0
}

func validateNodeSelector(f *findings, at *path, selector map[string]string) {
	if len(selector) > maxPlacement {
		f.invalid(at, "has %d labels, at most %d are allowed", len(selector), maxPlacement)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		labelKey(f, at.key(key), key)
		labelValue(f, at.key(key), selector[key])
	}
}

func labelKey(f *findings, at *path, key string) {
	if problems := content.IsLabelKey(key); len(problems) > 0 {
		f.invalid(at, "%s is not the key of a label: %s", quoted(key), problems[0])
	}
}

func labelValue(f *findings, at *path, value string) {
	if problems := content.IsLabelValue(value); len(problems) > 0 {
		f.invalid(at, "%s is not the value of a label: %s", quoted(value), problems[0])
	}
}

func validateToleration(f *findings, at *path, t corev1.Toleration) {
	if t.Key != "" {
		labelKey(f, at.child("key"), t.Key)
	} else if t.Operator != corev1.TolerationOpExists {
		f.invalid(at.child("key"), "is required unless operator is Exists")
	}
	validateOperator(f, at, t)
	switch t.Effect {
	case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		f.invalid(at.child("effect"), "%s must be NoSchedule, PreferNoSchedule or NoExecute", quoted(string(t.Effect)))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		f.invalid(at.child("tolerationSeconds"), "needs the effect NoExecute")
	}
}

func validateOperator(f *findings, at *path, t corev1.Toleration) {
	value := at.child("value")
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		labelValue(f, value, t.Value)
	case corev1.TolerationOpExists:
		if t.Value != "" {
			f.invalid(value, "must be empty if operator is Exists")
		}
	case corev1.TolerationOpLt, corev1.TolerationOpGt:
		if _, err := strconv.ParseInt(t.Value, 10, 64); err != nil {
			f.invalid(value, "%s must be a whole number if operator is %s", quoted(t.Value), t.Operator)
		}
	default:
		f.invalid(at.child("operator"), "%s must be Equal, Exists, Lt or Gt", quoted(string(t.Operator)))
	}
}
