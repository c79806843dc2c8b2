package scan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var now = built.Add(7 * time.Hour)

func vulnerability(scanner, id string, severity Severity, fixedIn string) Vulnerability {
	return Vulnerability{Scanner: scanner, ID: id, Severity: severity, Package: "busybox-static", Version: "1:1.35.0-4", Sources: []string{"busybox"}, FixedIn: fixedIn, Fixable: fixedIn != "",
		PURL: map[string]string{Grype: "pkg:deb/debian/busybox-static@1%3A1.35.0-4?arch=amd64&distro=debian-12&upstream=busybox", Trivy: "pkg:deb/debian/busybox-static@1.35.0-4?arch=amd64&distro=debian-12.0&epoch=1"}[scanner]}
}

func of(v Vulnerability, change func(*Vulnerability)) Vulnerability {
	change(&v)
	return v
}

func platform(name string, found ...Vulnerability) PlatformInput {
	p := PlatformInput{
		Subject: Subject{Platform: name, Manifest: digestAMD64, Config: digestARM64},
		SBOM:    SBOM{Packages: 7, DistributionPackages: 6},
		Grype:   Report{Scanner: Grype, DatabaseBuilt: built, Distribution: "debian 12"},
		Trivy:   Report{Scanner: Trivy, DatabaseBuilt: built, Distribution: "debian 12.0", Packages: 6, DistributionPackages: 6},
		Reports: pipeline.ScanReports{Grype: "sha256:grype", Trivy: "sha256:trivy", SPDX: "sha256:spdx", CycloneDX: "sha256:cdx", SARIF: "sha256:sarif"},
	}
	for _, v := range found {
		if v.Scanner == Grype {
			p.Grype.Vulnerabilities = append(p.Grype.Vulnerabilities, v)
		} else {
			p.Trivy.Vulnerabilities = append(p.Trivy.Vulnerabilities, v)
		}
	}
	return p
}

func gate(platforms ...PlatformInput) GateInput {
	return GateInput{Repository: repository, Platforms: platforms, MaxAge: 120 * time.Hour, Scanned: now, Now: now}
}

func withPolicy(in GateInput, change func(*v1alpha1.ScanPolicy)) GateInput {
	change(&in.Policy)
	return in
}

func waiver(id, pkg string, expires time.Duration) v1alpha1.Waiver {
	return v1alpha1.Waiver{ID: id, Package: pkg, Reason: "not reachable", Expires: metav1.NewTime(now.Add(expires))}
}

func waivers(all ...v1alpha1.Waiver) func(*v1alpha1.ScanPolicy) {
	return func(p *v1alpha1.ScanPolicy) { p.Waivers = all }
}

const cve = "CVE-2022-48174"

