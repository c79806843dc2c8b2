package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// ScanReportOptions are the directories of the container report of a scan.
type ScanReportOptions struct {
	// Input is where the scan's input is mounted.
	Input string
	// InputDigest is what the input must be, see pipeline.InputDigest.
	InputDigest string
	// Reports has what the scanners left for each platform, in a directory named by its architecture.
	Reports string
	// Databases has built.json.
	Databases string
	// DockerConfig is a Docker config.json with the push credentials; empty to push without.
	DockerConfig string

	loopback bool
	retrier  retrier
}

// ScanReport pushes the reports of the scanners as artifacts about the images, and returns their digests by platform. It
// tries again what failed in passing: what was pushed stays. Errors are pipeline faults, but for those of our own input
// and disk.
func ScanReport(ctx context.Context, o ScanReportOptions) (digests map[string]pipeline.ScanReports, err error) {
	err = o.retrier.do(ctx, func() error {
		digests, err = scanReport(ctx, o)
		return err
	})
	return digests, err
}

func scanReport(ctx context.Context, o ScanReportOptions) (map[string]pipeline.ScanReports, error) {
	in, err := readInput(o.Input, o.InputDigest, o.loopback)
	if err != nil {
		return nil, err
	}
	client, err := in.pushClient(o.DockerConfig)
	if err != nil {
		return nil, err
	}
	images, err := in.scanned(client)
	if err != nil {
		return nil, err
	}
	at, err := readBuilt(filepath.Join(o.Databases, builtFile))
	if err != nil {
		return nil, err
	}
	u := &uploader{client: client, limits: in.Limits.Scan.WithDefaults(), built: at}
	digests := map[string]pipeline.ScanReports{}
	for _, image := range images {
		pushed, err := u.platform(ctx, image, filepath.Join(o.Reports, image.Architecture))
		if err != nil {
			return nil, err
		}
		digests[image.String()] = pushed
	}
	return digests, nil
}

func readBuilt(path string) (at built, err error) {
	raw, err := readBounded(path)
	if err == nil {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil {
		return built{}, fmt.Errorf("reading when the databases were made: %w", err)
	}
	return at, nil
}

// uploader pushes the reports of a scan.
type uploader struct {
	client *registry.Client
	limits limits.Scan
	built  built
}

func (u *uploader) platform(ctx context.Context, image scanned, dir string) (pipeline.ScanReports, error) {
	subject, err := u.client.Manifest(ctx, image.ref)
	if err != nil {
		return pipeline.ScanReports{}, err
	}
	// The volume is the scanners' own: a link in it could lead to the push credentials.
	if info, err := os.Lstat(dir); err == nil && !info.IsDir() {
		return pipeline.ScanReports{}, pipeline.Terminalf(pipeline.ReasonReportInvalid, "reading the reports of %s: their directory %w", image.Platform, errNotRegular)
	}
	var digests pipeline.ScanReports
	for _, kind := range reportKinds {
		digest, err := u.push(ctx, image, kind, filepath.Join(dir, kind.file), subject.Descriptor)
		if err != nil {
			return pipeline.ScanReports{}, err
		}
		*kind.digest(&digests) = digest
	}
	return digests, nil
}

func (u *uploader) push(ctx context.Context, image scanned, kind reportKind, path string, subject v1.Descriptor) (string, error) {
	f, size, err := openReport(path, u.limits.ReportBytes)
	if err != nil {
		return "", of(image, kind, err)
	}
	defer func() { _ = f.Close() }()
	content := io.NewSectionReader(f, 0, size)
	database, err := kind.check(content, u.built)
	if err != nil {
		return "", of(image, kind, err)
	}
	a := registry.Artifact{Type: kind.artifact, Subject: subject, Title: kind.file, Content: content}
	if !database.IsZero() {
		a.Annotations = map[string]string{pipeline.AnnotationDatabaseBuilt: database.UTC().Format(time.RFC3339)}
	}
	ref, err := u.client.PushArtifact(ctx, image.ref.Context(), a)
	if err != nil {
		return "", err
	}
	return ref.DigestStr(), nil
}

// of says of an error which report it is about. It keeps the error's type.
func of(image scanned, kind reportKind, err error) error {
	return fmt.Errorf("reading %s of %s: %w", kind.file, image.Platform, err)
}

func invalidReport(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonReportInvalid, format, args...)
}

// openReport opens a file that a scanner left, and nothing that it may have put there instead: no link, and no pipe to
// wait at.
func openReport(path string, limit limits.Bytes) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, invalidReport("the scanner has left none")
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		return nil, 0, invalidReport("it %w", errNotRegular)
	case err != nil:
		return nil, 0, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = invalidReport("it %w", errNotRegular)
	case info.Size() > int64(limit):
		err = pipeline.Terminalf(pipeline.ReasonReportTooLarge, "it has %d bytes, more than the %s of limits.scan.reportBytes", info.Size(), limit)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}
