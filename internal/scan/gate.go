package scan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	packageurl "github.com/package-url/packageurl-go"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// GateInput is what a judgement is made of.
type GateInput struct {
	// Repository of the image, and the digest of its index, by which VEX documents and messages name it.
	Repository, Index string
	// Platforms, all of them.
	Platforms []PlatformInput
	// Policy of the BaseImage: thresholds, onlyFixed and waivers.
	Policy v1alpha1.ScanPolicy
	// VEX may be nil.
	VEX *VEX
	// MaxAge of a vulnerability database when the image was scanned.
	MaxAge time.Duration
	// Scanned is when the scan ended. The age of the databases is that of this time, whenever the reports are judged.
	Scanned time.Time
	// Now is the time at which waivers count.
	Now time.Time
}

// PlatformInput is what was found on one platform.
type PlatformInput struct {
	Subject
	SBOM         SBOM
	Grype, Trivy Report
	// Reports are digests of the reports.
	Reports pipeline.ScanReports
}

// Finding is a vulnerability of a version of a package, whichever scanner and platform has it.
type Finding struct {
	// Vulnerability with the higher severity of the scanners. Its Scanner is empty.
	Vulnerability
	// Seen is where.
	Seen []Sighting
	// Refuses the image.
	Refuses bool
}

// Sighting is that one scanner has seen a vulnerability on one platform.
type Sighting struct {
	Scanner, Platform string
	Severity          Severity
	purl              string
}

// Verdict is what came of a judgement. Only Judge makes one that passes.
type Verdict struct {
	// Findings that count: those that refuse the image first, then the worst.
	Findings []Finding
	// Waived findings, and those that a VEX document rules out on every platform.
	Waived, RuledOut []Finding
	// Expired are waivers that would have let a vulnerability pass, Unused those that no vulnerability needs.
	Expired, Unused []v1alpha1.Waiver
	// OnlyGrype and OnlyTrivy are findings that count and that one scanner alone reports.
	OnlyGrype, OnlyTrivy []Finding
	// Notes are what the scanners could not look at, in words.
	Notes []string
	// Databases that the scanners used.
	Databases []v1alpha1.VulnerabilityDatabase

	in     GateInput
	judged bool
	fault  error
}

// Judge decides whether an image may be released. Reports that are missing, or databases that are too old, refuse it
// whatever the findings are.
func Judge(in GateInput) Verdict {
	v := Verdict{in: in, judged: true}
	v.fault = either(either(complete(in), v.checkDatabases()), v.unjudged())
	findings := merge(in.Platforms)
	findings = v.applyVEX(findings)
	findings = v.applyWaivers(findings)
	for i := range findings {
		findings[i].Refuses = refuses(findings[i], in.Policy)
	}
	slices.SortStableFunc(findings, worstFirst)
	v.Findings = findings
	v.checkExpired()
	v.compareScanners()
	v.note()
	return v
}

// complete makes sure that nothing that was not read counts as clean.
func complete(in GateInput) error {
	if len(in.Platforms) == 0 {
		return pipeline.Terminalf(pipeline.ReasonReportInvalid, "there are no reports to judge: request a new build")
	}
	for _, p := range in.Platforms {
		if p.Grype.Scanner != Grype || p.Trivy.Scanner != Trivy {
			return pipeline.Terminalf(pipeline.ReasonReportInvalid, "there are not both reports on %s: request a new build", p.Platform)
		}
	}
	return nil
}

// key names a vulnerability of a version of a package, as both scanners name it.
type key struct{ id, kind, namespace, name, version string }

func keyOf(v Vulnerability) key {
	k := key{id: v.ID, name: v.Package, version: v.Version}
	p, err := packageurl.FromString(v.PURL)
	if v.PURL == "" || err != nil {
		return k
	}
	k.kind, k.name = p.Type, p.Name
	if !slices.Contains(distributionTypes, p.Type) { // Scanners don't agree on the namespaces of distributions.
		k.namespace = p.Namespace
	}
	if p.Type == packageurl.TypeGolang { // The standard library is go1.26, v1.26 or 1.26.
		k.version = strings.TrimPrefix(strings.TrimPrefix(k.version, "go"), "v")
	}
	return k
}

// merge lists each vulnerability of a version of a package once.
func merge(platforms []PlatformInput) []Finding {
	at := map[key]int{}
	var findings []Finding
	for _, p := range platforms {
		for _, r := range []Report{p.Grype, p.Trivy} {
			for _, v := range r.Vulnerabilities {
				k := keyOf(v)
				i, known := at[k]
				if !known {
					i = len(findings)
					at[k] = i
					findings = append(findings, Finding{Vulnerability: v})
				}
				findings[i].see(v, p.Platform)
			}
		}
	}
	return findings
}