func TestJudge(t *testing.T) {
	const never, high, negligible = v1alpha1.ThresholdNever, v1alpha1.ThresholdHigh, v1alpha1.ThresholdNegligible
	critical := platform("linux/amd64", vulnerability(Grype, cve, Critical, "2"), vulnerability(Trivy, cve, Critical, "2"))
	unfixed := platform("linux/amd64", vulnerability(Grype, cve, Critical, ""), vulnerability(Trivy, cve, Critical, ""))
	tests := map[string]struct {
		in       GateInput
		refusing int
		waived   int
		expired  int
		unused   int
	}{
		"nothing found":                 {gate(platform("linux/amd64")), 0, 0, 0, 0},
		"critical refuses":              {gate(critical), 1, 0, 0, 0},
		"high does not":                 {gate(platform("linux/amd64", vulnerability(Grype, cve, High, "2"))), 0, 0, 0, 0},
		"high does with that threshold": {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, High, "2"))), func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn = high }), 1, 0, 0, 0},
		"the threshold of one scanner is not the other's":     {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, High, "2"))), func(p *v1alpha1.ScanPolicy) { p.Trivy.FailOn = high }), 0, 0, 0, 0},
		"Trivy's own threshold":                               {withPolicy(gate(platform("linux/amd64", vulnerability(Trivy, cve, High, "2"))), func(p *v1alpha1.ScanPolicy) { p.Trivy.FailOn = high }), 1, 0, 0, 0},
		"never for both refuses nothing":                      {withPolicy(gate(critical), func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn, p.Trivy.FailOn = never, never }), 0, 0, 0, 0},
		"never for one leaves the other":                      {withPolicy(gate(critical), func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn = never }), 1, 0, 0, 0},
		"negligible is the lowest threshold":                  {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Negligible, ""))), func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn = negligible }), 1, 0, 0, 0},
		"unknown is below it":                                 {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Unknown, ""))), func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn = negligible }), 0, 0, 0, 0},
		"each scanner by its own severity":                    {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Low, "2"), vulnerability(Trivy, cve, Critical, "2"))), func(p *v1alpha1.ScanPolicy) { p.Trivy.FailOn = never }), 0, 0, 0, 0},
		"one on two platforms counts once":                    {gate(critical, platform("linux/arm64", vulnerability(Grype, cve, Critical, "2"))), 1, 0, 0, 0},
		"the second platform alone refuses":                   {gate(platform("linux/amd64"), platform("linux/arm64", vulnerability(Trivy, cve, Critical, "2"))), 1, 0, 0, 0},
		"two versions count twice":                            {gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, "2"), of(vulnerability(Grype, cve, Critical, "2"), func(v *Vulnerability) { v.Version = "3" }))), 2, 0, 0, 0},
		"only fixed lets one without a fix pass":              {withPolicy(gate(unfixed), func(p *v1alpha1.ScanPolicy) { p.OnlyFixed = true }), 0, 0, 0, 0},
		"only fixed does not let one with a fix pass":         {withPolicy(gate(critical), func(p *v1alpha1.ScanPolicy) { p.OnlyFixed = true }), 1, 0, 0, 0},
		"a fix that one scanner knows is one":                 {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, ""), vulnerability(Trivy, cve, Low, "2"))), func(p *v1alpha1.ScanPolicy) { p.OnlyFixed = true }), 1, 0, 0, 0},
		"without a fix it refuses by default":                 {gate(unfixed), 1, 0, 0, 0},
		"a waiver":                                            {withPolicy(gate(critical), waivers(waiver(cve, "", time.Hour))), 0, 1, 0, 0},
		"a waiver in lower case":                              {withPolicy(gate(critical), waivers(waiver(strings.ToLower(cve), "", time.Hour))), 0, 1, 0, 0},
		"a waiver of the package":                             {withPolicy(gate(critical), waivers(waiver(cve, "busybox-static", time.Hour))), 0, 1, 0, 0},
		"a waiver of its source package":                      {withPolicy(gate(critical), waivers(waiver(cve, "busybox", time.Hour))), 0, 1, 0, 0},
		"a waiver of another package":                         {withPolicy(gate(critical), waivers(waiver(cve, "zlib", time.Hour))), 1, 0, 0, 1},
		"a waiver of another vulnerability":                   {withPolicy(gate(critical), waivers(waiver("CVE-1", "", time.Hour))), 1, 0, 0, 1},
		"a waiver that expires now has expired":               {withPolicy(gate(critical), waivers(waiver(cve, "", 0))), 1, 0, 1, 0},
		"a waiver that has a second left":                     {withPolicy(gate(critical), waivers(waiver(cve, "", time.Second))), 0, 1, 0, 0},
		"an expired waiver beside one that counts":            {withPolicy(gate(critical), waivers(waiver(cve, "", -time.Hour), waiver(cve, "", time.Hour))), 0, 1, 0, 0},
		"an expired waiver of another package is no loss":     {withPolicy(gate(critical), waivers(waiver(cve, "zlib", -time.Hour))), 1, 0, 0, 1},
		"an expired waiver of what refuses nothing is silent": {withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Low, "2"))), waivers(waiver(cve, "", -time.Hour))), 0, 0, 0, 0},
		"a waiver by an alias":                                {withPolicy(gate(platform("linux/amd64", of(vulnerability(Grype, cve, Critical, "2"), func(v *Vulnerability) { v.Aliases = []string{"GHSA-1"} }))), waivers(waiver("GHSA-1", "", time.Hour))), 0, 1, 0, 0},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			v := Judge(tt.in)
			r := v.Result()
			if int(r.Refusing) != tt.refusing || int(r.Waived) != tt.waived || len(r.Expired) != tt.expired || len(v.Unused) != tt.unused {
				t.Errorf("got %d refusing, %d waived, %d expired, %d unused: %+v", r.Refusing, r.Waived, len(r.Expired), len(v.Unused), r)
			}
			if tt.refusing == 0 && v.Err() != nil {
				t.Errorf("got %v", v.Err())
			}
			if tt.refusing > 0 {
				wantTerminal(t, v.Err(), pipeline.ReasonVulnerabilitiesFound, false)
			}
			if tt.expired > 0 && !strings.Contains(v.Err().Error(), "the waiver of CVE-2022-48174 (not reachable) expired on 2026-11-23") {
				t.Errorf("%v does not say that the waiver has expired", v.Err())
			}
		})
	}
}

