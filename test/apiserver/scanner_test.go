//go:build apiserver

package apiserver

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/scan"
)

// conforming is a Dockerfile that the policy has nothing against.
const conforming = "FROM scratch\n" +
	"LABEL org.opencontainers.image.title=a org.opencontainers.image.description=a org.opencontainers.image.source=a\n" +
	"USER 65532:65532\n"

// conformingConfig is that of the image that is built from it.
func conformingConfig() v1.Config {
	return v1.Config{User: "65532:65532", Labels: map[string]string{"org.opencontainers.image.title": "a",
		"org.opencontainers.image.description": "a", "org.opencontainers.image.source": "a"}}
}

// file of an image.
type file struct {
	name, content string
	mode          int64
}

// withFiles adds a layer with the files, and the user's entry in /etc/passwd.
func (o *operator) withFiles(img v1.Image, files []file) v1.Image {
	o.t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range append([]file{{"etc/passwd", "nonroot:x:65532:65532::/:/sbin/nologin\n", 0o644}}, files...) {
		o.check(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))}), "writing a layer")
		_, err := w.Write([]byte(f.content))
		o.check(err, "writing a layer")
	}
	o.check(w.Close(), "writing a layer")
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	o.check(err, "making a layer")
	img, err = mutate.AppendLayers(img, made)
	o.check(err, "adding a layer")
	return img
}

// scanner plays the containers of scan Jobs.
type scanner struct {
	// finds are what Grype reports on every platform.
	finds []finding
	// built is when the databases were made. Default: now.
	built time.Time
	// about changes which digest reports are about.
	about func(string) string
	// silent scanners never end.
	silent bool
}

type finding struct{ id, severity, name, version, fixed string }

// playScans ends the scan Jobs of the namespace as the kubelet and the Job controller do, until the test is over.
func (o *operator) playScans() {
	seen := map[types.UID]bool{}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-o.t.Context().Done():
			return
		case <-tick.C:
		}
		jobs := &batchv1.JobList{}
		if k8s.List(o.t.Context(), jobs, client.InNamespace(o.namespace), client.MatchingLabels{job.LabelJob: scan.JobScan}) != nil {
			continue
		}
		for _, j := range jobs.Items {
			if s := o.scanner.Load(); !seen[j.UID] && !s.silent {
				seen[j.UID] = true
				if err := o.playScan(s, j); err != nil && o.t.Context().Err() == nil {
					o.t.Errorf("playing Job %s: %v", j.Name, err)
				}
			}
		}
	}
}

func (o *operator) playScan(s *scanner, j batchv1.Job) error {
	input := &corev1.ConfigMap{}
	if err := k8s.Get(o.t.Context(), types.NamespacedName{Namespace: j.Namespace, Name: scan.InputName(j.Labels[job.LabelBuild])}, input); err != nil {
		return err
	}
	var in pipeline.WorkerInput
	if err := json.Unmarshal(input.BinaryData[pipeline.InputFile], &in); err != nil {
		return err
	}
	report := pipeline.WorkerReport{Scan: map[string]pipeline.ScanReports{}}
	for platform, digest := range in.Scan.Images {
		reports, err := o.pushReports(s, in.Repository, digest)
		if err != nil {
			return err
		}
		report.Scan[platform] = reports
	}
	message, err := json.Marshal(report)
	if err != nil {
		return err
	}
	return o.ends(j, scan.ContainerReport, 0, string(message), batchv1.JobComplete, "")
}

// object is JSON.
type object map[string]any

func (o *operator) pushReports(s *scanner, repository, digest string) (pipeline.ScanReports, error) {
	built := s.built
	if built.IsZero() {
		built = time.Now()
	}
	about := digest
	if s.about != nil {
		about = s.about(digest)
	}
	config, err := o.configOf(repository, digest)
	if err != nil {
		return pipeline.ScanReports{}, err
	}
	matches, components, packages := []object{}, []object{}, []object{}
	for _, f := range s.finds {
		purl := "pkg:deb/debian/" + f.name + "@" + f.version
		packages = append(packages, object{"ID": f.name, "Name": f.name, "SrcName": f.name})
		components = append(components, object{"type": "library", "name": f.name, "purl": purl})
		matches = append(matches, object{
			"vulnerability": object{"id": f.id, "severity": f.severity, "fix": object{"versions": []string{f.fixed}, "state": "fixed"}},
			"artifact":      object{"name": f.name, "version": f.version, "purl": purl}})
	}
	var reports pipeline.ScanReports
	for _, r := range []struct {
		digest  *string
		kind    string
		content object
	}{
		{&reports.SPDX, pipeline.ArtifactSPDX, object{"spdxVersion": "SPDX-2.3"}},
		{&reports.CycloneDX, pipeline.ArtifactCycloneDX, object{"bomFormat": "CycloneDX", "metadata": object{"component": object{"version": about}}, "components": components}},
		{&reports.Grype, pipeline.ArtifactGrype, object{"matches": matches, "source": object{"type": "image", "target": object{"manifestDigest": about, "imageID": config}},
			"distro":     object{"name": "debian", "version": "12"},
			"descriptor": object{"name": "grype", "db": object{"status": object{"built": built.UTC().Format(time.RFC3339), "valid": true}}}}},
		{&reports.Trivy, pipeline.ArtifactTrivy, object{"SchemaVersion": 2, "ArtifactType": "container_image",
			"Metadata": object{"ImageID": config, "OS": object{"Family": "debian", "Name": "12"}},
			"Results":  []object{{"Class": "os-pkgs", "Packages": packages}}}},
		{&reports.SARIF, pipeline.ArtifactSARIF, object{"version": "2.1.0", "runs": []object{{"tool": object{"driver": object{"name": "Trivy"}}, "results": []object{}}}}},
	} {
		if *r.digest, err = o.pushReport(repository, digest, r.kind, built, r.content); err != nil {
			return reports, err
		}
	}
	return reports, nil
}

func (o *operator) pushReport(repository, digest, kind string, built time.Time, content object) (string, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	reg, repo, err := o.registryClient(repository)
	if err != nil {
		return "", err
	}
	subject, err := reg.Head(o.t.Context(), repo.Digest(digest))
	if err != nil {
		return "", err
	}
	ref, err := reg.PushArtifact(o.t.Context(), repo, registry.Artifact{Type: kind, Subject: subject, Content: bytes.NewReader(raw),
		Annotations: map[string]string{pipeline.AnnotationDatabaseBuilt: built.UTC().Format(time.RFC3339)}})
	return ref.DigestStr(), err
}

func (o *operator) registryClient(repository string) (*registry.Client, name.Repository, error) {
	reg, err := registry.New(registry.Config{UnsafeLoopback: true})
	if err != nil {
		return nil, name.Repository{}, err
	}
	repo, err := reg.Repository(repository)
	return reg.With(keychain{authn.FromConfig(authn.AuthConfig{Username: "operator", Password: o.password})}), repo, err
}

// keychain has the same credentials for every registry.
type keychain struct{ authn.Authenticator }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k.Authenticator, nil }

func (o *operator) configOf(repository, digest string) (string, error) {
	ref, err := name.NewDigest(repository+"@"+digest, name.Insecure)
	if err != nil {
		return "", err
	}
	img, err := remote.Image(ref, remote.WithAuth(&authn.Basic{Username: "operator", Password: o.password}))
	if err != nil {
		return "", err
	}
	config, err := img.ConfigName()
	return config.String(), err
}
