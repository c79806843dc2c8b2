// Package config reads the operator's configuration: one versioned file, decoded strictly,
// so that a misspelt field is refused instead of ignored.
package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// APIVersion of the configuration file.
	APIVersion = "config.basewright.dev/v1alpha1"
	// Kind of the configuration file.
	Kind = "OperatorConfiguration"

	maxFileSize     = 512 << 10
	maxCABundleSize = 256 << 10
)

// Operator is the configuration of the operator.
type Operator struct {
	// APIVersion must be config.basewright.dev/v1alpha1.
	APIVersion string `json:"apiVersion"`
	// Kind must be OperatorConfiguration.
	Kind string `json:"kind"`
	// Images of the containers of build pods.
	Images Images `json:"images"`
	// Registries says how registries and git servers are reached.
	Registries Registries `json:"registries"`
}

// Images of the containers of build pods, best given by digest.
type Images struct {
	// Kaniko executor. Required.
	Kaniko string `json:"kaniko"`
	// Worker of this project, which fetches contexts and pushes images. Required.
	Worker string `json:"worker"`
}

// Registries says how registries and git servers are reached.
type Registries struct {
	// CABundle is PEM of certificate authorities that are trusted beside the system's,
	// by the operator and in build pods. At most 256 KiB.
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

// Load reads and checks the file at path. The error names the line or field that is wrong.
func Load(path string) (*Operator, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's configuration: %w", err)
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("reading the operator's configuration: %s has %d bytes, at most %d are read", path, info.Size(), maxFileSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's configuration: %w", err)
	}
	cfg, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// Parse decodes and checks a configuration.
func Parse(data []byte) (*Operator, error) {
	cfg := &Operator{}
	if err := yaml.UnmarshalStrict(data, cfg); err != nil {
		return nil, fmt.Errorf("decoding the operator's configuration: %w", err)
	}
	return cfg, cfg.validate()
}

func (c *Operator) validate() error {
	var errs []error
	if c.APIVersion != APIVersion || c.Kind != Kind {
		errs = append(errs, fmt.Errorf("apiVersion and kind: %q, %q must be %q, %q", c.APIVersion, c.Kind, APIVersion, Kind))
	}
	errs = append(errs,
		validateImage("images.kaniko", c.Images.Kaniko),
		validateImage("images.worker", c.Images.Worker),
		validateCABundle(c.Registries.CABundle))
	for i, host := range c.Registries.PrivateHosts {
		errs = append(errs, validateHost(fmt.Sprintf("registries.privateHosts[%d]", i), host))
	}
	for i, t := range c.Registries.TokenHosts {
		errs = append(errs,
			validateHost(fmt.Sprintf("registries.tokenHosts[%d].registry", i), t.Registry),
			validateHost(fmt.Sprintf("registries.tokenHosts[%d].host", i), t.Host))
	}
	return errors.Join(errs...)
}

func validateImage(field, ref string) error {
	if ref == "" {
		return fmt.Errorf("%s: is required", field)
	}
	if _, err := name.ParseReference(ref); err != nil {
		return fmt.Errorf("%s: %q is not an image reference: %w", field, ref, err)
	}
	return nil
}

func validateCABundle(pem string) error {
	if len(pem) > maxCABundleSize {
		return fmt.Errorf("registries.caBundle: has %d bytes, at most %d are allowed", len(pem), maxCABundleSize)
	}
	if pem != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(pem)) {
		return errors.New("registries.caBundle: holds no PEM certificate")
	}
	return nil
}

// validateHost refuses what no host would ever match.
func validateHost(field, host string) error {
	if host == "" || strings.ContainsAny(host, "/@*, \t\n") {
		return fmt.Errorf("%s: %q is not a host, for example registry.example", field, host)
	}
	return nil
}