// What lets one of the CVEs of an advisory pass says nothing about the others.
func TestAnAdvisoryPassesWithAllOfItsCVEs(t *testing.T) {
	const advisory, one, two = "ELSA-2024-1", "CVE-2024-0001", "CVE-2024-9999"
	both := []string{one, two}
	many := append([]string{one, two}, strings.Fields(strings.Repeat("CVE-2024-0001 ", maxAliases-1))...)
	unread := append(slices.Clone(many[:maxAliases]), "CVE-2024-3")
	tests := map[string]struct {
		ids    []string
		waived map[string]time.Duration // until when
		passes bool
		// expired waivers that would have mattered.
		expired int
	}{
		"none":                  {both, nil, false, 0},
		"the first":             {both, map[string]time.Duration{one: time.Hour}, false, 0},
		"the second":            {both, map[string]time.Duration{two: time.Hour}, false, 0},
		"both":                  {both, map[string]time.Duration{one: time.Hour, two: time.Hour}, true, 0},
		"both in small letters": {both, map[string]time.Duration{strings.ToLower(one): time.Hour, strings.ToLower(two): time.Hour}, true, 0},
		"both, of which the scanner has one small": {[]string{one, strings.ToLower(two)}, map[string]time.Duration{one: time.Hour}, false, 0},
		"both, one of them expired":                {both, map[string]time.Duration{one: time.Hour, two: -time.Hour}, false, 1},
		"the first, which is expired":              {both, map[string]time.Duration{one: -time.Hour}, false, 0},
		"the advisory":                             {both, map[string]time.Duration{advisory: time.Hour}, true, 0},
		"the advisory in small letters":            {both, map[string]time.Duration{strings.ToLower(advisory): time.Hour}, true, 0},
		"the advisory, expired":                    {both, map[string]time.Duration{advisory: -time.Hour}, false, 1},
		"another name of the advisory":             {append([]string{"GHSA-1"}, both...), map[string]time.Duration{"GHSA-1": time.Hour}, false, 0},
		"the only one":                             {both[:1], map[string]time.Duration{one: time.Hour}, true, 0},
		"all that are read, and more are there":    {unread, map[string]time.Duration{one: time.Hour, two: time.Hour}, false, 0},
		"the advisory, of which not all are read":  {unread, map[string]time.Duration{advisory: time.Hour}, true, 0},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			v := of(vulnerability(Grype, advisory, Critical, "2"), func(v *Vulnerability) { v.Aliases = slices.Clone(tt.ids) })
			v, err := checked(v, debian)
			if err != nil {
				t.Fatal(err)
			}
			in, documents := gate(platform("linux/amd64", v)), []string{}
			for id, left := range tt.waived {
				in.Policy.Waivers = append(in.Policy.Waivers, waiver(id, "", left))
				if left > 0 {
					documents = append(documents, documentOf(statementOf(id, "fixed", "", product(busybox))))
				}
			}
			waived := Judge(in)
			if (waived.Err() == nil) != tt.passes || len(waived.Expired) != tt.expired || len(waived.Unused) > 0 {
				t.Errorf("waived: %v, %d expired, unused %v", waived.Err(), len(waived.Expired), waived.Unused)
			}
			in.Policy.Waivers = nil
			if err := judgeWith(t, in, documents...).Err(); (err == nil) != tt.passes {
				t.Errorf("ruled out by VEX: %v", err)
			}
		})
	}
}

// Two reports may name different CVEs of an advisory, together more than are kept.
func TestMoreCVEsOfAnAdvisoryThanAreKept(t *testing.T) {
	var all []v1alpha1.Waiver
	part := func(from int) Vulnerability {
		return of(vulnerability(Grype, "ELSA-2024-1", Critical, "2"), func(v *Vulnerability) {
			for i := range maxAliases {
				v.Aliases = append(v.Aliases, fmt.Sprintf("CVE-2024-%d", from+i))
			}
		})
	}
	first, second := part(0), part(1)
	for _, id := range first.Aliases {
		all = append(all, waiver(id, "", time.Hour))
	}
	wantTerminal(t, Judge(withPolicy(gate(platform("linux/amd64", first), platform("linux/arm64", second)), waivers(all...))).Err(), pipeline.ReasonVulnerabilitiesFound, false)
	if err := Judge(withPolicy(gate(platform("linux/amd64", first)), waivers(all...))).Err(); err != nil {
		t.Errorf("as many as are kept: %v", err)
	}
}

