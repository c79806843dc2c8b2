package scan

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var (
	// The reports in testdata are what the scanners wrote about two images: one with six Debian packages, and an empty one.
	debian = Subject{Platform: "linux/amd64", Manifest: "sha256:4dae661846011308bf4bf81a50507acc82aa6fc884de54909c47c5b2dabd5cc5", Config: "sha256:fe4440f90fd4e353fdff45196e294f43a4639c1ac8c9bac12dae7b198c2e1379"}
	empty  = Subject{Platform: "linux/amd64", Manifest: "sha256:36057fb8225d9fbdccd5ac2db8953e13bc31a9767bafd7b2690323ed863978c9", Config: "sha256:acbbcc74d1096b49cd6b2f3002c3d2ddcc9e5605889aeb23369d838780086bf7"}
	built  = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
)

func reportFile(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "reports", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestReadGrype(t *testing.T) {
	got, err := ReadGrype(strings.NewReader(reportFile(t, "grype.json")), debian, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.DatabaseBuilt.Equal(built) || got.Distribution != "debian 12" || len(got.Vulnerabilities) != 5 || got.Scanner != Grype {
		t.Errorf("got %+v", got)
	}
	want := []Vulnerability{
		{ID: "CVE-2022-48174", Package: "busybox-static", Version: "1:1.35.0-4+b3", Sources: []string{"busybox"}, Severity: Critical, FixedIn: "1:1.35.0-4+deb12u1", Fixable: true, Scanner: Grype,
			PURL: "pkg:deb/debian/busybox-static@1%3A1.35.0-4%2Bb3?arch=amd64&distro=debian-12&upstream=busybox%401%3A1.35.0-4"},
		{ID: "CVE-2025-7458", Package: "libsqlite3-0", Version: "3.40.1-2", Sources: []string{"sqlite3"}, Severity: Critical, Scanner: Grype,
			PURL: "pkg:deb/debian/libsqlite3-0@3.40.1-2?arch=amd64&distro=debian-12&upstream=sqlite3"},
	}
	if diff := cmp.Diff(want, got.Vulnerabilities[:2]); diff != "" {
		t.Error(diff)
	}
}

func TestReadTrivy(t *testing.T) {
	got, err := ReadTrivy(strings.NewReader(reportFile(t, "trivy.json")), debian, built, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.DatabaseBuilt.Equal(built) || got.Distribution != "debian 12.0" || got.Packages != 6 || got.DistributionPackages != 6 || len(got.Vulnerabilities) != 5 {
		t.Errorf("got %+v", got)
	}
	want := []Vulnerability{{ID: "CVE-2022-48174", Package: "busybox-static", Version: "1:1.35.0-4+b3", Sources: []string{"busybox"}, Severity: Critical, FixedIn: "1:1.35.0-4+deb12u1", Fixable: true, Scanner: Trivy,
		PURL: "pkg:deb/debian/busybox-static@1.35.0-4%2Bb3?arch=amd64&distro=debian-12.0&epoch=1"}}
	if diff := cmp.Diff(want, got.Vulnerabilities[:1]); diff != "" {
		t.Error(diff)
	}
	if last := got.Vulnerabilities[4]; last.ID != "CVE-2023-45853" || last.Fixable || last.Severity != Critical || last.Sources[0] != "zlib" {
		t.Errorf("got %+v", last)
	}
}

func TestReadSBOM(t *testing.T) {
	for name, tt := range map[string]struct {
		subject Subject
		want    SBOM
	}{
		"cyclonedx.json":       {debian, SBOM{Packages: 7, DistributionPackages: 6}},
		"empty-cyclonedx.json": {empty, SBOM{}},
	} {
		got, err := ReadSBOM(strings.NewReader(reportFile(t, name)), tt.subject, limits.Scan{})
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, tt.want)
		}
	}
}

// Syft writes no URL for a package whose distribution it does not know: it is one of a distribution all the same.
func TestPackagesOfAnUnknownDistributionAreCounted(t *testing.T) {
	sbom := `{"bomFormat": "CycloneDX", "metadata": {"component": {"version": "` + debian.Manifest + `"}}, "components": [
		{"type": "library", "name": "zlib1g", "properties": [{"name": "syft:package:type", "value": "deb"}]},
		{"type": "library", "name": "x", "properties": [{"name": "syft:package:type", "value": "go-module"}]},
		{"type": "file", "name": "/var/lib/dpkg/status.d/zlib1g"}]}`
	got, err := ReadSBOM(strings.NewReader(sbom), debian, limits.Scan{})
	if want := (SBOM{Packages: 2, DistributionPackages: 1}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestReportsOnAnImageWithoutPackages(t *testing.T) {
	grype, err := ReadGrype(strings.NewReader(reportFile(t, "empty-grype.json")), empty, limits.Scan{})
	if err != nil || len(grype.Vulnerabilities) != 0 || grype.Distribution != "" {
		t.Errorf("got %+v, %v", grype, err)
	}
	trivy, err := ReadTrivy(strings.NewReader(reportFile(t, "empty-trivy.json")), empty, built, limits.Scan{})
	if err != nil || len(trivy.Vulnerabilities) != 0 || trivy.Packages != 0 || trivy.Distribution != "" {
		t.Errorf("got %+v, %v", trivy, err)
	}
}

// read reads a report of any kind.
var read = map[string]func(io.Reader, limits.Scan) error{
	"grype.json":     func(r io.Reader, l limits.Scan) error { _, err := ReadGrype(r, debian, l); return err },
	"trivy.json":     func(r io.Reader, l limits.Scan) error { _, err := ReadTrivy(r, debian, built, l); return err },
	"cyclonedx.json": func(r io.Reader, l limits.Scan) error { _, err := ReadSBOM(r, debian, l); return err },
}

// A report that is not one must never look like one that found nothing.
func TestAReportThatIsNoneIsRefused(t *testing.T) {
	tests := map[string]struct {
		file, old, new string
		reason         string
	}{
		"Grype on another image":                   {"grype.json", debian.Manifest, empty.Manifest, pipeline.ReasonReportInvalid},
		"Grype on another config":                  {"grype.json", debian.Config, empty.Config, pipeline.ReasonReportInvalid},
		"Grype on a directory":                     {"grype.json", `"type": "image"`, `"type": "directory"`, pipeline.ReasonReportInvalid},
		"Grype without matches":                    {"grype.json", `"matches":`, `"other":`, pipeline.ReasonReportInvalid},
		"Grype with matches that are none":         {"grype.json", `"matches": [`, `"matches": null, "x": [`, pipeline.ReasonReportInvalid},
		"Grype with matches twice":                 {"grype.json", `"matches": [`, `"matches": [], "matches": [`, pipeline.ReasonReportInvalid},
		"Grype with matches spelt otherwise":       {"grype.json", `"matches":`, `"Matches":`, pipeline.ReasonReportInvalid},
		"Grype by another program":                 {"grype.json", `"name": "grype"`, `"name": "gripe"`, pipeline.ReasonReportInvalid},
		"Grype without its descriptor":             {"grype.json", `"descriptor":`, `"other":`, pipeline.ReasonReportInvalid},
		"Grype without the time of its database":   {"grype.json", `"built":`, `"other":`, pipeline.ReasonReportInvalid},
		"Grype with a time that is none":           {"grype.json", "2026-11-23T08:00:00Z", "yesterday", pipeline.ReasonReportInvalid},
		"Grype with a database that is not valid":  {"grype.json", `"valid": true`, `"valid": false`, pipeline.ReasonVulnerabilityDatabaseInvalid},
		"Grype with a match without an id":         {"grype.json", `"id": "CVE-2025-7458"`, `"id": ""`, pipeline.ReasonReportInvalid},
		"Grype with a match without a package":     {"grype.json", `"name": "libsqlite3-0"`, `"name": ""`, pipeline.ReasonReportInvalid},
		"Trivy on another image":                   {"trivy.json", debian.Config, empty.Config, pipeline.ReasonReportInvalid},
		"Trivy on a file system":                   {"trivy.json", "container_image", "filesystem", pipeline.ReasonReportInvalid},
		"Trivy with another schema":                {"trivy.json", `"SchemaVersion": 2`, `"SchemaVersion": 3`, pipeline.ReasonReportInvalid},
		"Trivy without a schema":                   {"trivy.json", `"SchemaVersion": 2`, `"Other": 2`, pipeline.ReasonReportInvalid},
		"Trivy with results twice":                 {"trivy.json", `"Results": [`, `"Results": [], "Results": [`, pipeline.ReasonReportInvalid},
		"Trivy with vulnerabilities twice":         {"trivy.json", `"Vulnerabilities": [`, `"Vulnerabilities": [], "Vulnerabilities": [`, pipeline.ReasonReportInvalid},
		"Trivy with results that are none":         {"trivy.json", `"Results": [`, `"Results": null, "x": [`, pipeline.ReasonReportInvalid},
		"Trivy with a vulnerability without an id": {"trivy.json", `"VulnerabilityID": "CVE-2023-45853"`, `"VulnerabilityID": ""`, pipeline.ReasonReportInvalid},
		"an SBOM of another image":                 {"cyclonedx.json", debian.Manifest, empty.Manifest, pipeline.ReasonReportInvalid},
		"an SBOM in another format":                {"cyclonedx.json", "CycloneDX", "SPDX", pipeline.ReasonReportInvalid},
		"an SBOM with components twice":            {"cyclonedx.json", `"components": [`, `"components": [], "components": [`, pipeline.ReasonReportInvalid},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			raw := reportFile(t, tt.file)
			if !strings.Contains(raw, tt.old) {
				t.Fatalf("%s has no %s", tt.file, tt.old)
			}
			// SBOMs have the field components in their metadata as well: the last one counts.
			at := strings.LastIndex(raw, tt.old)
			if tt.file != "cyclonedx.json" || !strings.HasPrefix(tt.old, `"comp`) {
				at = strings.Index(raw, tt.old)
			}
			err := read[tt.file](strings.NewReader(raw[:at]+tt.new+raw[at+len(tt.old):]), limits.Scan{})
			wantTerminal(t, err, tt.reason, tt.reason == pipeline.ReasonVulnerabilityDatabaseInvalid)
		})
	}
}

func TestAnythingElseThanAReportIsRefused(t *testing.T) {
	for file, read := range read {
		raw := strings.TrimSpace(reportFile(t, file))
		for desc, content := range map[string]string{
			"nothing": "", "null": "null", "an empty object": "{}", "an array": "[]", "words": "no vulnerabilities",
			"a half": raw[:len(raw)/2], "all but the end": raw[:len(raw)-1], "two of them": raw + raw, "something behind it": raw + "x",
			"deep nesting": strings.TrimSuffix(raw, "}") + `,"x":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "}",
		} {
			t.Run(file+", "+desc, func(t *testing.T) {
				wantTerminal(t, read(strings.NewReader(content), limits.Scan{}), pipeline.ReasonReportInvalid, false)
			})
		}
	}
}

// A download that breaks is not a report that is invalid for good; whoever reads it says what it is.
func TestAReaderThatFailsKeepsItsFault(t *testing.T) {
	for file, read := range read {
		broken := io.MultiReader(strings.NewReader(reportFile(t, file)[:100]), failing{pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "503")})
		if err := read(broken, limits.Scan{}); !pipeline.IsTransient(err) || pipeline.IsTerminal(err) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestReportsAreBounded(t *testing.T) {
	for file, read := range read {
		raw := reportFile(t, file)
		exact := limits.Scan{ReportBytes: limits.Bytes(len(raw))}
		if err := read(strings.NewReader(raw), exact); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		wantTerminal(t, read(strings.NewReader(raw), limits.Scan{ReportBytes: exact.ReportBytes - 1}), pipeline.ReasonReportTooLarge, false)
		// Endless spaces are no end.
		wantTerminal(t, read(io.MultiReader(strings.NewReader(raw), spaces{}), exact), pipeline.ReasonReportTooLarge, false)
		if file == "cyclonedx.json" {
			continue
		}
		if err := read(strings.NewReader(raw), limits.Scan{Matches: 5}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		wantTerminal(t, read(strings.NewReader(raw), limits.Scan{Matches: 4}), pipeline.ReasonReportTooLarge, false)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestWhatAnImageSaysIsMadeFitForMessages(t *testing.T) {
	evil := "a\u202e\nb\x1b[31m" + strings.Repeat("x", 1000)
	raw := strings.ReplaceAll(reportFile(t, "grype.json"), `"libsqlite3-0"`, fmt.Sprintf("%q", evil))
	got, err := ReadGrype(strings.NewReader(strings.ReplaceAll(raw, `\x1b`, `\u001b`)), debian, limits.Scan{})
	if err != nil {
		t.Fatal(err)
	}
	name := got.Vulnerabilities[1].Package
	if !strings.HasPrefix(name, "a��b�[31mxxx") || !strings.HasSuffix(name, "…") || len(name) > maxName {
		t.Errorf("got %q", name)
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"a b":                      "a b",
		"0123456789":               "0123456789",
		"0123456789a":              "0123456…",
		"a\tb\x00":                 "a�b�",
		"\xff\xff\xff\xff\xff\xff": "�…",
		"ééééé":                    "ééééé",
		"éééééé":                   "ééé…",
		"a\u200bb":                 "a�b",
		strings.Repeat("\xff", 99): "�…",
	} {
		got := text(in, 10)
		if strings.Trim(got, "�…") != strings.Trim(want, "�…") || len(got) > 10 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("text(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestACVEIsPreferredWhereThereIsExactlyOne(t *testing.T) {
	tests := map[string]struct {
		id      string
		others  []string
		want    string
		aliases []string
	}{
		"a CVE alone":                  {"CVE-1", nil, "CVE-1", nil},
		"a CVE that repeats itself":    {"CVE-1", []string{"CVE-1"}, "CVE-1", nil},
		"a CVE and another":            {"CVE-1", []string{"CVE-2", "GHSA-1"}, "CVE-1", []string{"CVE-2", "GHSA-1"}},
		"an advisory of one CVE":       {"GHSA-1", []string{"CVE-1", "CVE-1"}, "CVE-1", []string{"GHSA-1"}},
		"an advisory of two":           {"GHSA-1", []string{"CVE-1", "CVE-2"}, "GHSA-1", []string{"CVE-1", "CVE-2"}},
		"an advisory of none":          {"GHSA-1", []string{"", "GO-1"}, "GHSA-1", []string{"GO-1"}},
		"an advisory of two, in small": {"GHSA-1", []string{"CVE-1", "cve-2"}, "GHSA-1", []string{"CVE-1", "cve-2"}},
		"a CVE, and more than is read": {"GHSA-1", append([]string{"CVE-1"}, strings.Fields(strings.Repeat("X ", 15)+"CVE-2")...), "GHSA-1", []string{"CVE-1", "X"}},
		"an advisory of no end of ids": {"GHSA-1", strings.Fields(strings.Repeat("X ", 16) + "CVE-1"), "GHSA-1", []string{"X"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			id, aliases := named(tt.id, tt.others)
			if diff := cmp.Diff(tt.aliases, aliases); id != tt.want || diff != "" {
				t.Errorf("got %s: %s", id, diff)
			}
		})
	}
}

func TestSeverities(t *testing.T) {
	for name, want := range map[string]Severity{"CRITICAL": Critical, "Critical": Critical, "high": High, "MEDIUM": Medium, "Low": Low, "Negligible": Negligible, "UNKNOWN": Unknown, "": Unknown, "dreadful": Unknown} {
		if got := severityOf(name); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}

func FuzzReports(f *testing.F) {
	for file := range read {
		raw, err := os.ReadFile(filepath.Join("testdata", "reports", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for file, read := range read {
			err := read(strings.NewReader(string(raw)), limits.Scan{})
			if _, ok := errors.AsType[*pipeline.Terminal](err); err != nil && !ok {
				t.Errorf("%s: got %v", file, err)
			}
		}
	})
}
