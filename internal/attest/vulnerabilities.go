package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Scanner of vulnerabilities.
type Scanner string

// Scanners, by the names that they have in status.
const (
	Grype Scanner = "Grype"
	Trivy Scanner = "Trivy"
)

// VulnerabilitiesInput is what is known of one scan of one platform.
type VulnerabilitiesInput struct {
	Subject Subject
	Scanner Scanner
	// Report of the scanner in JSON.
	Report []byte
	// Image of the scanner, by digest.
	Image string
	// DatabaseBuilt is when the scanner's database was made, DatabaseLocation where it was fetched from.
	DatabaseBuilt    time.Time
	DatabaseLocation string
	// StartedOn and FinishedOn are when the scan ran.
	StartedOn, FinishedOn time.Time
	// BuildUID is the UID of the BaseImageBuild, and Mode how its pods were guarded.
	BuildUID types.UID
	Mode     Mode
}

// The predicate of https://github.com/sigstore/cosign/blob/v2.6.5/specs/COSIGN_VULN_ATTESTATION_SPEC.md.
type (
	scanRecord struct {
		Invocation scanInvocation `json:"invocation"`
		Scanner    scannerRecord  `json:"scanner"`
		Metadata   scanTimes      `json:"metadata"`
	}
	scanInvocation struct {
		Parameters []string `json:"parameters"`
		URI        string   `json:"uri"`
		EventID    string   `json:"event_id"`
		BuilderID  string   `json:"builder.id"`
	}
	scannerRecord struct {
		URI     string          `json:"uri"`
		Version string          `json:"version"`
		DB      scanDatabase    `json:"db"`
		Result  json.RawMessage `json:"result"`
	}
	scanDatabase struct {
		URI string `json:"uri"`
		// Version is LastUpdate: cosign hides every field but URI and Version from policies, and the age of the database
		// is what they should ask for.
		Version    string `json:"version"`
		LastUpdate string `json:"lastUpdate"`
	}
	scanTimes struct {
		Started  string `json:"scanStartedOn"`
		Finished string `json:"scanFinishedOn"`
	}
)

// Vulnerabilities says what a scanner has found in the subject.
func Vulnerabilities(in VulnerabilitiesInput) (pipeline.Statement, error) {
	what := fmt.Sprintf("%s's report", in.Scanner)
	if err := checked(what, in.Report); err != nil {
		return pipeline.Statement{}, err
	}
	version, err := in.version()
	if err != nil {
		return pipeline.Statement{}, invalid(what, err)
	}
	record, err := in.record(version)
	if err != nil {
		return pipeline.Statement{}, fmt.Errorf("attesting %s: %w", what, err)
	}
	predicate, err := encode(record)
	if err != nil {
		return pipeline.Statement{}, fmt.Errorf("attesting %s: %w", what, err)
	}
	st, err := state(in.Subject, pipeline.PredicateVulnerabilities, predicate)
	if err != nil {
		return pipeline.Statement{}, fmt.Errorf("attesting %s: %w", what, err)
	}
	return st, nil
}

func (in VulnerabilitiesInput) record(version string) (scanRecord, error) {
	if in.DatabaseBuilt.IsZero() || in.StartedOn.IsZero() || in.FinishedOn.Before(in.StartedOn) {
		return scanRecord{}, fmt.Errorf("its times are incomplete or out of order: database %s, scan from %s to %s", timestamp(in.DatabaseBuilt), timestamp(in.StartedOn), timestamp(in.FinishedOn))
	}
	image, err := imageDescriptor("scanner", in.Image)
	if err != nil {
		return scanRecord{}, err
	}
	builder, err := in.Mode.builder()
	if err != nil {
		return scanRecord{}, err
	}
	invocation, err := invocationURI(in.BuildUID)
	if err != nil {
		return scanRecord{}, err
	}
	location, err := withoutCredentials(in.DatabaseLocation)
	if err != nil {
		return scanRecord{}, fmt.Errorf("the location of its database: %w", err)
	}
	return scanRecord{
		Invocation: scanInvocation{Parameters: []string{}, URI: invocation, EventID: string(in.BuildUID), BuilderID: builder},
		Scanner: scannerRecord{
			URI:     image.GetUri(),
			Version: version,
			DB:      scanDatabase{URI: location, Version: timestamp(in.DatabaseBuilt), LastUpdate: timestamp(in.DatabaseBuilt)},
			Result:  in.Report,
		},
		Metadata: scanTimes{Started: timestamp(in.StartedOn), Finished: timestamp(in.FinishedOn)},
	}, nil
}

// maxVersion is longer than versions are: what is longer is none.
const maxVersion = 128

// version of the scanner, if its report has it: Grype's does, Trivy's does not in v0.65.
func (in VulnerabilitiesInput) version() (string, error) {
	var head struct {
		Descriptor    struct{ Name, Version string }
		SchemaVersion int
		Trivy         struct{ Version string }
	}
	if err := json.Unmarshal(in.Report, &head); err != nil {
		return "", errors.New("it is not what the scanner writes")
	}
	version := head.Descriptor.Version
	switch {
	case in.Scanner == Grype && head.Descriptor.Name == "grype":
	case in.Scanner == Trivy && head.SchemaVersion != 0:
		version = head.Trivy.Version
	default:
		return "", errors.New("it is not what the scanner writes")
	}
	if len(version) > maxVersion {
		return "", nil
	}
	return version, nil
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