func TestOfTwoSeveritiesTheHigherCounts(t *testing.T) {
	v := Judge(withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Medium, "2"), vulnerability(Trivy, cve, High, "2"), vulnerability(Trivy, "CVE-1", Unknown, ""))),
		func(p *v1alpha1.ScanPolicy) { p.OnlyFixed = true }))
	r := v.Result()
	if diff := cmp.Diff(&v1alpha1.VulnerabilityCounts{High: 1, Unknown: 1}, r.Vulnerabilities); diff != "" {
		t.Error(diff)
	}
	if r.OnlyGrype != 0 || r.OnlyTrivy != 1 {
		t.Errorf("Grype alone: %d, Trivy alone: %d", r.OnlyGrype, r.OnlyTrivy)
	}
}

func TestScannersAreComparedByPackageURL(t *testing.T) {
	golang := func(scanner, version, purl string) Vulnerability {
		return Vulnerability{Scanner: scanner, ID: cve, Severity: High, Package: "stdlib", Version: version, PURL: purl}
	}
	tests := map[string]struct {
		grype, trivy Vulnerability
		same         bool
	}{
		"the epoch in two places":             {vulnerability(Grype, cve, High, ""), vulnerability(Trivy, cve, High, ""), true},
		"the standard library of Go":          {golang(Grype, "go1.26.1", "pkg:golang/stdlib@1.26.1"), golang(Trivy, "v1.26.1", "pkg:golang/stdlib@v1.26.1"), true},
		"no package URLs":                     {golang(Grype, "1", ""), golang(Trivy, "1", ""), true},
		"package URLs that are none":          {golang(Grype, "1", "x"), golang(Trivy, "1", "y"), true},
		"two namespaces of Go":                {golang(Grype, "1", "pkg:golang/example.org/net@1"), golang(Trivy, "1", "pkg:golang/golang.org/x/net@1"), false},
		"two names for one distribution":      {golang(Grype, "1", "pkg:apk/wolfi/busybox@1"), golang(Trivy, "1", "pkg:apk/chainguard/busybox@1"), true},
		"a package and one of another kind":   {golang(Grype, "1", "pkg:apk/wolfi/busybox@1"), golang(Trivy, "1", "pkg:deb/debian/busybox@1"), false},
		"Maven packages with different names": {of(golang(Grype, "1", "pkg:maven/org.x/log4j@1"), func(v *Vulnerability) { v.Package = "log4j" }), of(golang(Trivy, "1", "pkg:maven/org.x/log4j@1"), func(v *Vulnerability) { v.Package = "org.x:log4j" }), true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			v := Judge(gate(platform("linux/amd64", tt.grype, tt.trivy)))
			if same := len(v.Findings) == 1; same != tt.same || same != (len(v.OnlyGrype)+len(v.OnlyTrivy) == 0) {
				t.Errorf("got %+v", v.Findings)
			}
		})
	}
}

func TestNothingIsCleanByAccident(t *testing.T) {
	whole := platform("linux/amd64")
	tests := map[string]struct {
		in     GateInput
		reason string
		again  bool
	}{
		"no platforms":        {gate(), pipeline.ReasonReportInvalid, false},
		"no report by Grype":  {gate(whole, func() PlatformInput { p := platform("linux/arm64"); p.Grype = Report{}; return p }()), pipeline.ReasonReportInvalid, false},
		"no report by Trivy":  {gate(func() PlatformInput { p := platform("linux/amd64"); p.Trivy = Report{}; return p }()), pipeline.ReasonReportInvalid, false},
		"one report twice":    {gate(func() PlatformInput { p := platform("linux/amd64"); p.Trivy = p.Grype; return p }()), pipeline.ReasonReportInvalid, false},
		"a time that is none": {gate(whole, func() PlatformInput { p := platform("linux/arm64"); p.Trivy.DatabaseBuilt = time.Time{}; return p }()), pipeline.ReasonVulnerabilityDatabaseInvalid, true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			wantTerminal(t, Judge(tt.in).Err(), tt.reason, tt.again)
		})
	}
	wantTerminal(t, Verdict{}.Err(), pipeline.ReasonInternalError, false)
}

