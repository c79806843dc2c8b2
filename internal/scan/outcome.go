package scan

import (
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Outcome reads how a scan Job ended: the digests of the reports by platform (hints: they are checked when they are
// read), or a fault as of job.Kind.Outcome.
func Outcome(made *batchv1.Job, pods []corev1.Pod, bounds limits.Build) (map[string]pipeline.ScanReports, error) {
	message, err := kind(made).Outcome(made, pods, bounds)
	if err != nil {
		return nil, err
	}
	report, err := pipeline.ParseReport(message)
	if err != nil || len(report.Scan) == 0 {
		return nil, pipeline.Terminalf(pipeline.ReasonScanFailed, "scan: container report of Job %s reported no reports", made.Name)
	}
	return report.Scan, nil
}

func kind(made *batchv1.Job) job.Kind {
	return job.Kind{
		Subject:   "scan",
		Reporter:  ContainerReport,
		Running:   v1alpha1.ReasonScanning,
		Failed:    pipeline.ReasonScanFailed,
		Logs:      logs(made),
		Explain:   explain,
		Chatter:   chatter.MatchString,
		Memory:    memory,
		Volume:    "build something smaller, or raise limits.scan.volumeBytes of the operator's configuration",
		Placement: "add nodes: a scanner asks for 512Mi of memory",
		Lost:      "the digests of the reports",
	}
}

// logs are the scanners, whatever their architecture.
func logs(made *batchv1.Job) []string {
	var names []string
	for _, c := range made.Spec.Template.Spec.InitContainers {
		if c.Name != ContainerPrepare {
			names = append(names, c.Name)
		}
	}
	return names
}

func memory(container string) string {
	if container == ContainerPrepare || container == ContainerReport {
		return ", of which it has 512Mi: report it"
	}
	return ", of which it has 2Gi: build something smaller, and report it"
}

// chatter is what scanners say of their progress.
var chatter = regexp.MustCompile(`^(\[\d+\] +(INFO|DEBUG) |\S+Z (INFO|DEBUG) )`)

// databaseTrouble is how scanners call a database that is there and can't be used.
var databaseTrouble = regexp.MustCompile(`failed to load vulnerability db|unable to import vulnerability database|DB error:`)

// explain knows a database that can't be read: the next one may be whole.
func explain(container string, _ *corev1.ContainerStateTerminated, said string) error {
	if !databaseTrouble.MatchString(said) {
		return nil
	}
	setting := "databases.grype.location"
	if strings.HasPrefix(container, ContainerTrivy) {
		setting = "databases.trivy.location"
	}
	return pipeline.Retryablef(pipeline.ReasonVulnerabilityDatabaseInvalid, "scan: %s can't read its vulnerability database: %s; put a whole one at %s of the operator's configuration", container, said, setting)
}
