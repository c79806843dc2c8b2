// Package scan makes the Job that scans the images of a build, reads the scanners' reports and decides whether what
// they found refuses the image. It is pure: nothing here talks to a cluster or a registry.
package scan

import (
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// JobScan is the value of job.LabelJob on a scan Job.
const JobScan = "scan"

// JobName is the name of the Job that scans the images of a build.
func JobName(build string) string { return job.Name(build, JobScan) }

// InputName is the name of the ConfigMap that holds the input of a scan.
func InputName(build string) string { return build + "-scan-input" }

// Containers of a scan pod. Those that scan have the architecture behind their name: syft-amd64.
const (
	ContainerPrepare = "prepare"
	ContainerGrypeDB = "grype-db"
	ContainerSyft    = "syft"
	ContainerGrype   = "grype"
	ContainerTrivy   = "trivy"
	ContainerSARIF   = "sarif"
	ContainerReport  = "report"
)

// ContainerOn is the name of the container of a scanner that looks at a platform: syft-amd64.
func ContainerOn(scanner string, p pipeline.Platform) string { return scanner + "-" + p.Architecture }

func labelsOf(meta map[string]string) map[string]string {
	meta[job.LabelJob] = JobScan
	return meta
}
