package pipeline

// Files that scanners leave for each platform, in a directory named by its architecture.
const (
	FileSyft      = "syft.json"
	FileSPDX      = "spdx.json"
	FileCycloneDX = "cyclonedx.json"
	FileGrype     = "grype.json"
	FileTrivy     = "trivy.json"
	FileSARIF     = "trivy.sarif"
)

// Artifact types of reports in a registry (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md,
// "artifactType").
const (
	ArtifactSPDX       = "application/spdx+json"
	ArtifactCycloneDX  = "application/vnd.cyclonedx+json"
	ArtifactGrype      = "application/vnd.anchore.grype.report+json"
	ArtifactTrivy      = "application/vnd.aquasec.trivy.report+json"
	ArtifactSARIF      = "application/sarif+json"
	ArtifactTestResult = "application/vnd.in-toto.test-result+json"
)

// AnnotationDatabaseBuilt is the annotation of a report's manifest with the time at which the scanner's database was
// made, in RFC 3339.
const AnnotationDatabaseBuilt = "dev.basewright.database.built"

// ScanInput tells the worker what a scan needs.
type ScanInput struct {
	// Images are digests of the platforms' manifests in the output repository, by platform: linux/amd64.
	Images map[string]string `json:"images"`
	// TrivyDatabase is where Trivy's database comes from: oci://host/repository:tag or https://….
	TrivyDatabase string `json:"trivyDatabase"`
	// GrypeDatabase is where Grype's database comes from: oci://host/repository:tag, or https://… of a listing
	// (latest.json) or an archive.
	GrypeDatabase string `json:"grypeDatabase"`
}

// ScanReports are digests of the artifacts' manifests that the worker has pushed for one platform.
type ScanReports struct {
	SPDX      string `json:"spdx"`
	CycloneDX string `json:"cyclonedx"`
	Grype     string `json:"grype"`
	Trivy     string `json:"trivy"`
	SARIF     string `json:"sarif"`
}

// ProbeOutcome is what came of one check of the probe.
type ProbeOutcome string

const (
	// ProbePassed means: it is as it should be.
	ProbePassed ProbeOutcome = "Passed"
	// ProbeFailed means: it is not.
	ProbeFailed ProbeOutcome = "Failed"
	// ProbeAbsent means: the image does not have what the check looks at, and does not promise it.
	ProbeAbsent ProbeOutcome = "Absent"
)

// ProbeCheck is one check of the probe in a test pod.
type ProbeCheck struct {
	// Name in kebab case, for example read-only-root.
	Name    string       `json:"name"`
	Outcome ProbeOutcome `json:"outcome"`
	// Message says what was found, and for a failure what to change.
	Message string `json:"message,omitempty"`
}

// ProbeReport is what the probe leaves in its termination message, at most MaxReport bytes.
type ProbeReport struct {
	Checks []ProbeCheck `json:"checks"`
}
