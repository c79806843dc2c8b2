package scan

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// trivySchema is the version of Trivy's report that is read here (aquasecurity/trivy, pkg/report, "SchemaVersion").
const trivySchema = 2

// What is read of Trivy's report (aquasecurity/trivy, pkg/types, "Report").
type (
	trivyMetadata struct {
		ImageID string
		OS      struct{ Family, Name string }
	}
	trivyPackage struct{ ID, Name, SrcName string }
	trivyFinding struct {
		VulnerabilityID, PkgID, PkgName string
		InstalledVersion, FixedVersion  string
		Severity                        string
		VendorIDs                       []string
		PkgIdentifier                   struct{ PURL string }
	}
)

// trivyReader reads one report.
type trivyReader struct {
	Report
	subject Subject
	limit   int
}

// ReadTrivy reads Trivy's report in JSON, which does not say when the database was made: built does. A report on another
// image, or of another version of Trivy's format, is none: it never counts as "nothing found".
func ReadTrivy(r io.Reader, s Subject, built time.Time, bounds limits.Scan) (Report, error) {
	bounds = bounds.WithDefaults()
	read := &trivyReader{Report: Report{Scanner: Trivy, DatabaseBuilt: built}, subject: s, limit: bounds.Matches}
	var schema int
	var kind string
	var meta trivyMetadata
	err := document(r, reportOf(Trivy, s), bounds.ReportBytes, fields{
		"SchemaVersion": value(&schema),
		"ArtifactType":  value(&kind),
		"Metadata":      value(&meta),
		// Trivy leaves it out where it found nothing to look at.
		"Results": list(read.result),
	})
	switch {
	case err != nil:
		return Report{}, err
	case schema != trivySchema:
		return Report{}, invalid(Trivy, s, "has the schema version %d, %d is read", schema, trivySchema)
	case kind != "container_image" || meta.ImageID != s.Config:
		return Report{}, invalid(Trivy, s, "is about %q with config %s, not about an image with config %s", text(kind, maxID), text(meta.ImageID, maxName), s.Config)
	case built.IsZero():
		return Report{}, invalid(Trivy, s, "does not say when its vulnerability database was made")
	}
	if meta.OS.Family != "none" {
		read.Distribution = text(strings.TrimSpace(meta.OS.Family+" "+meta.OS.Name), maxName)
	}
	return read.Report, nil
}

// result reads one of Trivy's results: the packages of one kind, and what is known of them.
func (t *trivyReader) result(dec *json.Decoder) error {
	var class string
	sources, packages, first := map[string]string{}, 0, len(t.Vulnerabilities)
	// ids are those of the packages of vulnerabilities, in their order.
	var ids []string
	err := object(dec, fields{
		"Class": value(&class),
		"Packages": list(func(dec *json.Decoder) error {
			var p trivyPackage
			err := dec.Decode(&p)
			packages++
			if p.SrcName != "" && p.SrcName != p.Name {
				sources[p.ID] = p.SrcName
			}
			return err
		}),
		"Vulnerabilities": list(func(dec *json.Decoder) error {
			var f trivyFinding
			if err := dec.Decode(&f); err != nil {
				return err
			}
			ids = append(ids, f.PkgID)
			return t.add(f)
		}),
	})
	for i, id := range ids[:len(t.Vulnerabilities)-first] {
		if source := sources[id]; source != "" {
			t.Vulnerabilities[first+i].Sources = []string{text(source, maxName)}
		}
	}
	t.Packages += packages
	if class == "os-pkgs" {
		t.DistributionPackages += packages
	}
	return err
}

func (t *trivyReader) add(f trivyFinding) error {
	if len(t.Vulnerabilities) >= t.limit {
		return tooMany(Trivy, t.subject, t.limit)
	}
	v, err := checked(Vulnerability{
		Scanner:  Trivy,
		ID:       f.VulnerabilityID,
		Aliases:  f.VendorIDs,
		Package:  f.PkgName,
		Version:  f.InstalledVersion,
		PURL:     f.PkgIdentifier.PURL,
		Severity: severityOf(f.Severity),
		FixedIn:  f.FixedVersion,
		Fixable:  f.FixedVersion != "",
	}, t.subject)
	if err != nil {
		return err
	}
	t.Vulnerabilities = append(t.Vulnerabilities, v)
	return nil
}
