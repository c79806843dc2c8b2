package scan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Bounds of the API, see ScanResult.
const (
	maxFindings     = 20
	maxFindingBytes = 512
	maxExpired      = 20
	maxExpiredBytes = 1024
	// maxUnused waivers are named.
	maxUnused = 3
	// maxMessage of a condition: the API would take more, people would not.
	maxMessage = 900
)

// Err is nil if the image may be released. A Terminal says what refuses it.
func (v Verdict) Err() error {
	switch {
	case !v.judged:
		return pipeline.Terminalf(pipeline.ReasonInternalError, "the scan was not judged")
	case v.fault != nil:
		return v.fault
	case len(v.refusing()) > 0:
		return pipeline.Terminalf(pipeline.ReasonVulnerabilitiesFound, "%s", v.refusal())
	}
	return nil
}

// Reason of the condition for an image that nothing refuses.
func (v Verdict) Reason() string {
	if v.nothingJudged() {
		return v1alpha1.ReasonNoPackagesFound
	}
	return v1alpha1.ReasonSucceeded
}

// Message of the condition for an image that nothing refuses.
func (v Verdict) Message() string {
	var parts []string
	if c := v.counts(); c == nil {
		parts = append(parts, "No vulnerability could be looked for")
	} else {
		parts = append(parts, fmt.Sprintf("No vulnerability refuses the image: %d critical, %d high, %d medium, %d low, %d negligible, %d unknown, in %d packages",
			c.Critical, c.High, c.Medium, c.Low, c.Negligible, c.Unknown, v.packages()))
	}
	// What is cut should be what matters least.
	parts = slices.Concat(parts, v.accepted(), v.Notes, v.differences(), v.unused())
	return bounded(strings.Join(parts, "; "), maxMessage)
}

// unused are waivers to take away: many are only counted.
func (v Verdict) unused() []string {
	if len(v.Unused) > maxUnused {
		return []string{fmt.Sprintf("%d waivers are not needed", len(v.Unused))}
	}
	var parts []string
	for _, w := range v.Unused {
		parts = append(parts, "nothing needs the waiver of "+w.ID)
	}
	return parts
}

// refusal names what refuses the image, as much as fits, and always how to mend it.
func (v Verdict) refusal() string {
	refusing := v.refusing()
	begin := fmt.Sprintf("%d %s the image: ", len(refusing), plural(len(refusing), "vulnerability refuses", "vulnerabilities refuse"))
	end := "; update the package or its base image, or waive it in spec.scan.waivers"
	if len(v.Expired) > 0 {
		end = bounded("; "+expiredWords(v.Expired[0]), 200) + more(len(v.Expired)-1, "expired waiver", "expired waivers") + end
	}
	end += v.report(refusing[0])
	return begin + joined(refusing, maxMessage-len(begin)-len(end)) + end
}

// joined are findings in words, as many as fit.
func joined(findings []Finding, room int) string {
	const rest = len(" and 000000 more")
	out := bounded(findings[0].String(), room-rest)
	for i, f := range findings[1:] {
		if next := "; " + f.String(); len(out)+len(next)+rest <= room {
			out += next
			continue
		}
		return out + more(len(findings)-1-i, "more", "more")
	}
	return out
}

// more is empty for none.
func more(n int, one, many string) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d %s", n, plural(n, one, many))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// String is a finding in words.
func (f Finding) String() string {
	fix := "not fixed yet"
	if f.Fixable {
		fix = "fixed in " + cmp.Or(f.FixedIn, "a newer version")
	}
	return fmt.Sprintf("%s (%s) in %s %s, %s (%s)", f.ID, f.Severity, f.Package, f.Version, fix, seenBy(f.Seen))
}

// seenBy says which scanners see something where: once for both, if they see the same.
func seenBy(seen []Sighting) string {
	var scanners []string
	platforms := map[string][]string{}
	for _, s := range seen {
		scanners = add(scanners, s.Scanner)
		platforms[s.Scanner] = add(platforms[s.Scanner], s.Platform)
	}
	slices.Sort(scanners)
	for _, of := range platforms {
		slices.Sort(of)
	}
	if !slices.ContainsFunc(scanners, func(s string) bool { return !slices.Equal(platforms[s], platforms[scanners[0]]) }) {
		return strings.Join(scanners, ", ") + "; " + strings.Join(platforms[scanners[0]], ", ")
	}
	var parts []string
	for _, s := range scanners {
		parts = append(parts, s+" on "+strings.Join(platforms[s], ", "))
	}
	return strings.Join(parts, "; ")
}

