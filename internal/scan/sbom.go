package scan

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/ibshafique/base-images/internal/limits"
)

// What is read of an SBOM in CycloneDX (https://cyclonedx.org/docs/1.6/json/).
type (
	cyclonedxMetadata struct {
		Component struct {
			Version string `json:"version"`
		} `json:"component"`
	}
	cyclonedxComponent struct {
		Type       string `json:"type"`
		PURL       string `json:"purl"`
		Properties []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"properties"`
	}
)

// packageType is the property in which Syft says what kind of package it has found.
const packageType = "syft:package:type"

// distributionTypes are the PURL types of a distribution's packages.
var distributionTypes = []string{"deb", "apk", "rpm", "alpm"}

// ReadSBOM counts the packages of Syft's SBOM in CycloneDX. One of another image is none.
func ReadSBOM(r io.Reader, s Subject, bounds limits.Scan) (SBOM, error) {
	var sbom SBOM
	var format string
	var meta cyclonedxMetadata
	err := document(r, "Syft's SBOM of "+s.Platform, bounds.WithDefaults().ReportBytes, fields{
		"bomFormat": value(&format),
		"metadata":  value(&meta),
		// Syft leaves it out where it found nothing.
		"components": list(func(dec *json.Decoder) error {
			var c cyclonedxComponent
			err := dec.Decode(&c)
			sbom.count(c)
			return err
		}),
	})
	switch {
	case err != nil:
		return SBOM{}, err
	case format != "CycloneDX":
		return SBOM{}, invalid("Syft", s, "has the format %q, not CycloneDX", text(format, maxID))
	case meta.Component.Version != s.Manifest:
		return SBOM{}, invalid("Syft", s, "is about %s, not about %s", text(meta.Component.Version, maxName), s.Manifest)
	}
	return sbom, nil
}

// count counts packages: an SBOM also lists files and the operating system.
func (s *SBOM) count(c cyclonedxComponent) {
	if c.Type != "library" && c.Type != "application" {
		return
	}
	s.Packages++
	if c.ofDistribution() {
		s.DistributionPackages++
	}
}

// ofDistribution reports whether a package belongs to a distribution, also where Syft writes no URL for it: it does not,
// as long as it does not know the distribution.
func (c cyclonedxComponent) ofDistribution() bool {
	for _, p := range c.Properties {
		if p.Name == packageType && slices.Contains(distributionTypes, p.Value) {
			return true
		}
	}
	return slices.Contains(distributionTypes, purlType(c.PURL))
}

func purlType(purl string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(purl, "pkg:"), "/")
	return kind
}
