// Package kaniko turns a build into Kubernetes objects and reads their outcome: one ConfigMap with the
// input, one Job for each platform. It is pure: nothing here talks to a cluster or a registry.
package kaniko

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Labels of everything that belongs to a build.
const (
	LabelManagedBy    = "app.kubernetes.io/managed-by"
	ManagedBy         = "basewright"
	LabelBaseImage    = "basewright.dev/baseimage"
	LabelBuild        = "basewright.dev/build"
	LabelArchitecture = "basewright.dev/architecture"
)

// KueueLabels are passed from a BaseImage to its builds and Jobs (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/).
var KueueLabels = []string{"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"}

// maxBuildName leaves room for "-" and an architecture within the 63 characters of a label value.
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

// JobName is the name of the Job that builds a platform.
func JobName(build string, p pipeline.Platform) string { return build + "-" + p.Architecture }

// InputName is the name of the ConfigMap that holds a build's input.
func InputName(build string) string { return build + "-input" }
