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
	case p.unjudged():
		return fmt.Sprintf("Grype does not know the distribution of the %d packages on %s, and Trivy sees none of them: keep /etc/os-release and the package database of the base image", syft.DistributionPackages, p.Platform)
	case p.distributionUnknown(Grype):
		return fmt.Sprintf("Grype does not know the distribution of the packages on %s", p.Platform)
	case p.distributionUnknown(Trivy):
		return fmt.Sprintf("Trivy does not know the distribution of the packages on %s", p.Platform)
	case syft.DistributionPackages == 0 && trivy.DistributionPackages > 0:
		return fmt.Sprintf("Trivy found %d packages of a distribution on %s, of which Syft and Grype see none", trivy.DistributionPackages, p.Platform)
	case syft.DistributionPackages > 0 && trivy.DistributionPackages == 0:
		return fmt.Sprintf("Syft found %d packages of a distribution on %s, of which Trivy sees none", syft.DistributionPackages, p.Platform)
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

// unjudged reports whether no scanner could look at the packages of the distribution: neither knows it, or Trivy may know
// it but sees none of the packages.
func (p PlatformInput) unjudged() bool {
	return p.distributionUnknown(Grype) && (p.distributionUnknown(Trivy) || p.Trivy.DistributionPackages == 0)
}

// unjudged refuses an image with packages of a distribution that no scanner could look at: a Dockerfile that overwrites
// /etc/os-release brings that about. Where no severity refuses anything, this doesn't either.
func (v *Verdict) unjudged() error {
	if v.in.Policy.Grype.FailOn == v1alpha1.ThresholdNever && v.in.Policy.Trivy.FailOn == v1alpha1.ThresholdNever {
		return nil
	}
	for _, p := range v.in.Platforms {
		if !p.unjudged() {
			continue
		}
		problem := "neither scanner knows the distribution of %d packages, and so none of their vulnerabilities: keep /etc/os-release, /etc/debian_version and the like of the base image"
		if !p.distributionUnknown(Trivy) {
			problem = "Grype does not know the distribution of %d packages, and Trivy sees none of them: keep /etc/os-release and the package database of the base image as they are there"
		}
		return pipeline.Terminalf(pipeline.ReasonScanIncomplete, "%s: "+problem+", or set failOn of spec.scan.grype and spec.scan.trivy to Never", p.Platform, p.SBOM.DistributionPackages)
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
