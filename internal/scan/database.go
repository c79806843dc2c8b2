package scan

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxAhead is how far the clock of whoever made a database may be ahead of ours.
const maxAhead = time.Hour

// checkDatabases notes the databases that the scanners used, and refuses those that can't be relied on: another one may
// be there when the build is tried again.
func (v *Verdict) checkDatabases() error {
	var first error
	for _, scanner := range []string{Grype, Trivy} {
		built, newest := v.databasesOf(scanner)
		if built.IsZero() {
			first = either(first, databaseFault(pipeline.ReasonVulnerabilityDatabaseInvalid, scanner, "does not say when it was made: put one there that does"))
			continue
		}
		age := v.in.Scanned.Sub(built)
		v.Databases = append(v.Databases, v1alpha1.VulnerabilityDatabase{Scanner: scanner, BuiltAt: metav1.NewTime(built.UTC().Truncate(time.Second)), Age: ageOf(age)})
		switch {
		case newest.Sub(v.in.Scanned) > maxAhead:
			first = either(first, databaseFault(pipeline.ReasonVulnerabilityDatabaseInvalid, scanner, "was made %s after the scan: check the clocks of the nodes, and what is there", ageOf(newest.Sub(v.in.Scanned))))
		case age > v.in.MaxAge:
			first = either(first, databaseFault(pipeline.ReasonVulnerabilityDatabaseTooOld, scanner, "was %s old at the time of the scan, databases.maxAge allows %s: put a newer one there", ageOf(age), ageOf(v.in.MaxAge)))
		}
	}
	return first
}

func databaseFault(reason, scanner, format string, args ...any) error {
	setting := map[string]string{Grype: "databases.grype.location", Trivy: "databases.trivy.location"}[scanner]
	return pipeline.Retryablef(reason, "%s's vulnerability database at %s of the operator's configuration %s", scanner, setting, fmt.Sprintf(format, args...))
}

// databasesOf are when the oldest and the newest database were made that a scanner used; the oldest is zero if that is not
// known of each.
func (v *Verdict) databasesOf(scanner string) (oldest, newest time.Time) {
	for i, p := range v.in.Platforms {
		built := p.Grype.DatabaseBuilt
		if scanner == Trivy {
			built = p.Trivy.DatabaseBuilt
		}
		if i == 0 || built.Before(oldest) {
			oldest = built
		}
		if built.After(newest) {
			newest = built
		}
	}
	return oldest, newest
}

// either keeps the first of two errors.
func either(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// ageOf is a time span for people: 20m, 7h, 3d.
func ageOf(age time.Duration) string {
	const day = 24 * time.Hour
	switch age = max(age, 0); {
	case age < time.Hour:
		return fmt.Sprintf("%dm", age/time.Minute)
	case age < 2*day:
		return fmt.Sprintf("%dh", age/time.Hour)
	}
	return fmt.Sprintf("%dd", age/day)
}
