//go:build linux

package main

import (
	"slices"
	"time"
)

// advisory is what a vulnerability database of the sandbox says about a source package of Debian 12. The programs that
// write the databases read it as JSON.
type advisory struct {
	ID, Package string
	// Fixed is the version that fixes it; none means that Debian leaves this release as it is.
	Fixed string `json:",omitempty"`
	// What NVD says.
	Title, Severity, CWE, Vector string
	Score                        float64
	Published                    time.Time
	// only is the scanner whose database has it, if not both have.
	only string
}

// advisories are true: identifiers, severities and vectors are NVD's, the fixed versions are those that the changelogs
// of Debian 12's packages name. A scanner downloads some hundred thousand of them; these few are chosen so that the
// records of debianPackages give every kind of finding, and today's packages none but those that stay unfixed.
var advisories = []advisory{
	{
		ID: "CVE-2022-48174", Package: "busybox", Fixed: "1:1.35.0-4+deb12u1",
		Title:    "stack overflow in busybox's ash, by which a script can execute code",
		Severity: "CRITICAL", CWE: "CWE-787", Score: 9.8, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
		Published: day(2023, time.August, 22),
	},
	{
		ID: "CVE-2023-42363", Package: "busybox", Fixed: "1:1.35.0-4+deb12u1",
		Title:    "use after free in busybox's awk",
		Severity: "MEDIUM", CWE: "CWE-416", Score: 5.5, Vector: "CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H",
		Published: day(2023, time.November, 27),
	},
	{
		ID: "CVE-2023-4911", Package: "glibc", Fixed: "2.36-9+deb12u3",
		Title:    "buffer overflow in the dynamic loader while it reads GLIBC_TUNABLES",
		Severity: "HIGH", CWE: "CWE-787", Score: 7.8, Vector: "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H",
		Published: day(2023, time.October, 3),
	},
	{
		ID: "CVE-2025-7458", Package: "sqlite3",
		Title:    "integer overflow in sqlite, by a statement with very many columns",
		Severity: "CRITICAL", CWE: "CWE-190", Score: 9.1, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:H",
		Published: day(2025, time.July, 29),
	},
	// The published databases both have this one. Here it is the finding of one scanner alone.
	{
		ID: "CVE-2023-5363", Package: "openssl", Fixed: "3.0.11-1~deb12u2", only: "grype",
		Title:    "openssl looks too late at the lengths of keys and initialization vectors",
		Severity: "HIGH", CWE: "CWE-684", Score: 7.5, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
		Published: day(2023, time.October, 25),
	},
	// Grype has a rule that drops it: the code is not in Debian's package. Trivy says what Debian's tracker says.
	{
		ID: "CVE-2023-45853", Package: "zlib", only: "trivy",
		Title:    "integer overflow in zlib's MiniZip",
		Severity: "CRITICAL", CWE: "CWE-190", Score: 9.8, Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
		Published: day(2023, time.October, 14),
	},
}

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// advisoriesOf are those in the database of one scanner.
func advisoriesOf(scanner string) []advisory {
	return slices.DeleteFunc(slices.Clone(advisories), func(a advisory) bool { return a.only != "" && a.only != scanner })
}