func TestDatabases(t *testing.T) {
	tests := map[string]struct {
		grype, trivy time.Duration // ages
		reason       string        // empty: they are used
		says         string
	}{
		"fresh ones":                              {time.Hour, time.Minute, "", ""},
		"as old as may be":                        {120 * time.Hour, 120 * time.Hour, "", ""},
		"a second too old for Grype":              {120*time.Hour + time.Second, time.Hour, pipeline.ReasonVulnerabilityDatabaseTooOld, "Grype's vulnerability database at databases.grype.location of the operator's configuration was 5d old at the time of the scan, databases.maxAge allows 5d: put a newer one there"},
		"a month too old for Trivy":               {time.Hour, 30 * 24 * time.Hour, pipeline.ReasonVulnerabilityDatabaseTooOld, "Trivy's vulnerability database at databases.trivy.location of the operator's configuration was 30d old at the time of the scan, databases.maxAge allows 5d: put a newer one there"},
		"a clock that is a little ahead":          {-time.Hour, time.Hour, "", ""},
		"a clock that is too far ahead":           {-time.Hour - time.Second, time.Hour, pipeline.ReasonVulnerabilityDatabaseInvalid, "Grype's vulnerability database at databases.grype.location of the operator's configuration was made 1h after the scan: check the clocks of the nodes, and what is there"},
		"both too old: the first one is reported": {200 * time.Hour, 300 * time.Hour, pipeline.ReasonVulnerabilityDatabaseTooOld, "Grype's vulnerability database at databases.grype.location of the operator's configuration was 8d old at the time of the scan, databases.maxAge allows 5d: put a newer one there"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p := platform("linux/amd64", vulnerability(Grype, cve, Low, ""))
			p.Grype.DatabaseBuilt, p.Trivy.DatabaseBuilt = now.Add(-tt.grype), now.Add(-tt.trivy)
			in := gate(p)
			in.Now = now.Add(1000 * time.Hour) // Judged again later: the scan has not become worse.
			v := Judge(in)
			if tt.reason == "" {
				if v.Err() != nil {
					t.Error(v.Err())
				}
				return
			}
			wantTerminal(t, v.Err(), tt.reason, true)
			if v.Err().Error() != tt.says {
				t.Errorf("got %q", v.Err())
			}
			if len(v.Result().Databases) != 2 || len(v.Result().Findings) != 1 {
				t.Errorf("the status has %+v", v.Result())
			}
		})
	}
}

func TestTheOldestAndTheNewestDatabaseCount(t *testing.T) {
	for desc, age := range map[string]time.Duration{"old": 200 * time.Hour, "of the future": -200 * time.Hour} {
		p := platform("linux/arm64")
		p.Trivy.DatabaseBuilt = now.Add(-age)
		if v := Judge(gate(platform("linux/amd64"), p)); v.Err() == nil {
			t.Errorf("a database that is %s on one platform was used", desc)
		}
	}
}

func TestAges(t *testing.T) {
	for age, want := range map[time.Duration]string{-time.Hour: "0m", 0: "0m", 59 * time.Minute: "59m", time.Hour: "1h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 120 * time.Hour: "5d"} {
		if got := ageOf(age); got != want {
			t.Errorf("%s is %s, want %s", age, got, want)
		}
	}
}

