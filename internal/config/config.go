// Package config reads the configuration of the operator, and that of the webhook: one versioned file each, decoded
// strictly, so that a misspelt field is refused instead of ignored.
package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// APIVersion of the configuration file.
	APIVersion = "config.basewright.dev/v1alpha1"
	// Kind of the operator's file.
	Kind = "OperatorConfiguration"

	maxFileSize     = 512 << 10
	maxCABundleSize = 256 << 10
)

// Operator is the configuration of the operator. Those of Parse and Load are complete: every field that the file
// leaves out has its default.
type Operator struct {
	// APIVersion must be config.basewright.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind must be OperatorConfiguration.
	Kind string `json:"kind"`
	// Images of the containers of build pods and of those that scan and test.
	Images Images `json:"images"`
	// Registries says how registries and git servers are reached.
	Registries Registries `json:"registries"`
	// Builds says how many builds run.
	Builds Builds `json:"builds"`
	// Databases of vulnerabilities, for scans.
	Databases Databases `json:"databases"`
	// GitHub is where findings are uploaded, for BaseImages that ask for it.
	GitHub GitHub `json:"github"`
	// Sigstore signs what is built.
	Sigstore Sigstore `json:"sigstore"`
	// Defaults of the fields that a BaseImage leaves out.
	Defaults Defaults `json:"defaults"`
	// Limits bound what is read from outside.
	Limits limits.Limits `json:"limits"`
}

// Images of the containers of build pods and of those that scan and test, best given by digest. A tag other than latest is
// accepted.
type Images struct {
	// Kaniko executor. Required.
	Kaniko string `json:"kaniko"`
	// Worker of this project, which fetches contexts, pushes images and reports, and has the probe of tests. Required.
	Worker string `json:"worker"`
	// Syft lists the packages of an image. Required.
	Syft string `json:"syft"`
	// Trivy looks for vulnerabilities in an image. Required.
	Trivy string `json:"trivy"`
	// Grype looks for vulnerabilities of the packages that Syft has listed. Required.
	Grype string `json:"grype"`
}

// Registries says how registries and git servers are reached.
type Registries struct {
	// CABundle is PEM of certificate authorities that are trusted beside the system's,
	// by the program and in build pods. At most 256 KiB.
	CABundle string `json:"caBundle,omitempty"`
	// Mirrors are pull-through caches: the first try for the images they stand for.
	Mirrors []Mirror `json:"mirrors,omitempty"`
	// PrivateHosts are registry and git hosts, as host or host:port, whose addresses may be private (RFC 1918,
	// RFC 4193, RFC 6598). Hosts of mirrors are included. Loopback and link-local
	// addresses are never allowed.
	PrivateHosts []string `json:"privateHosts,omitempty"`
	// TokenHosts are token services on another host than their registry, which may see its credentials. Those of
	// well-known public registries need not be listed.
	TokenHosts []pipeline.TokenHost `json:"tokenHosts,omitempty"`
}

// Mirror stands for every repository under a prefix.
type Mirror struct {
	// Prefix of full image names in whole path segments: docker.io or docker.io/library.
	Prefix string `json:"prefix"`
	// Endpoint that takes the prefix's place: registry.example/mirror/docker.io.
	Endpoint string `json:"endpoint"`
}

// Builds says how many builds run.
type Builds struct {
	// MaxConcurrent is how many builds run at the same time in the cluster; the others wait in a queue.
	// From 1 to 1000. Default: 10.
	MaxConcurrent int `json:"maxConcurrent"`
}

// Databases of vulnerabilities, for scans. They are fetched without credentials, by the rules of Registries.
type Databases struct {
	// Trivy's database: an OCI artifact, or an archive with trivy.db and metadata.json.
	// Default: oci://ghcr.io/aquasecurity/trivy-db:2.
	Trivy Database `json:"trivy"`
	// Grype's database: an OCI artifact, an archive, or a listing (latest.json).
	// Default: https://grype.anchore.io/databases/v6/latest.json.
	Grype Database `json:"grype"`
	// MaxAge of a database. With an older one, no image passes. From 1h to 8760h. Default: 120h.
	MaxAge limits.Duration `json:"maxAge"`
}

// Database of one scanner.
type Database struct {
	// Location is oci://host/repository:tag, also with @digest, or https://….
	Location string `json:"location"`
}

// GitHub is where findings are uploaded.
type GitHub struct {
	// APIURL of GitHub, or of a GitHub Enterprise Server: https://github.example/api/v3. Default: https://api.github.com.
	APIURL string `json:"apiURL"`
}

// Private lists the hosts whose addresses may be private: the configured ones, and those of mirrors.
func (r Registries) Private() []string {
	hosts := slices.Clone(r.PrivateHosts)
	for _, m := range r.Mirrors {
		host, _, _ := strings.Cut(m.Endpoint, "/")
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Default is the configuration of a file that has nothing but what is required, without that: the version, the kind
// and the images.
func Default() *Operator {
	return &Operator{
		Builds: Builds{MaxConcurrent: 10},
		Databases: Databases{
			Trivy:  Database{Location: "oci://ghcr.io/aquasecurity/trivy-db:2"},
			Grype:  Database{Location: "https://grype.anchore.io/databases/v6/latest.json"},
			MaxAge: limits.Duration(120 * time.Hour),
		},
		GitHub:   GitHub{APIURL: "https://api.github.com"},
		Sigstore: publicGood(),
		Defaults: standard(),
		Limits:   limits.Limits{}.WithDefaults(),
	}
}

// Load reads and checks the file at path. An error about its content is of type Errors.
func Load(path string) (*Operator, error) {
	data, err := read(path, "operator")
	if err != nil {
		return nil, err
	}
	return parse(path, data)
}

// Parse decodes and checks a configuration. Its error is of type Errors and has all that is wrong, by line.
func Parse(data []byte) (*Operator, error) {
	return parse("", data)
}

func parse(file string, data []byte) (*Operator, error) {
	// Defaults are there before the file is read: what it says stands, also if that is 0.
	cfg := Default()
	if err := fill(cfg, file, data); err != nil {
		return nil, err
	}
	return cfg, nil
}

func read(path, program string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the %s's configuration: %w", program, err)
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("reading the %s's configuration: %s has %d bytes, at most %d are read", program, path, info.Size(), maxFileSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the %s's configuration: %w", program, err)
	}
	return data, nil
}

// configuration is a pointer to the struct of a file.
type configuration interface {
	validate(f *findings)
}

// fill puts what a file says into cfg, and checks it.
func fill(cfg configuration, file string, data []byte) error {
	f := newFindings(file)
	if root := f.document(data); root != nil {
		f.decode(nil, root, reflect.ValueOf(cfg).Elem())
		cfg.validate(f)
	}
	return f.err()
}
