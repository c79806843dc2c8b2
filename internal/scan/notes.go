package scan

import (
	"fmt"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// note says what the scanners could not look at: it is not clean, it is unknown.
func (v *Verdict) note() {
	for _, p := range v.in.Platforms {
		if note := p.note(); note != "" {
			v.Notes = append(v.Notes, note)
		}
	}
}

// note is empty for a platform on which both scanners looked at the same packages.
func (p PlatformInput) note() string {
	syft, trivy := p.SBOM, p.Trivy
	switch {
	case syft.Packages == 0 && trivy.Packages == 0:
		return "no packages were found on " + p.Platform + ", so nothing could be judged there"
	case syft.Packages == 0:
		return fmt.Sprintf("Trivy found %d packages on %s, of which Syft and Grype see none", trivy.Packages, p.Platform)
	}
	return p.distributionNote()
}

func (p PlatformInput) distributionNote() string {
	syft, trivy := p.SBOM, p.Trivy
	switch {
	case p.distributionUnknown(Grype) && p.distributionUnknown(Trivy):
		return fmt.Sprintf("neither scanner knows the distribution of the %d packages on %s: keep /etc/os-release of the base image", syft.DistributionPackages, p.Platform)
	case p.distributionUnknown(Grype):
		return fmt.Sprintf("Grype does not know the distribution of the packages on %s", p.Platform)
	case p.distributionUnknown(Trivy):
		return fmt.Sprintf("Trivy does not know the distribution of the packages on %s", p.Platform)
	case syft.DistributionPackages == 0 && trivy.DistributionPackages > 0:
		return fmt.Sprintf("Trivy found %d packages of a distribution on %s, of which Syft and Grype see none", trivy.DistributionPackages, p.Platform)
	case syft.DistributionPackages > 0 && trivy.DistributionPackages == 0:
		return fmt.Sprintf("Syft found %d packages of a distribution on %s, of which Trivy sees none", syft.DistributionPackages, p.Platform)
	case trivy.Packages == 0:
		return fmt.Sprintf("Syft found %d packages on %s, of which Trivy sees none", syft.Packages, p.Platform)
	}
	return ""
}

// distributionUnknown: a scanner that does not know the distribution finds nothing in its packages, and says so nowhere.
func (p PlatformInput) distributionUnknown(scanner string) bool {
	if p.SBOM.DistributionPackages == 0 {
		return false
	}
	if scanner == Grype {
		return p.Grype.Distribution == ""
	}
	return p.Trivy.Distribution == ""
}

// blindTo: packages of the distribution are there at which a scanner could not look. Trivy may name the distribution and
// see none of them; Grype sees what Syft does.
func (p PlatformInput) blindTo(scanner string) bool {
	if scanner == Trivy {
		return p.distributionUnknown(Trivy) || p.SBOM.DistributionPackages > 0 && p.Trivy.DistributionPackages == 0
	}
	return p.distributionUnknown(Grype) || p.SBOM.DistributionPackages == 0 && p.Trivy.DistributionPackages > 0
}

// unjudged refuses an image with packages of a distribution that a scanner could not look at: a Dockerfile that overwrites
// /etc/os-release brings that about. A scanner that refuses nothing need not see anything.
func (v *Verdict) unjudged() error {
	for _, p := range v.in.Platforms {
		for _, gate := range []struct {
			scanner, field string
			failOn         v1alpha1.VulnerabilityThreshold
		}{{Grype, "spec.scan.grype.failOn", v.in.Policy.Grype.FailOn}, {Trivy, "spec.scan.trivy.failOn", v.in.Policy.Trivy.FailOn}} {
			if gate.failOn != v1alpha1.ThresholdNever && p.blindTo(gate.scanner) {
				return pipeline.Terminalf(pipeline.ReasonScanIncomplete, "%s: %s can't judge %d packages of a distribution: keep /etc/os-release, /etc/debian_version and the package database as the base image has them, or set %s to Never",
					p.Platform, gate.scanner, max(p.SBOM.DistributionPackages, p.Trivy.DistributionPackages), gate.field)
			}
		}
	}
	return nil
}

// blind reports whether neither scanner could look at anything on a platform.
func (p PlatformInput) blind() bool {
	foreign := p.SBOM.Packages - p.SBOM.DistributionPackages
	grype := p.SBOM.Packages == 0 || foreign == 0 && p.distributionUnknown(Grype)
	trivy := p.Trivy.Packages == 0 || p.Trivy.Packages == p.Trivy.DistributionPackages && p.Trivy.Distribution == ""
	return grype && trivy
}

// nothingJudged: no scanner could look at anything on any platform. Whatever was found nevertheless counts.
func (v *Verdict) nothingJudged() bool {
	for _, p := range v.in.Platforms {
		if !p.blind() {
			return false
		}
	}
	return len(v.Findings)+len(v.Waived)+len(v.RuledOut) == 0
}