func TestNothingFoundIsNotClean(t *testing.T) {
	blank := func(name string, change func(*PlatformInput)) PlatformInput {
		p := platform(name)
		change(&p)
		return p
	}
	none := func(p *PlatformInput) {
		p.SBOM, p.Grype.Distribution, p.Trivy.Distribution, p.Trivy.Packages, p.Trivy.DistributionPackages = SBOM{}, "", "", 0, 0
	}
	foreign := func(p *PlatformInput) { none(p); p.SBOM = SBOM{Packages: 6, DistributionPackages: 6} }
	never := func(p *v1alpha1.ScanPolicy) {
		p.Grype.FailOn, p.Trivy.FailOn = v1alpha1.ThresholdNever, v1alpha1.ThresholdNever
	}
	tests := map[string]struct {
		in     GateInput
		judged bool
		says   string
	}{
		"packages":    {gate(platform("linux/amd64")), true, "No vulnerability refuses the image: 0 critical, 0 high, 0 medium, 0 low, 0 negligible, 0 unknown, in 7 packages"},
		"no packages": {gate(blank("linux/amd64", none)), false, "No vulnerability could be looked for; no packages were found on linux/amd64, so nothing could be judged there"},
		"no packages on one platform": {gate(platform("linux/amd64"), blank("linux/arm64", none)), true,
			"No vulnerability refuses the image: 0 critical, 0 high, 0 medium, 0 low, 0 negligible, 0 unknown, in 7 packages; no packages were found on linux/arm64, so nothing could be judged there"},
		"packages of a distribution that nobody knows": {gate(blank("linux/amd64", foreign)), false, "No vulnerability could be looked for; neither scanner knows the distribution of the 6 packages on linux/amd64: keep /etc/os-release of the base image"},
		"and a binary that Grype knows":                {gate(blank("linux/amd64", func(p *PlatformInput) { foreign(p); p.SBOM.Packages = 7 })), true, "neither scanner knows the distribution of the 6 packages on linux/amd64: keep /etc/os-release of the base image"},
		"a distribution that Grype does not know":      {gate(blank("linux/amd64", func(p *PlatformInput) { p.Grype.Distribution = "" })), true, "Grype does not know the distribution of the packages on linux/amd64"},
		"a distribution that Trivy does not know":      {gate(blank("linux/amd64", func(p *PlatformInput) { p.Trivy.Distribution = "" })), true, "Trivy does not know the distribution of the packages on linux/amd64"},
		"packages that Trivy alone finds":              {gate(blank("linux/amd64", func(p *PlatformInput) { p.SBOM = SBOM{} })), true, "Trivy found 6 packages on linux/amd64, of which Syft and Grype see none"},
		"packages that Syft alone finds":               {gate(blank("linux/amd64", func(p *PlatformInput) { p.Trivy.Packages, p.Trivy.DistributionPackages = 0, 0 })), true, "Syft found 6 packages of a distribution on linux/amd64, of which Trivy sees none"},
		"packages of which Syft misses a part":         {gate(blank("linux/amd64", func(p *PlatformInput) { p.SBOM = SBOM{Packages: 1} })), true, "Trivy found 6 packages of a distribution on linux/amd64, of which Syft and Grype see none"},
		"findings without packages": {gate(blank("linux/amd64", func(p *PlatformInput) {
			none(p)
			p.Grype.Vulnerabilities = []Vulnerability{vulnerability(Grype, cve, Low, "")}
		})), true, "1 low"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			never(&tt.in.Policy) // What the gate thinks of it is another matter.
			v := Judge(tt.in)
			if v.Err() != nil || !strings.Contains(v.Message(), tt.says) {
				t.Errorf("got %v, %q", v.Err(), v.Message())
			}
			wantReason := v1alpha1.ReasonNoPackagesFound
			if tt.judged {
				wantReason = v1alpha1.ReasonSucceeded
			}
			if v.Reason() != wantReason || (v.Result().Vulnerabilities != nil) != tt.judged {
				t.Errorf("got %s, %+v", v.Reason(), v.Result().Vulnerabilities)
			}
		})
	}
}

