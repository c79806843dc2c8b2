package controllers

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/limits"
)

// settings are what a BaseImage asks for, and where it says nothing, the operator's defaults.
type settings struct {
	jitter, startingDeadline, timeout time.Duration
	// pollSource and pollUpstream are zero for no polling.
	pollSource, pollUpstream time.Duration
	retries                  int32
}

func newSettings(spec *v1alpha1.BaseImageSpec, defaults *config.Defaults) settings {
	s := settings{
		jitter:           either(spec.Jitter, defaults.Jitter),
		startingDeadline: either(spec.StartingDeadline, defaults.StartingDeadline),
		timeout:          either(spec.Timeout, defaults.Timeout),
		pollSource:       either(spec.Source.PollInterval, defaults.SourcePollInterval),
		pollUpstream:     either(spec.Upstream.PollInterval, defaults.UpstreamPollInterval),
		retries:          ptr.Deref(spec.Retries, defaults.Retries),
	}
	if spec.Source.Inline != nil && spec.DockerfilePolicy.ExtraRules == nil && spec.Scan.VEXRef == nil {
		s.pollSource = 0 // It is part of the spec.
	}
	return s
}

func either(own *metav1.Duration, standard limits.Duration) time.Duration {
	if own != nil {
		return own.Duration
	}
	return standard.Std()
}

// platformsOf are the platforms of a spec with the operator's defaults for build pods.
func platformsOf(spec *v1alpha1.BaseImageSpec, pods *config.BuildPods) []v1alpha1.PlatformBuild {
	out := make([]v1alpha1.PlatformBuild, 0, len(spec.Platforms))
	for _, p := range spec.Platforms {
		if p.Resources == nil {
			p.Resources = pods.Resources.DeepCopy()
		}
		if len(p.NodeSelector) == 0 {
			p.NodeSelector = pods.NodeSelector
		}
		if len(p.Tolerations) == 0 {
			p.Tolerations = pods.Tolerations
		}
		out = append(out, p)
	}
	return out
}