// see adds a sighting.
func (f *Finding) see(v Vulnerability, platform string) {
	f.Scanner = ""
	f.Severity = max(f.Severity, v.Severity)
	f.Fixable = f.Fixable || v.Fixable
	f.FixedIn = cmp.Or(f.FixedIn, v.FixedIn)
	f.Aliases = addBounded(f.Aliases, v.Aliases)
	f.Cut = f.Cut || v.Cut || slices.ContainsFunc(v.Aliases, func(id string) bool { return !slices.Contains(f.Aliases, id) })
	f.Sources = addBounded(f.Sources, v.Sources)
	sighting := Sighting{Scanner: v.Scanner, Platform: platform, purl: v.PURL}
	if !f.saw(sighting) && f.packages(sighting) >= maxAliases {
		sighting.purl = "" // Too many to be told apart: no VEX document rules this one out.
	}
	if !f.saw(sighting) {
		f.Seen = append(f.Seen, sighting)
	}
	i := f.index(sighting)
	f.Seen[i].Severity = max(f.Seen[i].Severity, v.Severity)
}

func (f *Finding) index(s Sighting) int {
	return slices.IndexFunc(f.Seen, func(o Sighting) bool { return o.Scanner == s.Scanner && o.Platform == s.Platform && o.purl == s.purl })
}

func (f *Finding) saw(s Sighting) bool { return f.index(s) >= 0 }

// packages counts those in which a scanner sees the vulnerability on a platform.
func (f *Finding) packages(s Sighting) int {
	n := 0
	for _, o := range f.Seen {
		if o.Scanner == s.Scanner && o.Platform == s.Platform {
			n++
		}
	}
	return n
}

// names are ids of which one of each list must be accepted, or ruled out. For most findings that is one list of all ids.
// An advisory for several CVEs is accepted by its own id, or when all of them are: one says nothing about the others. Where
// some ids were not kept, nobody knows whether they are all.
func (f Finding) names() [][]string {
	all := [][]string{append([]string{f.ID}, f.Aliases...)}
	var cves [][]string
	for _, alias := range f.Aliases {
		if isCVE(alias) {
			cves = append(cves, []string{f.ID, alias})
		}
	}
	switch {
	case isCVE(f.ID):
		return all
	case f.Cut:
		return append(all, []string{f.ID})
	case len(cves) > 1:
		return append(all, cves...)
	}
	return all
}

// applyVEX takes away what VEX documents rule out, which may be a part of the platforms only.
func (v *Verdict) applyVEX(findings []Finding) []Finding {
	if v.in.VEX == nil {
		return findings
	}
	c := &comparison{VEX: v.in.VEX, left: maxComparisons}
	images := map[string][]string{}
	for _, p := range v.in.Platforms {
		images[p.Platform] = imageNames(v.in.Repository, strings.TrimPrefix(p.Platform, "linux/"), p.Manifest, v.in.Index)
	}
	var left []Finding
	for _, f := range findings {
		if rest := c.filter(f, images); len(rest.Seen) > 0 {
			left = append(left, rest)
		} else {
			v.RuledOut = append(v.RuledOut, f)
		}
	}
	if c.left < 0 {
		v.fault = either(v.fault, pipeline.Terminalf(pipeline.ReasonVEXInvalid, "spec.scan.vexRef: the documents have too many statements on the same vulnerabilities: leave out those on what the image does not contain"))
	}
	return left
}

// filter leaves the sightings that no document rules out.
func (c *comparison) filter(f Finding, images map[string][]string) Finding {
	names, rest := f.names(), f
	if !slices.ContainsFunc(names[0], func(id string) bool { return len(c.statements[nameKey(id)]) > 0 }) {
		return f
	}
	rest.Seen, rest.Severity = nil, Unknown
	out := map[string]bool{}
	for _, s := range f.Seen {
		if _, known := out[s.Platform]; !known {
			out[s.Platform] = c.rulesOutOn(s.Platform, names, images[s.Platform], f.Seen)
		}
		if !out[s.Platform] {
			rest.Seen, rest.Severity = append(rest.Seen, s), max(rest.Severity, s.Severity)
		}
	}
	return rest
}