// report is where all of what a scanner found is.
func (v Verdict) report(f Finding) string {
	for _, p := range v.in.Platforms {
		if p.Platform != f.Seen[0].Platform {
			continue
		}
		digest := p.Reports.Grype
		if f.Seen[0].Scanner == Trivy {
			digest = p.Reports.Trivy
		}
		if digest != "" {
			return fmt.Sprintf("; full report (%s, %s): %s@%s", f.Seen[0].Scanner, p.Platform, v.in.Repository, digest)
		}
	}
	return ""
}

func (v Verdict) accepted() []string {
	var parts []string
	if n := len(v.Waived); n > 0 {
		parts = append(parts, fmt.Sprintf("%d waived", n))
	}
	if n := len(v.RuledOut); n > 0 {
		parts = append(parts, fmt.Sprintf("%d ruled out by VEX", n))
	}
	return parts
}

// differences name the worst that one scanner alone sees.
func (v Verdict) differences() []string {
	var parts []string
	for _, d := range []struct {
		scanner  string
		findings []Finding
	}{{Grype, v.OnlyGrype}, {Trivy, v.OnlyTrivy}} {
		if len(d.findings) > 0 {
			parts = append(parts, fmt.Sprintf("%s alone sees %d, the worst %s in %s", d.scanner, len(d.findings), d.findings[0].ID, d.findings[0].Package))
		}
	}
	return parts
}

func expiredWords(w v1alpha1.Waiver) string {
	of := w.ID
	if w.Package != "" {
		of += " in " + w.Package
	}
	return fmt.Sprintf("the waiver of %s (%s) expired on %s", of, text(w.Reason, maxFindingBytes), w.Expires.UTC().Format(time.DateOnly))
}

// Result is the verdict for the status.
func (v Verdict) Result() v1alpha1.ScanResult {
	r := v1alpha1.ScanResult{
		Packages:        int32(v.packages()),
		Vulnerabilities: v.counts(),
		Refusing:        int32(len(v.refusing())),
		Waived:          int32(len(v.Waived)),
		VEX:             int32(len(v.RuledOut)),
		OnlyGrype:       int32(len(v.OnlyGrype)),
		OnlyTrivy:       int32(len(v.OnlyTrivy)),
		Databases:       v.Databases,
	}
	for _, f := range v.Findings[:min(len(v.Findings), maxFindings)] {
		r.Findings = append(r.Findings, bounded(f.String(), maxFindingBytes))
	}
	for _, w := range v.Expired[:min(len(v.Expired), maxExpired)] {
		r.Expired = append(r.Expired, bounded(expiredWords(w), maxExpiredBytes))
	}
	for _, p := range v.in.Platforms {
		r.Platforms = append(r.Platforms, v1alpha1.PlatformReports{Platform: p.Platform, Packages: int32(p.SBOM.Packages),
			SPDX: p.Reports.SPDX, CycloneDX: p.Reports.CycloneDX, Grype: p.Reports.Grype, Trivy: p.Reports.Trivy, SARIF: p.Reports.SARIF})
	}
	return r
}

// packages of the platform that has the most.
func (v Verdict) packages() int {
	most := 0
	for _, p := range v.in.Platforms {
		most = max(most, p.SBOM.Packages)
	}
	return most
}

// counts is nil where nothing was judged: that is not the same as no vulnerabilities.
func (v Verdict) counts() *v1alpha1.VulnerabilityCounts {
	if v.nothingJudged() {
		return nil
	}
	c := &v1alpha1.VulnerabilityCounts{}
	for _, f := range v.Findings {
		switch f.Severity {
		case Critical:
			c.Critical++
		case High:
			c.High++
		case Medium:
			c.Medium++
		case Low:
			c.Low++
		case Negligible:
			c.Negligible++
		default:
			c.Unknown++
		}
	}
	return c
}

// bounded cuts a message.
func bounded(s string, limit int) string {
	const cut = "…"
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:max(0, limit-len(cut))], "") + cut
}
