package scan

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// What is read of Grype's report (anchore/grype, grype/presenter/models, "Document").
type (
	grypeMatch struct {
		Vulnerability struct {
			ID       string `json:"id"`
			Severity string `json:"severity"`
			Fix      struct {
				Versions []string `json:"versions"`
				State    string   `json:"state"`
			} `json:"fix"`
		} `json:"vulnerability"`
		Related  []grypeID     `json:"relatedVulnerabilities"`
		Details  []grypeDetail `json:"matchDetails"`
		Artifact struct {
			Name      string      `json:"name"`
			Version   string      `json:"version"`
			PURL      string      `json:"purl"`
			Upstreams []grypeName `json:"upstreams"`
		} `json:"artifact"`
	}
	grypeID struct {
		ID string `json:"id"`
	}
	grypeName struct {
		Name string `json:"name"`
	}
	grypeDetail struct {
		Fix struct {
			SuggestedVersion string `json:"suggestedVersion"`
		} `json:"fix"`
	}
	grypeSource struct {
		Type   string `json:"type"`
		Target struct {
			ManifestDigest string `json:"manifestDigest"`
			ImageID        string `json:"imageID"`
		} `json:"target"`
	}
	grypeDistro struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	grypeDescriptor struct {
		Name string `json:"name"`
		DB   struct {
			Status struct {
				Built time.Time `json:"built"`
				Valid bool      `json:"valid"`
				Error string    `json:"error"`
			} `json:"status"`
		} `json:"db"`
	}
)

// ReadGrype reads Grype's report in JSON. A report that does not say which image and which database it is about, or is
// about another image, is none: it never counts as "nothing found".
func ReadGrype(r io.Reader, s Subject, bounds limits.Scan) (Report, error) {
	bounds = bounds.WithDefaults()
	report := Report{Scanner: Grype}
	var source grypeSource
	var distro grypeDistro
	var descriptor grypeDescriptor
	listed := false
	matches := list(func(dec *json.Decoder) error {
		var m grypeMatch
		if err := dec.Decode(&m); err != nil {
			return err
		}
		if len(report.Vulnerabilities) >= bounds.Matches {
			return tooMany(Grype, s, bounds.Matches)
		}
		v, err := checked(m.read(), s)
		report.Vulnerabilities = append(report.Vulnerabilities, v)
		return err
	})
	err := document(r, reportOf(Grype, s), bounds.ReportBytes, fields{
		"matches":    func(dec *json.Decoder) error { listed = true; return matches(dec) },
		"source":     value(&source),
		"distro":     value(&distro),
		"descriptor": value(&descriptor),
	})
	if err != nil {
		return Report{}, err
	}
	if !listed {
		return Report{}, invalid(Grype, s, "has no matches, not even none")
	}
	if err := source.check(s); err != nil {
		return Report{}, err
	}
	report.DatabaseBuilt = descriptor.DB.Status.Built
	report.Distribution = text(strings.TrimSpace(distro.Name+" "+distro.Version), maxName)
	return report, descriptor.check(s)
}

func (m grypeMatch) read() Vulnerability {
	v := Vulnerability{
		Scanner:  Grype,
		ID:       m.Vulnerability.ID,
		Severity: severityOf(m.Vulnerability.Severity),
		Package:  m.Artifact.Name,
		Version:  m.Artifact.Version,
		PURL:     m.Artifact.PURL,
		Fixable:  m.Vulnerability.Fix.State == "fixed",
		FixedIn:  m.fixedIn(),
	}
	for _, related := range m.Related {
		v.Aliases = append(v.Aliases, related.ID)
	}
	for _, upstream := range m.Artifact.Upstreams[:min(len(m.Artifact.Upstreams), maxAliases)] {
		if upstream.Name != m.Artifact.Name {
			v.Sources = append(v.Sources, upstream.Name)
		}
	}
	return v
}

// fixedIn is the version that suits the package best: a vulnerability may be fixed in several series.
func (m grypeMatch) fixedIn() string {
	for _, d := range m.Details {
		if d.Fix.SuggestedVersion != "" {
			return d.Fix.SuggestedVersion
		}
	}
	return strings.Join(m.Vulnerability.Fix.Versions[:min(len(m.Vulnerability.Fix.Versions), maxAliases)], ", ")
}

func (source grypeSource) check(s Subject) error {
	if source.Type != "image" || source.Target.ManifestDigest != s.Manifest || source.Target.ImageID != s.Config {
		return invalid(Grype, s, "is about %q %s with config %s, not about %s with config %s", text(source.Type, maxID), text(source.Target.ManifestDigest, maxName), text(source.Target.ImageID, maxName), s.Manifest, s.Config)
	}
	return nil
}

func (d grypeDescriptor) check(s Subject) error {
	switch {
	case d.Name != "grype":
		return invalid(Grype, s, "was made by %q", text(d.Name, maxID))
	case d.DB.Status.Built.IsZero():
		return invalid(Grype, s, "does not say when its vulnerability database was made")
	case !d.DB.Status.Valid || d.DB.Status.Error != "":
		return pipeline.Retryablef(pipeline.ReasonVulnerabilityDatabaseInvalid, "%s: its vulnerability database is invalid (%s): put another one at databases.grype.location of the operator's configuration", reportOf(Grype, s), text(d.DB.Status.Error, maxName))
	}
	return nil
}
