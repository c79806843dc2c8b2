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
	// KindTest is its value on Jobs that test an image.
	KindTest = "test"
	// LabelGuard is on nothing: the admission policies refuse it, so that the operator can ask whether they are in force.
	LabelGuard = "basewright.dev/guard"
)

// NamePrefix begins the names of Jobs, and so those of their pods. The admission policies know by it whose pod somebody
// wants to run a command in: they are told no more than its name.
const NamePrefix = "basewright-"

// KueueLabels are passed from a BaseImage to its builds and Jobs (https://kueue.sigs.k8s.io/docs/tasks/run/jobs/).
var KueueLabels = []string{"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"}

const (
	// maxName is how long the value of a label may be: the name of a Job is one on its pods.
	maxName = 63
	// maxBuildName leaves room for NamePrefix, "-" and a word of ten characters.
	maxBuildName = 41
)

// BuildName is the name of a BaseImageBuild: readable by its attempt, and the same for the same
// decision, so that creating it twice is refused by the apiserver. decision is anything that
// distinguishes this decision to build from every other one.
func BuildName(baseImage string, attempt int64, decision ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(decision, "\x00")))
	suffix := fmt.Sprintf("-%d-%s", attempt, hex.EncodeToString(sum[:])[:6])
	if keep := maxBuildName - len(suffix); len(baseImage) > keep {
		baseImage = shorten(baseImage, keep)
	}
	return baseImage + suffix
}

// Name is that of a Job of a build, or of what else the build needs in its namespace: what says what it is for. The name
// of a build that an operator with longer names has made is cut.
func Name(build, what string) string {
	if keep := maxName - len(NamePrefix) - len(what) - 1; len(build) > keep {
		build = shorten(build, keep)
	}
	return NamePrefix + build + "-" + what
}

// shorten cuts a name, and gives it a hash, by which it is told from others with the same start.
func shorten(name string, keep int) string {
	full := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:keep-7], "-.") + "-" + hex.EncodeToString(full[:])[:6]
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
