package pipeline

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// File names of a build's input, which the operator hands to the worker as a mounted ConfigMap.
const (
	// InputFile holds a WorkerInput in JSON.
	InputFile = "input.json"
	// CAFile holds PEM certificate authorities; absent without any.
	CAFile = "ca.crt"
)

// InputDigest names the content of a build's input: sha256 over its keys and the sha256 of their values. The operator
// gives it to the worker, which refuses any other input: the ConfigMap lies in a namespace where others may write.
func InputDigest(keys map[string][]byte) string {
	sums := map[string]string{}
	for key, value := range keys {
		sums[key] = fmt.Sprintf("%x", sha256.Sum256(value))
	}
	raw, err := json.Marshal(sums) // Keys are sorted.
	if err != nil {
		panic("encoding a map of strings: " + err.Error()) // Unreachable.
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(raw))
}

// DockerfileKey is the file name of a platform's Dockerfile in a build's input.
func DockerfileKey(p Platform) string { return "Dockerfile." + p.OS + "-" + p.Architecture }

// WorkerInput tells the worker what to fetch and where to push.
type WorkerInput struct {
	// Git is set for a git source.
	Git *GitInput `json:"git,omitempty"`
	// Files is set for every other source: path in the context to the key that holds it.
	Files map[string]string `json:"files,omitempty"`
	// SourceTime dates the context's files and the image.
	SourceTime time.Time `json:"sourceTime"`
	// Repository to push to.
	Repository string `json:"repository"`
	// PrivateHosts may resolve to private addresses.
	PrivateHosts []string `json:"privateHosts,omitempty"`
	// TokenHosts may see the credentials of their registry.
	TokenHosts []TokenHost `json:"tokenHosts,omitempty"`
	// Scan is set for a scan, and for nothing else.
	Scan *ScanInput `json:"scan,omitempty"`
	// Limits of what is read.
	Limits limits.Limits `json:"limits,omitzero"`
}

// TokenHost is a token service (https://distribution.github.io/distribution/spec/auth/token/) on another host than the
// registry that names it.
type TokenHost struct {
	// Registry is the host or host:port of the registry.
	Registry string `json:"registry"`
	// Host is the host or host:port of its token service.
	Host string `json:"host"`
}

// GitInput is a directory of a repository at a commit.
type GitInput struct {
	URL    string `json:"url"`
	Ref    string `json:"ref,omitempty"`
	Commit string `json:"commit"`
	Path   string `json:"path,omitempty"`
}

// WorkerReport is what a worker container leaves in its termination message
// (at most 4096 bytes: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
// It is a hint: the operator reads the registry again.
type WorkerReport struct {
	// Digest of the manifest that was pushed.
	Digest string `json:"digest,omitempty"`
	// Scan has the reports of a scan by platform.
	Scan map[string]ScanReports `json:"scan,omitempty"`
	// Reason and Message of a failure.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Transient says that another attempt may succeed.
	Transient bool `json:"transient,omitempty"`
}

// MaxReport is how large a report in JSON may be: Kubernetes cuts the rest off.
const MaxReport = 4096

var (
	reportDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// A condition with another reason would be refused, with the whole status.
	reportReason = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,99}$`)
)

// ParseReport reads a termination message. A message that is no report is an error, and so is a digest or a
// reason that is none.
func ParseReport(message string) (WorkerReport, error) {
	var r WorkerReport
	if len(message) > MaxReport {
		return r, fmt.Errorf("reading the worker's report: %d bytes, at most %d are read", len(message), MaxReport)
	}
	if err := json.Unmarshal([]byte(message), &r); err != nil {
		return WorkerReport{}, fmt.Errorf("reading the worker's report: %w", err)
	}
	if r.Digest != "" && !reportDigest.MatchString(r.Digest) {
		return WorkerReport{}, errors.New("reading the worker's report: its digest is none")
	}
	if r.Reason != "" && !reportReason.MatchString(r.Reason) {
		return WorkerReport{}, errors.New("reading the worker's report: its reason is none")
	}
	for platform, reports := range r.Scan {
		if err := reports.check(platform); err != nil {
			return WorkerReport{}, fmt.Errorf("reading the worker's report: %w", err)
		}
	}
	return r, nil
}

func (s ScanReports) check(platform string) error {
	if _, err := ParsePlatform(platform); err != nil {
		return fmt.Errorf("%.100q has reports, and is no platform", platform)
	}
	for _, digest := range []string{s.SPDX, s.CycloneDX, s.Grype, s.Trivy, s.SARIF} {
		if !reportDigest.MatchString(digest) {
			return fmt.Errorf("a digest of the reports of %s is none", platform)
		}
	}
	return nil
}
