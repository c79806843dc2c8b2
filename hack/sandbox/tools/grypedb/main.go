// Command grypedb writes a small database for Grype, with the archive and the latest.json that Grype downloads, from the
// advisories on its standard input.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	build "github.com/anchore/grype/grype/db/v6/build"
)

// advisory is about a source package of Debian 12. Nothing is going to be fixed where there is no fixed version.
type advisory struct {
	ID, Package, Fixed, Title, Severity, Vector string

	Published time.Time
}

func main() {
	built := flag.String("built", "", "when the database says that it was made")
	out := flag.String("out", "", "the directory to write to")
	flag.Parse()
	if err := run(os.Stdin, *built, *out); err != nil {
		fmt.Fprintln(os.Stderr, "grypedb:", err)
		os.Exit(1)
	}
}

func run(stdin io.Reader, built, out string) error {
	when, err := time.Parse(time.RFC3339, built)
	if err != nil {
		return fmt.Errorf("reading --built: %w", err)
	}
	var advisories []advisory
	if err := json.NewDecoder(stdin).Decode(&advisories); err != nil {
		return fmt.Errorf("reading the advisories: %w", err)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if err := write(out, advisories, when); err != nil {
		return err
	}
	database := filepath.Join(out, v6.VulnerabilityDBFileName)
	if err := date(database, when); err != nil {
		return err
	}
	if err := build.CreateArchive(out, "tar.zst", nil); err != nil {
		return fmt.Errorf("packing: %w", err)
	}
	return os.Remove(database)
}

func write(dir string, advisories []advisory, built time.Time) error {
	w, err := v6.NewWriter(v6.Config{DBDirPath: dir})
	if err != nil {
		return fmt.Errorf("making a database: %w", err)
	}
	provider := v6.Provider{ID: "debian", Version: "1", Processor: "basewright-sandbox", DateCaptured: &built, InputDigest: "sha256:0"}
	err = errors.Join(w.SetDBMetadata(), w.AddProvider(provider))
	for _, a := range advisories {
		err = errors.Join(err, put(w, provider, a))
	}
	return errors.Join(err, w.Close())
}

func put(w v6.Writer, provider v6.Provider, a advisory) error {
	vulnerability := &v6.VulnerabilityHandle{
		Name: a.ID, Status: v6.VulnerabilityActive, PublishedDate: &a.Published, ModifiedDate: &a.Published,
		ProviderID: provider.ID, Provider: &provider,
		BlobValue: &v6.VulnerabilityBlob{
			ID: a.ID, Description: a.Title,
			References: []v6.Reference{{URL: "https://security-tracker.debian.org/tracker/" + a.ID}},
			Severities: []v6.Severity{
				{Scheme: v6.SeveritySchemeCHMLN, Value: strings.ToLower(a.Severity), Rank: 1},
				{Scheme: v6.SeveritySchemeCVSS, Value: v6.CVSSSeverity{Vector: a.Vector, Version: "3.1"}, Source: "nvd@nist.gov", Rank: 2},
			},
		},
	}
	if err := w.AddVulnerabilities(vulnerability); err != nil {
		return fmt.Errorf("adding %s: %w", a.ID, err)
	}
	return w.AddAffectedPackages(&v6.AffectedPackageHandle{
		Vulnerability:   vulnerability,
		OperatingSystem: &v6.OperatingSystem{Name: "debian", ReleaseID: "debian", MajorVersion: "12", Codename: "bookworm"},
		Package:         &v6.Package{Ecosystem: "deb", Name: a.Package},
		BlobValue:       &v6.PackageBlob{CVEs: []string{a.ID}, Ranges: []v6.Range{versions(a)}},
	})
}

func versions(a advisory) v6.Range {
	if a.Fixed == "" {
		return v6.Range{Version: v6.Version{Type: "dpkg"}, Fix: &v6.Fix{State: v6.WontFixStatus}}
	}
	return v6.Range{
		Version: v6.Version{Type: "dpkg", Constraint: "< " + a.Fixed},
		Fix:     &v6.Fix{Version: a.Fixed, State: v6.FixedStatus},
	}
}

// date makes the database say when it was made: the writer knows only now.
func date(database string, built time.Time) error {
	store, err := v6.NewLowLevelDB(database, false, true, false)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	err = store.Model(&v6.DBMetadata{}).Where("true").Update("build_timestamp", built).Error
	connection, closing := store.DB()
	if closing == nil {
		closing = connection.Close()
	}
	// The archive has the file's time in it.
	return errors.Join(err, closing, os.Chtimes(database, built, built))
}
