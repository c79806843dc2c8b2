// Command trivydb writes a small database for Trivy, in the format and the archive that Trivy downloads, from the
// advisories on its standard input.
package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

// advisory is about a source package of Debian 12. Nothing is going to be fixed where there is no fixed version.
type advisory struct {
	ID, Package, Fixed, Title, Severity, CWE, Vector string

	Score     float64
	Published time.Time
}

const release = "debian 12"

func main() {
	built := flag.String("built", "", "when the database says that it was made")
	out := flag.String("out", "", "the archive to write")
	flag.Parse()
	if err := run(os.Stdin, *built, *out); err != nil {
		fmt.Fprintln(os.Stderr, "trivydb:", err)
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
	dir, err := os.MkdirTemp(filepath.Dir(out), "trivy-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if err := errors.Join(write(dir, advisories, when), archive(dir, out, when)); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return os.RemoveAll(dir)
}

func write(dir string, advisories []advisory, built time.Time) error {
	if err := db.Init(dir); err != nil {
		return fmt.Errorf("making a database: %w", err)
	}
	err := db.Config{}.BatchUpdate(func(tx *bolt.Tx) error {
		for _, a := range advisories {
			if err := put(tx, a); err != nil {
				return fmt.Errorf("adding %s: %w", a.ID, err)
			}
		}
		return nil
	})
	// The published database is replaced every six hours and says so, with a day to spare.
	return errors.Join(err, db.Close(), metadata.NewClient(dir).Update(metadata.Metadata{
		Version: db.SchemaVersion, UpdatedAt: built, NextUpdate: built.Add(24 * time.Hour),
	}))
}

func put(tx *bolt.Tx, a advisory) error {
	source := types.DataSource{ID: "debian", Name: "Debian Security Tracker", URL: "https://salsa.debian.org/security-tracker-team/security-tracker"}
	entry := types.Advisory{FixedVersion: a.Fixed}
	if a.Fixed == "" {
		entry.Status = types.StatusWillNotFix
	}
	severity, err := types.NewSeverity(a.Severity)
	if err != nil {
		return err
	}
	c := db.Config{}
	return errors.Join(
		c.PutDataSource(tx, release, source),
		c.PutAdvisory(tx, []string{release, a.Package}, a.ID, &entry),
		c.PutVulnerabilityID(tx, a.ID),
		c.PutVulnerability(tx, a.ID, types.Vulnerability{
			Title: a.Title, Severity: a.Severity, CweIDs: []string{a.CWE},
			VendorSeverity: types.VendorSeverity{"nvd": severity},
			CVSS:           types.VendorCVSS{"nvd": types.CVSS{V3Vector: a.Vector, V3Score: a.Score}},
			References:     []string{"https://nvd.nist.gov/vuln/detail/" + a.ID},
			PublishedDate:  &a.Published, LastModifiedDate: &a.Published,
		}))
}

// archive packs both files as the published archive does.
func archive(dir, out string, built time.Time) error {
	file, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	compressed := gzip.NewWriter(file)
	writer := tar.NewWriter(compressed)
	for _, name := range []string{"trivy.db", "metadata.json"} {
		if err := add(writer, filepath.Join(dir, name), built); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(writer.Close(), compressed.Close(), file.Close())
}

func add(writer *tar.Writer, path string, built time.Time) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("packing: %w", err)
	}
	header := &tar.Header{Name: filepath.Base(path), Mode: 0o644, Size: int64(len(content)), ModTime: built, Format: tar.FormatPAX}
	if err := writer.WriteHeader(header); err != nil {
		return fmt.Errorf("packing: %w", err)
	}
	_, err = writer.Write(content)
	return err
}