// A scanner whose threshold counts has to see what there is: it would find nothing in what it does not know.
func TestPackagesThatAScannerCantJudgeRefuseTheImage(t *testing.T) {
	grype := func(p *v1alpha1.ScanPolicy) { p.Grype.FailOn = v1alpha1.ThresholdNever }
	trivy := func(p *v1alpha1.ScanPolicy) { p.Trivy.FailOn = v1alpha1.ThresholdNever }
	both := func(p *v1alpha1.ScanPolicy) { grype(p); trivy(p) }
	for desc, tt := range map[string]struct {
		change func(*PlatformInput)
		// lets are the policies that let it pass.
		lets, refuses []func(*v1alpha1.ScanPolicy)
		says          string
	}{
		"nobody knows the distribution": {func(p *PlatformInput) { p.Grype.Distribution, p.Trivy.Distribution = "", "" }, []func(*v1alpha1.ScanPolicy){both}, []func(*v1alpha1.ScanPolicy){grype, trivy}, "Grype can't judge 6 packages"},
		"Grype does not know it":        {func(p *PlatformInput) { p.Grype.Distribution = "" }, []func(*v1alpha1.ScanPolicy){grype, both}, []func(*v1alpha1.ScanPolicy){trivy}, "spec.scan.grype.failOn"},
		"Trivy does not know it":        {func(p *PlatformInput) { p.Trivy.Distribution = "" }, []func(*v1alpha1.ScanPolicy){trivy, both}, []func(*v1alpha1.ScanPolicy){grype}, "spec.scan.trivy.failOn"},
		"Trivy sees no packages":        {func(p *PlatformInput) { p.Trivy.Packages, p.Trivy.DistributionPackages = 1, 0 }, []func(*v1alpha1.ScanPolicy){trivy, both}, []func(*v1alpha1.ScanPolicy){grype}, "Trivy can't judge 6 packages"},
		"Syft sees no packages":         {func(p *PlatformInput) { p.SBOM = SBOM{Packages: 1} }, []func(*v1alpha1.ScanPolicy){grype, both}, []func(*v1alpha1.ScanPolicy){trivy}, "Grype can't judge 6 packages"},
	} {
		t.Run(desc, func(t *testing.T) {
			p := platform("linux/arm64")
			tt.change(&p)
			v := Judge(gate(platform("linux/amd64"), p))
			wantTerminal(t, v.Err(), pipeline.ReasonScanIncomplete, false)
			if !strings.HasPrefix(v.Err().Error(), "linux/arm64: ") || !strings.Contains(v.Err().Error(), tt.says) || !strings.Contains(v.Err().Error(), "/etc/os-release") {
				t.Errorf("got %q", v.Err())
			}
			for _, policy := range tt.refuses {
				wantTerminal(t, Judge(withPolicy(gate(p), policy)).Err(), pipeline.ReasonScanIncomplete, false)
			}
			for _, policy := range tt.lets {
				if err := Judge(withPolicy(gate(p), policy)).Err(); err != nil {
					t.Errorf("a scanner that refuses nothing need not see anything, and yet: %v", err)
				}
			}
		})
	}
}

