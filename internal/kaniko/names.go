// Package kaniko turns a build into Kubernetes objects and reads their outcome: one ConfigMap with the
// input, one Job for each platform. It is pure: nothing here talks to a cluster or a registry.
package kaniko

import (
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// JobName is the name of the Job that builds a platform.
func JobName(build string, p pipeline.Platform) string { return job.Name(build, p.Architecture) }

// InputName is the name of the ConfigMap that holds a build's input.
func InputName(build string) string { return build + "-input" }