// rulesOutOn reports whether every package is ruled out in which one of the scanners sees a vulnerability on a platform.
// One scanner is enough: both look at the same packages, and write their URLs differently.
func (c *comparison) rulesOutOn(platform string, names [][]string, image []string, seen []Sighting) bool {
	out := map[string]bool{}
	for _, s := range seen {
		if s.Platform == platform {
			before, known := out[s.Scanner]
			out[s.Scanner] = (before || !known) && c.rulesOutEach(names, image, packageNames(s.purl))
		}
	}
	return out[Grype] || out[Trivy]
}

// applyWaivers takes away what is accepted now.
func (v *Verdict) applyWaivers(findings []Finding) []Finding {
	used := make([]bool, len(v.in.Policy.Waivers))
	var left []Finding
	for _, f := range findings {
		var valid []v1alpha1.Waiver
		for i, w := range v.in.Policy.Waivers {
			if !matches(w, f) {
				continue
			}
			used[i] = true
			if v.in.Now.Before(w.Expires.Time) {
				valid = append(valid, w)
			}
		}
		if accepted(f, valid) {
			v.Waived = append(v.Waived, f)
		} else {
			left = append(left, f)
		}
	}
	for i, w := range v.in.Policy.Waivers {
		if !used[i] {
			v.Unused = append(v.Unused, w)
		}
	}
	return left
}

// matches reports whether a waiver, expired or not, is for a finding: by any of its ids, and by the name of the package
// or of its source.
func matches(w v1alpha1.Waiver, f Finding) bool {
	if !names(w, f.names()[0]) {
		return false
	}
	return w.Package == "" || w.Package == f.Package || slices.Contains(f.Sources, w.Package)
}

func names(w v1alpha1.Waiver, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, w.ID) })
}

// accepted reports whether waivers that match a finding let it pass together.
func accepted(f Finding, waivers []v1alpha1.Waiver) bool {
	if len(waivers) == 0 {
		return false
	}
	for _, ids := range f.names() {
		if !slices.ContainsFunc(waivers, func(w v1alpha1.Waiver) bool { return names(w, ids) }) {
			return false
		}
	}
	return true
}

// refuses compares a finding with the threshold of each scanner that reports it. An unknown severity is below every one.
func refuses(f Finding, policy v1alpha1.ScanPolicy) bool {
	if policy.OnlyFixed && !f.Fixable {
		return false
	}
	return slices.ContainsFunc(f.Seen, func(s Sighting) bool {
		threshold := policy.Grype.FailOn
		if s.Scanner == Trivy {
			threshold = policy.Trivy.FailOn
		}
		return threshold != v1alpha1.ThresholdNever && s.Severity > Unknown && s.Severity >= severityOf(cmp.Or(string(threshold), string(v1alpha1.ThresholdCritical)))
	})
}

func worstFirst(a, b Finding) int {
	if a.Refuses != b.Refuses {
		if a.Refuses {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.Severity, a.Severity), strings.Compare(a.ID, b.ID), strings.Compare(a.Package, b.Package), strings.Compare(a.Version, b.Version))
}

// checkExpired lists waivers that would have let a refusing vulnerability pass.
func (v *Verdict) checkExpired() {
	for _, w := range v.in.Policy.Waivers {
		if !v.in.Now.Before(w.Expires.Time) && slices.ContainsFunc(v.refusing(), func(f Finding) bool { return matches(w, f) && v.wasAccepted(f) }) {
			v.Expired = append(v.Expired, w)
		}
	}
}

// wasAccepted reports whether the waivers would let a finding pass if none had expired.
func (v *Verdict) wasAccepted(f Finding) bool {
	return accepted(f, slices.DeleteFunc(slices.Clone(v.in.Policy.Waivers), func(w v1alpha1.Waiver) bool { return !matches(w, f) }))
}

// refusing are the first of the findings.
func (v *Verdict) refusing() []Finding {
	n := slices.IndexFunc(v.Findings, func(f Finding) bool { return !f.Refuses })
	if n < 0 {
		return v.Findings
	}
	return v.Findings[:n]
}

func (v *Verdict) compareScanners() {
	for _, f := range v.Findings {
		grype := slices.ContainsFunc(f.Seen, func(s Sighting) bool { return s.Scanner == Grype })
		trivy := slices.ContainsFunc(f.Seen, func(s Sighting) bool { return s.Scanner == Trivy })
		switch {
		case !trivy:
			v.OnlyGrype = append(v.OnlyGrype, f)
		case !grype:
			v.OnlyTrivy = append(v.OnlyTrivy, f)
		}
	}
}
