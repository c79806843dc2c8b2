package vulndb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/retryafter"
	"github.com/ibshafique/base-images/internal/stall"
)

// download writes what is at a location to a file, and returns the sum of its bytes as sha256:….
func (d *database) download(ctx context.Context, from, path string) (sum string, err error) {
	timeout := d.limits.Scan.DownloadTimeout
	slow := fmt.Errorf("it took more than %s (limits.scan.downloadTimeout): %w", timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout.Std(), slow)
	defer cancel()
	body, err := d.open(ctx, from)
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	out, err := os.Create(path)
	if err != nil {
		return "", err
	}
	sum, err = copySum(out, body, d.limits.Scan.DatabaseBytes)
	return sum, errors.Join(err, out.Close())
}

// copySum copies everything, unless it is more than limit.
func copySum(to io.Writer, from io.Reader, limit limits.Bytes) (string, error) {
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, hash), io.LimitReader(from, int64(limit)+1))
	if err != nil {
		return "", err
	}
	if n > int64(limit) {
		return "", tooLarge(limit)
	}
	return fmt.Sprintf("sha256:%x", hash.Sum(nil)), nil
}

func tooLarge(limit limits.Bytes) error {
	return invalidf("it has more than %s (limits.scan.databaseBytes)", limit)
}

func (d *database) open(ctx context.Context, from string) (io.ReadCloser, error) {
	if ref, ok := strings.CutPrefix(from, "oci://"); ok {
		return d.openLayer(ctx, ref)
	}
	return d.get(ctx, from)
}

// openLayer opens the only layer of an artifact.
func (d *database) openLayer(ctx context.Context, location string) (io.ReadCloser, error) {
	ref, err := d.client.Parse(location)
	if err != nil {
		return nil, err
	}
	layer, err := d.layer(ctx, ref)
	if err != nil {
		return nil, err
	}
	return d.client.OpenBlob(ctx, ref.Context().Digest(layer.Digest.String()))
}

func (d *database) layer(ctx context.Context, ref name.Reference) (v1.Descriptor, error) {
	m, err := d.client.Manifest(ctx, ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(m.Raw))
	switch {
	case !m.MediaType.IsImage():
		return v1.Descriptor{}, invalidf("it is an index, not an artifact")
	case err != nil:
		return v1.Descriptor{}, invalidf("its manifest is malformed: %w", err)
	case len(manifest.Layers) != 1:
		return v1.Descriptor{}, invalidf("it has %d layers instead of one", len(manifest.Layers))
	}
	layer := manifest.Layers[0]
	switch {
	case d.mediaType != "" && string(layer.MediaType) != d.mediaType:
		return v1.Descriptor{}, invalidf("its layer is of type %.100q instead of %s", layer.MediaType, d.mediaType)
	case layer.Size > int64(d.limits.Scan.DatabaseBytes):
		return v1.Descriptor{}, tooLarge(d.limits.Scan.DatabaseBytes)
	}
	return layer, nil
}

// get opens what an HTTPS server has.
func (d *database) get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "basewright-worker")
	resp, err := d.client.HTTPClient().Do(req)
	if err != nil {
		return nil, err
	}
	if err := answered(resp, d.limits.Registry.RetryAfter.Std()); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return d.steady(resp.Body), nil
}

func answered(resp *http.Response, longest time.Duration) error {
	status := resp.StatusCode
	said := fmt.Errorf("the server answers %d", status)
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		after := retryafter.Parse(resp.Header.Get("Retry-After"), time.Now(), longest)
		return &pipeline.Transient{Reason: pipeline.ReasonVulnerabilityDatabaseUnavailable, After: after, Err: said}
	}
	return &pipeline.Terminal{Reason: pipeline.ReasonVulnerabilityDatabaseUnavailable, Err: said}
}

// steady ends a body that comes in drops. Those of registries end by themselves.
func (d *database) steady(body io.ReadCloser) io.ReadCloser {
	rule := stall.Rule{Bytes: d.limits.Registry.StallBytes, Within: d.limits.Registry.StallTimeout, Section: "registry"}
	// To close the body is the one thing that ends a Read that blocks.
	end := func() { _ = body.Close() }
	return &steadyBody{ReadCloser: body, meter: stall.NewMeter("the download", rule, d.clock, end)}
}

type steadyBody struct {
	io.ReadCloser
	meter *stall.Meter
}

func (b *steadyBody) Read(p []byte) (int, error) { return b.meter.Read(b.ReadCloser, p) }
