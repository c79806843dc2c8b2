//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The vulnerability databases are small ones in the scanners' own formats, at two addresses each: files of
// databasesHost, as Grype gets its own, and artifacts in the registry, as Trivy does.
const (
	databasesRepository = "databases"
	trivyArchive        = "trivy/db.tar.gz"
	grypeDirectory      = "grype/v6"
	servedFile          = "databases.json"

	// The databases are made again before a scanner or a test could find them old.
	refreshAfter = 24 * time.Hour
	staleAge     = 30 * 24 * time.Hour
)

// The states that the subcommand databases switches between.
const (
	fresh   = "fresh"
	stale   = "stale"   // built 30 days ago
	missing = "missing" // not at the addresses
	corrupt = "corrupt" // only the first half of each archive
)

// runDatabases is the subcommand databases.
func runDatabases(ctx context.Context, args []string) error {
	if len(args) != 1 || !slices.Contains([]string{fresh, stale, missing, corrupt}, args[0]) {
		return errUsage
	}
	s, err := newSite()
	if err != nil {
		return err
	}
	client, err := newRegistryClient(ctx, s)
	if err != nil {
		return fmt.Errorf("the sandbox is not up: %w", err)
	}
	p := newProgress()
	unlock, err := lock(ctx, p, s.in("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	b, err := build(ctx, s, p, []string{"grypedb", "trivydb"})
	if err != nil {
		return err
	}
	if err := serveDatabases(ctx, s, b, client, args[0]); err != nil {
		return err
	}
	fmt.Printf("the vulnerability databases are %s\n", servedDatabases(s))
	return nil
}

// refreshDatabases makes up serve fresh databases, whatever was asked for before.
func refreshDatabases(ctx context.Context, s site, b builds, client registryClient) error {
	if isRecent(s, b, time.Now()) {
		return nil
	}
	return serveDatabases(ctx, s, b, client, fresh)
}

// served is what a file says about the databases that are being served.
type served struct {
	State string
	Built time.Time
	// Key stands for what they were made with.
	Key string
}

func readServed(s site) served {
	var now served
	content, err := os.ReadFile(s.in(servedFile))
	if err != nil || json.Unmarshal(content, &now) != nil {
		return served{State: missing}
	}
	return now
}

func servedDatabases(s site) string {
	now := readServed(s)
	if now.State == missing {
		return missing
	}
	return now.State + ", built " + now.Built.Format(time.RFC3339)
}

func isRecent(s site, b builds, now time.Time) bool {
	is := readServed(s)
	return is.State == fresh && is.Key == databasesKey(b) && now.Sub(is.Built) < refreshAfter
}

func databasesKey(b builds) string {
	content, err := json.Marshal(advisories)
	if err != nil {
		panic(fmt.Sprintf("encoding the advisories: %v", err)) // They are part of this program.
	}
	return strings.Join([]string{b["grypedb"], b["trivydb"], string(content)}, " ")
}

// serveDatabases makes the databases of a state and puts them in the place of those before.
func serveDatabases(ctx context.Context, s site, b builds, client registryClient, state string) error {
	next := s.in("databases.new")
	// Whatever fails below leaves no claim about what is served.
	if err := removeAll(s.in(servedFile), next); err != nil {
		return err
	}
	now := served{State: state, Built: time.Now().UTC().Truncate(time.Second), Key: databasesKey(b)}
	if state == stale {
		now.Built = now.Built.Add(-staleAge)
	}
	for _, step := range []func() error{
		func() error { return makeDatabases(ctx, b, next, now.Built) },
		func() error { return spoil(next, state) },
		func() error { return pushDatabases(client, next, now.Built) },
		func() error { return replaceDirectory(next, s.in("databases")) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	content, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encoding what is served: %w", err)
	}
	return writeFile(s.in(servedFile), content, 0o644)
}

// makeDatabases runs the programs that write both, in a few tenths of a second.
func makeDatabases(ctx context.Context, b builds, dir string, built time.Time) error {
	archive := filepath.Join(dir, trivyArchive)
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return fmt.Errorf("making the databases: %w", err)
	}
	return errors.Join(
		writeDatabase(ctx, b.bin("trivydb", "trivydb"), "trivy", archive, built),
		writeDatabase(ctx, b.bin("grypedb", "grypedb"), "grype", filepath.Join(dir, grypeDirectory), built))
}

func writeDatabase(ctx context.Context, program, scanner, out string, built time.Time) error {
	input, err := json.Marshal(advisoriesOf(scanner))
	if err != nil {
		return fmt.Errorf("encoding the advisories: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, "--built="+built.Format(time.RFC3339), "--out="+out)
	cmd.Stdin = bytes.NewReader(input)
	return runQuietly(cmd)
}

// spoil does to the databases what a state is about. latest.json goes on naming the checksum of the whole archive.
func spoil(dir, state string) error {
	switch state {
	case missing:
		if err := removeAll(dir); err != nil {
			return err
		}
		return os.Mkdir(dir, 0o755)
	case corrupt:
		grype, err := grypeArchive(dir)
		if err != nil {
			return err
		}
		return errors.Join(halve(grype), halve(filepath.Join(dir, trivyArchive)))
	}
	return nil
}

func halve(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cutting a database: %w", err)
	}
	return os.Truncate(path, info.Size()/2)
}

// grypeArchive finds the archive beside latest.json, whose name has versions and times in it.
func grypeArchive(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, grypeDirectory, "*.tar.*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("finding Grype's database: %d files: %w", len(found), err)
	}
	return found[0], nil
}

// replaceDirectory leaves no time in which a reader finds half of either.
func replaceDirectory(next, current string) error {
	old := current + ".old"
	if err := removeAll(old); err != nil {
		return err
	}
	if err := os.Rename(current, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("putting the databases away: %w", err)
	}
	if err := os.Rename(next, current); err != nil {
		return fmt.Errorf("putting the databases in place: %w", err)
	}
	return removeAll(old)
}

// pushDatabases makes the registry's tags mean what is in a directory, or nothing.
func pushDatabases(client registryClient, dir string, built time.Time) error {
	trivy, err := name.NewTag(registryHost + "/" + databasesRepository + "/trivy-db:2")
	if err != nil {
		return fmt.Errorf("naming Trivy's database: %w", err)
	}
	grype, err := name.NewTag(registryHost + "/" + databasesRepository + "/grype-db:6")
	if err != nil {
		return fmt.Errorf("naming Grype's database: %w", err)
	}
	if !exists(filepath.Join(dir, trivyArchive)) {
		return errors.Join(client.remove(trivy), client.remove(grype))
	}
	archive, err := grypeArchive(dir)
	if err != nil {
		return err
	}
	return errors.Join(
		client.pushFile(trivy, databaseFile{
			path: filepath.Join(dir, trivyArchive), built: built,
			config: "application/vnd.aquasec.trivy.config.v1+json", layer: "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip",
		}),
		// Grype's publishers have no artifact; the types are those of any archive.
		client.pushFile(grype, databaseFile{path: archive, built: built, config: "application/vnd.oci.empty.v1+json", layer: types.OCILayerZStd}))
}

// databaseFile is an artifact of one file.
type databaseFile struct {
	path          string
	built         time.Time
	config, layer types.MediaType
}

func (c registryClient) pushFile(target name.Tag, f databaseFile) error {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("reading a database: %w", err)
	}
	config, layer := static.NewLayer([]byte("{}"), f.config), static.NewLayer(content, f.layer)
	manifest, err := f.manifest(config, layer)
	if err != nil {
		return err
	}
	for _, blob := range []v1.Layer{config, layer} {
		if err := remote.WriteLayer(target.Context(), blob, c.options...); err != nil {
			return fmt.Errorf("pushing %s: %w", target, err)
		}
	}
	if err := remote.Put(target, manifest, c.options...); err != nil {
		return fmt.Errorf("pushing %s: %w", target, err)
	}
	return nil
}

func (f databaseFile) manifest(config, layer v1.Layer) (rawManifest, error) {
	manifest := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Annotations: map[string]string{"org.opencontainers.image.created": f.built.Format(time.RFC3339)},
	}
	about, err := descriptor(config)
	if err != nil {
		return nil, err
	}
	manifest.Config = about
	if about, err = descriptor(layer); err != nil {
		return nil, err
	}
	about.Annotations = map[string]string{"org.opencontainers.image.title": filepath.Base(f.path)}
	manifest.Layers = []v1.Descriptor{about}
	return json.Marshal(manifest)
}

func descriptor(blob v1.Layer) (v1.Descriptor, error) {
	digest, err := blob.Digest()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading a digest: %w", err)
	}
	size, err := blob.Size()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading a size: %w", err)
	}
	kind, err := blob.MediaType()
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}, err
}

// rawManifest is what the library pushes as it is.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error)        { return m, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// remove deletes a tag, if there is one.
func (c registryClient) remove(target name.Tag) error {
	err := remote.Delete(target, c.options...)
	if answer, ok := errors.AsType[*transport.Error](err); ok && answer.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting %s: %w", target, err)
	}
	return nil
}
