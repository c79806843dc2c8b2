package config

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/ibshafique/base-images/internal/limits"
)

// Defaults of the fields that a BaseImage leaves out. Their bounds are those of the API.
type Defaults struct {
	// Jitter is the longest time by which a scheduled build is delayed. From 0s to 24h. Default: 30m.
	Jitter limits.Duration `json:"jitter"`
	// StartingDeadline is how late a missed scheduled build may still start. From 1m to 168h. Default: 24h.
	StartingDeadline limits.Duration `json:"startingDeadline"`
	// Timeout of a whole build. From 1m to 24h. Default: 1h.
	Timeout limits.Duration `json:"timeout"`
	// Retries of a build that failed for a cause which may pass. From 0 to 10. Default: 3.
	Retries int32 `json:"retries"`
	// SourcePollInterval is how often a source is looked at for changes; 0s turns that off.
	// From 1m to 168h. Default: 5m.
	SourcePollInterval limits.Duration `json:"sourcePollInterval"`
	// UpstreamPollInterval is how often upstream images are looked at for changes; 0s turns that off.
	// From 1m to 168h. Default: 1h.
	UpstreamPollInterval limits.Duration `json:"upstreamPollInterval"`
	// MaxImageSize is that of the compressed layers of one platform. From 1 to 64Gi. Default: 512Mi.
	MaxImageSize limits.Bytes `json:"maxImageSize"`
	// BuildPods of the platforms of a BaseImage.
	BuildPods BuildPods `json:"buildPods"`
}

// BuildPods has what a platform of a BaseImage does not give on its own. Each field stands as a whole: it is
// not merged with the platform's.
type BuildPods struct {
	// Resources of the container that runs the Dockerfile. Never nil after Parse.
	// Default: requests of 250m CPU and 512Mi memory, a limit of 2Gi memory.
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// NodeSelector of build pods, at most 32 labels. Default: any node.
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Tolerations of build pods, at most 32. Default: none.
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
}

func standard() Defaults {
	return Defaults{
		Jitter:               limits.Duration(30 * time.Minute),
		StartingDeadline:     limits.Duration(24 * time.Hour),
		Timeout:              limits.Duration(time.Hour),
		Retries:              3,
		SourcePollInterval:   limits.Duration(5 * time.Minute),
		UpstreamPollInterval: limits.Duration(time.Hour),
		MaxImageSize:         512 << 20,
		BuildPods: BuildPods{Resources: &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")},
		}},
	}
}

const (
	minute = limits.Duration(time.Minute)
	day    = limits.Duration(24 * time.Hour)
	week   = 7 * day
)

func (d Defaults) validate(f *findings, at *path) {
	between(f, at.child("jitter"), d.Jitter, 0, day)
	between(f, at.child("startingDeadline"), d.StartingDeadline, minute, week)
	between(f, at.child("timeout"), d.Timeout, minute, day)
	between(f, at.child("retries"), d.Retries, 0, 10)
	poll(f, at.child("sourcePollInterval"), d.SourcePollInterval)
	poll(f, at.child("upstreamPollInterval"), d.UpstreamPollInterval)
	between(f, at.child("maxImageSize"), d.MaxImageSize, 1, 64<<30)
	d.BuildPods.validate(f, at.child("buildPods"))
}

// between says what the API says of the same field.
func between[T limits.Duration | limits.Bytes | int | int32](f *findings, at *path, value, least, most T) {
	if value < least || value > most {
		f.invalid(at, "%v must be between %v and %v", value, least, most)
	}
}

func poll(f *findings, at *path, value limits.Duration) {
	if value != 0 && (value < minute || value > week) {
		f.invalid(at, "%v must be 0s, or between %v and %v", value, minute, week)
	}
}
