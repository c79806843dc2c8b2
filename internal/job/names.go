// Package job names the Jobs of a build and reads how they have ended, whatever they do: build a platform, scan or test
// an image. It is pure: nothing here talks to a cluster.
package job

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// Labels of everything that belongs to a build.
const (
	LabelManagedBy    = "app.kubernetes.io/managed-by"
	ManagedBy         = "basewright"
	LabelBaseImage    = "basewright.dev/baseimage"
	LabelBuild        = "basewright.dev/build"
	LabelArchitecture = "basewright.dev/architecture"
	// LabelJob says what a Job does, unless it builds a platform.
	LabelJob = "basewright.dev/job"
)

// KueueLabels are passed from a BaseImage to its builds and Jobs (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/).
var KueueLabels = []string{"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"}

// maxBuildName leaves room for "-" and a word of ten characters within the 63 characters of a label value.
const maxBuildName = 52

// BuildName is the name of a BaseImageBuild: readable by its attempt, and the same for the same
// decision, so that creating it twice is refused by the apiserver. decision is anything that
// distinguishes this decision to build from every other one.
func BuildName(baseImage string, attempt int64, decision ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(decision, "\x00")))
	suffix := fmt.Sprintf("-%d-%s", attempt, hex.EncodeToString(sum[:])[:6])
	if keep := maxBuildName - len(suffix); len(baseImage) > keep {
		full := sha256.Sum256([]byte(baseImage))
		baseImage = strings.TrimRight(baseImage[:keep-7], "-.") + "-" + hex.EncodeToString(full[:])[:6]
	}
	return baseImage + suffix
}

// Labels are those of what belongs to a build.
func Labels(build *v1alpha1.BaseImageBuild) map[string]string {
	return map[string]string{
		LabelManagedBy: ManagedBy,
		LabelBaseImage: build.Spec.BaseImage,
		LabelBuild:     build.Name,
	}
}

// WithKueue adds the labels by which Kueue holds a Job back until its queue has room.
func WithKueue(meta map[string]string, build *v1alpha1.BaseImageBuild) map[string]string {
	meta = maps.Clone(meta)
	for _, name := range KueueLabels {
		if value, ok := build.Labels[name]; ok {
			meta[name] = value
		}
	}
	return meta
}
