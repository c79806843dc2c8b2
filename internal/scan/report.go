package scan

import (
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Scanners, as they are called in the API.
const (
	Grype = "Grype"
	Trivy = "Trivy"
)

// Severity of a vulnerability, the worst last.
type Severity int

// Severities. Unknown is below all others: it refuses nothing, whatever the threshold.
const (
	Unknown Severity = iota
	Negligible
	Low
	Medium
	High
	Critical
)

var severities = []string{"Unknown", "Negligible", "Low", "Medium", "High", "Critical"}

func (s Severity) String() string { return severities[s] }

// severityOf reads what a scanner, or the API, calls a severity. What isn't known is Unknown.
func severityOf(name string) Severity {
	for i, s := range severities {
		if strings.EqualFold(s, name) {
			return Severity(i)
		}
	}
	return Unknown
}

// Vulnerability is one that a scanner has found in a package.
type Vulnerability struct {
	// ID is that of the CVE, wherever the scanner's own id stands for exactly one.
	ID string
	// Aliases are other ids of the same vulnerability, or of the vulnerabilities that an advisory covers.
	Aliases []string
	// Cut: there are more aliases than are kept.
	Cut bool
	// Package and Version as the scanner names them.
	Package, Version string
	// Sources are names of the source package, where it has one of its own.
	Sources []string
	// PURL of the package (https://github.com/package-url/purl-spec), may be empty.
	PURL     string
	Severity Severity
	// FixedIn is the version to update to, may be empty.
	FixedIn string
	// Fixable: there is a fixed version.
	Fixable bool
	// Scanner that found it.
	Scanner string
}

// Subject is the image of one platform, which a report must be about.
type Subject struct {
	// Platform in OCI form, for messages.
	Platform string
	// Manifest and Config are digests of the image's manifest and of its config.
	Manifest, Config string
}

// Report is what one scanner has found in the image of one platform.
type Report struct {
	Scanner string
	// DatabaseBuilt is when the scanner's database was made. Trivy's report does not say it: ReadTrivy is told.
	DatabaseBuilt time.Time
	// Distribution that the scanner took the packages for, for example debian 12; empty if it knows none.
	Distribution string
	// Packages that the scanner says it looked at, and those of them that belong to the distribution. Grype does not
	// say: it looks at those of the SBOM.
	Packages, DistributionPackages int
	// Vulnerabilities as the scanner lists them, the same one perhaps several times.
	Vulnerabilities []Vulnerability
}

// SBOM is what Syft found in the image of one platform.
type SBOM struct {
	// Packages, and those of them that belong to a distribution: deb, apk, rpm and alpm.
	Packages, DistributionPackages int
}

// Bounds of single values in a report.
const (
	maxID      = 64
	maxName    = 128
	maxPURL    = 512
	maxAliases = 16
)

func reportOf(tool string, s Subject) string { return tool + "'s report on " + s.Platform }

func tooMany(tool string, s Subject, limit int) error {
	return pipeline.Terminalf(pipeline.ReasonReportTooLarge, "%s has more than %d vulnerabilities: build something smaller, or raise limits.scan.matches of the operator's configuration", reportOf(tool, s), limit)
}

func invalid(tool string, s Subject, format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonReportInvalid, reportOf(tool, s)+" "+format+": make sure that nothing but the scan Job writes reports, then request a new build", args...)
}

// checked makes the values of a vulnerability fit for messages and conditions. A vulnerability without a name is none.
func checked(v Vulnerability, s Subject) (Vulnerability, error) {
	if v.ID == "" || v.Package == "" {
		return Vulnerability{}, invalid(v.Scanner, s, "has a vulnerability without an id or a package")
	}
	v.Cut = len(v.Aliases) > maxAliases
	v.ID, v.Aliases = named(text(v.ID, maxID), v.Aliases)
	v.Package, v.Version, v.FixedIn = text(v.Package, maxName), text(v.Version, maxName), text(v.FixedIn, maxName)
	for i, name := range v.Sources {
		v.Sources[i] = text(name, maxName)
	}
	if len(v.PURL) > maxPURL {
		v.PURL = ""
	}
	return v, nil
}

// named prefers the id of a CVE, by which the scanners' findings can be compared, if the others name exactly one.
func named(id string, others []string) (string, []string) {
	var cves, aliases []string
	for _, other := range others[:min(len(others), maxAliases)] {
		if other = text(other, maxID); other == "" || other == id {
			continue
		}
		aliases = add(aliases, other)
		if isCVE(other) {
			cves = add(cves, other)
		}
	}
	// Among those that are not read may be another one.
	if strings.HasPrefix(id, "CVE-") || len(cves) != 1 || len(others) > maxAliases {
		return id, aliases
	}
	return cves[0], add(without(aliases, cves[0]), id)
}

// isCVE tells the id of a CVE from that of an advisory.
func isCVE(id string) bool {
	const begin = "CVE-"
	return len(id) > len(begin) && strings.EqualFold(id[:len(begin)], begin)
}
