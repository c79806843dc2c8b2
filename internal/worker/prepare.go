package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/vulndb"
)

// PrepareOptions are the directories of the container prepare of a scan.
type PrepareOptions struct {
	// Input is where the scan's input is mounted.
	Input string
	// InputDigest is what the input must be, see pipeline.InputDigest.
	InputDigest string
	// Images gets an OCI layout for each platform, named by its architecture.
	Images string
	// Databases gets trivy/db/, grype.archive and built.json.
	Databases string
	// Reports gets a directory for each platform, named by its architecture.
	Reports string
	// DockerConfig is a Docker config.json with the credentials of the output repository; empty to pull without.
	DockerConfig string

	loopback bool
	retrier  retrier
}

const (
	// grypeArchive is found out about by its content: the end of its name would have to be true.
	grypeArchive = "grype.archive"
	builtFile    = "built.json"
)

// built says when databases were made, as far as that is known.
type built struct {
	Trivy time.Time `json:"trivy,omitzero"`
	Grype time.Time `json:"grype,omitzero"`
}

// Prepare gets what scanners need, which have no network: the images by digest, and the vulnerability databases. Each of
// them is tried again that failed in passing. Errors are pipeline faults, but for those of our own input and disk.
func Prepare(ctx context.Context, o PrepareOptions) error {
	in, err := readInput(o.Input, o.InputDigest, o.loopback)
	if err != nil {
		return err
	}
	if err := in.pullImages(ctx, o); err != nil {
		return err
	}
	at, err := in.fetchDatabases(ctx, o)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(at)
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Databases, builtFile), raw, 0o644)
	}
	if err != nil {
		return fmt.Errorf("noting when the databases were made: %w", err)
	}
	return nil
}

// pullImages uses the push credentials: the image was pushed with them, and may be as private as they are.
func (in *input) pullImages(ctx context.Context, o PrepareOptions) error {
	client, err := in.pushClient(o.DockerConfig)
	if err != nil {
		return err
	}
	images, err := in.scanned(client)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := os.MkdirAll(filepath.Join(o.Reports, image.Architecture), 0o755); err != nil {
			return fmt.Errorf("making the directory for reports: %w", err)
		}
		dir := filepath.Join(o.Images, image.Architecture)
		if err := o.retrier.do(ctx, func() error { return client.PullLayout(ctx, image.ref, dir) }); err != nil {
			return err
		}
	}
	return nil
}

// fetchDatabases uses no credentials.
func (in *input) fetchDatabases(ctx context.Context, o PrepareOptions) (at built, err error) {
	client, err := in.client()
	if err != nil {
		return built{}, err
	}
	fetcher := vulndb.New(client, in.Limits)
	err = o.retrier.do(ctx, func() error {
		at.Trivy, err = fetcher.Trivy(ctx, in.Scan.TrivyDatabase, filepath.Join(o.Databases, "trivy", "db"))
		return err
	})
	if err != nil {
		return built{}, err
	}
	err = o.retrier.do(ctx, func() error {
		at.Grype, err = fetcher.Grype(ctx, in.Scan.GrypeDatabase, filepath.Join(o.Databases, grypeArchive))
		return err
	})
	return at, err
}

// scanned is an image to scan.
type scanned struct {
	pipeline.Platform
	ref name.Digest
}

// scanned are the images of a scan, sorted by platform.
func (in *input) scanned(client *registry.Client) ([]scanned, error) {
	if in.Scan == nil || len(in.Scan.Images) == 0 {
		return nil, errors.New("reading the scan's input: it names no images")
	}
	repo, err := client.Repository(in.Repository)
	if err != nil {
		return nil, err
	}
	var images []scanned
	for _, platform := range slices.Sorted(maps.Keys(in.Scan.Images)) {
		p, err := pipeline.ParsePlatform(platform)
		if err != nil {
			return nil, err
		}
		digest, err := v1.NewHash(in.Scan.Images[platform])
		if err != nil {
			return nil, fmt.Errorf("reading the scan's input: the image for %s: %w", platform, err)
		}
		images = append(images, scanned{Platform: p, ref: repo.Digest(digest.String())})
	}
	return images, nil
}
