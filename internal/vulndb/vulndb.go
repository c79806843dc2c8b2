// Package vulndb gets the vulnerability databases of scanners from where the operator's configuration says: an OCI
// registry or an HTTPS server. Neither is sent credentials, and neither is trusted with more than the findings: what comes
// is bounded, compared with the digest or the checksum that was announced, and looked into before a scanner gets it.
package vulndb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/stall"
)

// Fetcher downloads databases.
type Fetcher struct {
	client *registry.Client
	limits limits.Limits
	clock  stall.Clock
}

// New makes a Fetcher. The client decides which addresses may be dialled and which authorities are trusted; it is to have
// no credentials.
func New(client *registry.Client, bounds limits.Limits) *Fetcher {
	return &Fetcher{client: client, limits: bounds.WithDefaults(), clock: stall.RealTime}
}

// database is that of one scanner.
type database struct {
	*Fetcher
	scanner  string
	location string
	// setting of the operator's configuration that has the location.
	setting string
	// mediaType that its layer in a registry must have; empty: any.
	mediaType string
}

func (f *Fetcher) trivy(location string) *database {
	return &database{Fetcher: f, scanner: "Trivy", location: location, setting: "databases.trivy.location",
		mediaType: "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"}
}

func (f *Fetcher) grype(location string) *database {
	return &database{Fetcher: f, scanner: "Grype", location: location, setting: "databases.grype.location"}
}

// Trivy writes Trivy's database to dir, as trivy.db and metadata.json, and returns when it was made. It may be tried
// again. The location is oci://host/repository:tag, or https://… of an archive.
//
// Errors are pipeline faults with reason VulnerabilityDatabaseUnavailable or VulnerabilityDatabaseInvalid, but for those of
// the disk and of a context that was cancelled.
func (f *Fetcher) Trivy(ctx context.Context, location, dir string) (time.Time, error) {
	d, archive := f.trivy(location), dir+".download"
	defer func() { _ = os.Remove(archive) }()
	if _, err := d.download(ctx, location, archive); err != nil {
		return time.Time{}, d.fault("fetching", err)
	}
	built, err := d.unpackTrivy(archive, dir)
	return built, d.fault("reading", err)
}

// Grype writes Grype's database to file, as an archive that "grype db import" takes, and returns when it was made, or the
// zero time if nothing says so. It may be tried again. The location is oci://host/repository:tag, or https://… of an
// archive or of the listing latest.json. Errors are as those of Trivy.
func (f *Fetcher) Grype(ctx context.Context, location, file string) (time.Time, error) {
	d := f.grype(location)
	listed, err := d.list(ctx)
	if err != nil {
		return time.Time{}, d.fault("fetching the listing of", err)
	}
	d.location = listed.location
	sum, err := d.download(ctx, d.location, file)
	if err != nil {
		return time.Time{}, d.fault("fetching", err)
	}
	if listed.checksum != "" && sum != listed.checksum {
		err = invalidf("its checksum is %s instead of %s", sum, listed.checksum)
	} else {
		err = d.checkGrype(file)
	}
	return listed.built, d.fault("reading", err)
}

func invalidf(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonVulnerabilityDatabaseInvalid, format, args...)
}

// fault says what an error means for a scan. What is not there now may be there for another attempt, and one that is
// broken is replaced by the next: databases are made every few hours.
func (d *database) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	doing = fmt.Sprintf("%s %s's vulnerability database from %s", doing, d.scanner, d.location)
	if ofDisk(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	err = registry.Classify(doing, err)
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return pipeline.Retryablef(reasonOf(t), "%w: see %s of the operator's configuration", err, d.setting)
	}
	again := &pipeline.Transient{Reason: pipeline.ReasonVulnerabilityDatabaseUnavailable, Err: err}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		again.After = t.After
	}
	return again
}

func reasonOf(t *pipeline.Terminal) string {
	switch t.Reason {
	case pipeline.ReasonVulnerabilityDatabaseInvalid, pipeline.ReasonImageInvalid, pipeline.ReasonImageTooLarge:
		return pipeline.ReasonVulnerabilityDatabaseInvalid
	}
	return pipeline.ReasonVulnerabilityDatabaseUnavailable
}

// ofDisk tells that it is our own files which failed.
func ofDisk(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	return path || link
}