// What the scanners wrote about an image with known vulnerabilities, from the files to the words.
func TestRealReports(t *testing.T) {
	grype, err := ReadGrype(strings.NewReader(reportFile(t, "grype.json")), debian, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	trivy, err := ReadTrivy(strings.NewReader(reportFile(t, "trivy.json")), debian, built, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	sbom, err := ReadSBOM(strings.NewReader(reportFile(t, "cyclonedx.json")), debian, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	in := gate(PlatformInput{Subject: debian, SBOM: sbom, Grype: grype, Trivy: trivy, Reports: pipeline.ScanReports{Grype: digestAMD64, Trivy: digestARM64}})
	v := Judge(in)
	wantTerminal(t, v.Err(), pipeline.ReasonVulnerabilitiesFound, false)
	want := "3 vulnerabilities refuse the image: CVE-2022-48174 (Critical) in busybox-static 1:1.35.0-4+b3, fixed in 1:1.35.0-4+deb12u1 (Grype, Trivy; linux/amd64); " +
		"CVE-2023-45853 (Critical) in zlib1g 1:1.2.13.dfsg-1, not fixed yet (Trivy; linux/amd64); CVE-2025-7458 (Critical) in libsqlite3-0 3.40.1-2, not fixed yet (Grype, Trivy; linux/amd64)" +
		"; update the package or its base image, or waive it in spec.scan.waivers; full report (Grype, linux/amd64): registry.example/base/wolfi@" + digestAMD64
	if got := v.Err().Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r := v.Result()
	if diff := cmp.Diff(v1alpha1.ScanResult{
		Packages: 7, Vulnerabilities: &v1alpha1.VulnerabilityCounts{Critical: 3, High: 2, Medium: 1}, Refusing: 3, OnlyGrype: 1, OnlyTrivy: 1,
		Databases: []v1alpha1.VulnerabilityDatabase{{Scanner: Grype, BuiltAt: metav1.NewTime(built), Age: "7h"}, {Scanner: Trivy, BuiltAt: metav1.NewTime(built), Age: "7h"}},
		Platforms: []v1alpha1.PlatformReports{{Platform: "linux/amd64", Packages: 7, Grype: digestAMD64, Trivy: digestARM64}},
		Findings:  r.Findings,
	}, r); diff != "" {
		t.Error(diff)
	}
	if len(r.Findings) != 6 || r.Findings[4] != "CVE-2023-5363 (High) in libssl3 3.0.9-1, fixed in 3.0.11-1~deb12u2 (Grype; linux/amd64)" {
		t.Errorf("got %q", r.Findings)
	}
	// Accepted, the differences are told.
	v = Judge(withPolicy(in, waivers(waiver("CVE-2022-48174", "", time.Hour), waiver("CVE-2023-45853", "", time.Hour), waiver("CVE-2025-7458", "", time.Hour))))
	if got, want := v.Message(), "No vulnerability refuses the image: 0 critical, 2 high, 1 medium, 0 low, 0 negligible, 0 unknown, in 7 packages; 3 waived; Grype alone sees 1, the worst CVE-2023-5363 in libssl3"; v.Err() != nil || got != want {
		t.Errorf("got %v, %s", v.Err(), got)
	}
}

func TestWordsAreBounded(t *testing.T) {
	var found []Vulnerability
	for i := range 1000 {
		found = append(found, of(vulnerability(Trivy, fmt.Sprintf("CVE-2024-%04d", i), Critical, strings.Repeat("9", 100)), func(v *Vulnerability) { v.Package = strings.Repeat("p", 100) }))
	}
	in := gate(platform("linux/amd64", found...), platform("linux/arm64"))
	var all []v1alpha1.Waiver
	for i := range 128 {
		w := waiver(fmt.Sprintf("CVE-2024-%04d", i), "", -time.Hour)
		w.Reason = strings.Repeat("é", 512)
		all = append(all, w)
	}
	in.Policy.Waivers = all
	v := Judge(in)
	says := v.Err().Error()
	if len(says) > maxMessage || !strings.HasPrefix(says, "1000 vulnerabilities refuse the image: CVE-2024-0000 (Critical) in ppp") || !strings.Contains(says, " more; the waiver of CVE-2024-0000 (é") ||
		!strings.Contains(says, " and 127 expired waivers; update the package or its base image, or waive it in spec.scan.waivers; full report (Trivy, linux/amd64): registry.example/base/wolfi@sha256:trivy") {
		t.Errorf("%d bytes: %s", len(says), says)
	}
	r := v.Result()
	if len(r.Findings) != maxFindings || len(r.Expired) != maxExpired || r.Refusing != 1000 || r.Vulnerabilities.Critical != 1000 {
		t.Errorf("%d findings, %d expired", len(r.Findings), len(r.Expired))
	}
	for _, s := range append(r.Findings, r.Expired...) {
		if len(s) > maxExpiredBytes || strings.HasPrefix(s, "CVE") && len(s) > maxFindingBytes {
			t.Errorf("%d bytes: %s", len(s), s)
		}
	}
}

func TestWhoSawWhat(t *testing.T) {
	for want, seen := range map[string][]Sighting{
		"Grype; linux/amd64":                                      {{Scanner: Grype, Platform: "linux/amd64"}},
		"Grype, Trivy; linux/amd64, linux/arm64":                  {{Scanner: Trivy, Platform: "linux/arm64"}, {Scanner: Trivy, Platform: "linux/amd64"}, {Scanner: Grype, Platform: "linux/amd64"}, {Scanner: Grype, Platform: "linux/arm64"}},
		"Grype on linux/amd64; Trivy on linux/amd64, linux/arm64": {{Scanner: Grype, Platform: "linux/amd64"}, {Scanner: Trivy, Platform: "linux/amd64"}, {Scanner: Trivy, Platform: "linux/arm64"}},
	} {
		if got := seenBy(seen); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Reports may be as large as the limits allow, and as repetitive as somebody likes.
func TestManyPackagesWithOneVulnerability(t *testing.T) {
	var found []Vulnerability
	for i := range 20_000 {
		found = append(found, of(vulnerability(Grype, cve, Critical, "2"), func(v *Vulnerability) { v.PURL += fmt.Sprintf("&x=%d", i); v.Aliases = []string{fmt.Sprint("A-", i)} }))
	}
	v := Judge(gate(platform("linux/amd64", found...)))
	if len(v.Findings) != 1 || len(v.Findings[0].Seen) > maxAliases+1 || len(v.Findings[0].Aliases) > maxAliases {
		t.Errorf("%d findings, %d sightings", len(v.Findings), len(v.Findings[0].Seen))
	}
}
