package config

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/limits"
)

// root is the path of the file as a whole.
var root *path

func (c *Operator) validate(f *findings) {
	equals(f, root.child("apiVersion"), c.APIVersion, APIVersion)
	equals(f, root.child("kind"), c.Kind, Kind)
	c.Images.validate(f, root.child("images"))
	c.Registries.validate(f, root.child("registries"))
	between(f, root.child("builds").child("maxConcurrent"), c.Builds.MaxConcurrent, 1, 1000)
	c.Databases.validate(f, root.child("databases"))
	validateURL(f, root.child("github").child("apiURL"), c.GitHub.APIURL, "https://host/path")
	c.Sigstore.validate(f, root.child("sigstore"))
	c.Defaults.validate(f, root.child("defaults"))
	validateLimits(f, c.Limits)
}

// bounded is a set of limits.
type bounded interface {
	Validate(report func(section, field, problem string))
}

func validateLimits(f *findings, l bounded) {
	l.Validate(func(section, field, problem string) {
		f.invalid(root.child("limits").child(section).child(field), "%s", problem)
	})
}

func equals(f *findings, at *path, value, want string) {
	if value != want {
		f.invalid(at, "%s must be %s", quoted(value), quoted(want))
	}
}

func (i Images) validate(f *findings, at *path) {
	validateImage(f, at.child("kaniko"), i.Kaniko)
	validateImage(f, at.child("worker"), i.Worker)
	validateImage(f, at.child("syft"), i.Syft)
	validateImage(f, at.child("trivy"), i.Trivy)
	validateImage(f, at.child("grype"), i.Grype)
}

// validateImage wants a version: what runs as root in build pods must not change because somebody has pushed.
func validateImage(f *findings, at *path, ref string) {
	if ref == "" {
		f.invalid(at, "is required")
		return
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		f.invalid(at, "%s is not an image reference", quoted(ref))
		return
	}
	// A reference with neither tag nor digest reads as latest, too.
	if tag, ok := parsed.(name.Tag); ok && tag.TagStr() == name.DefaultTag {
		f.invalid(at, "%s has no version: give a tag other than latest, or best a digest", quoted(ref))
	}
}

func (r Registries) validate(f *findings, at *path) {
	validateCABundle(f, at.child("caBundle"), r.CABundle)
	validateMirrors(f, at.child("mirrors"), r.Mirrors)
	for i, host := range r.PrivateHosts {
		validateHost(f, at.child("privateHosts").index(i), host)
	}
	for i, t := range r.TokenHosts {
		validateHost(f, at.child("tokenHosts").index(i).child("registry"), t.Registry)
		validateHost(f, at.child("tokenHosts").index(i).child("host"), t.Host)
	}
}

// validateCABundle wants every block to be a certificate: a bundle that is half understood would fail much later, at
// one registry.
func validateCABundle(f *findings, at *path, bundle string) {
	if len(bundle) > maxCABundleSize {
		f.invalid(at, "has %d bytes, at most %d are allowed", len(bundle), maxCABundleSize)
		return
	}
	blocks := 0
	for block, rest := pem.Decode([]byte(bundle)); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			f.invalid(at, "PEM block %d (%s) is not a certificate", blocks, printable(block.Type))
		}
	}
	if bundle != "" && blocks == 0 {
		f.invalid(at, "has no PEM certificate")
	}
}

func validateMirrors(f *findings, at *path, mirrors []Mirror) {
	var seen []string
	for i, m := range mirrors {
		validateRepositories(f, at.index(i).child("prefix"), m.Prefix)
		validateRepositories(f, at.index(i).child("endpoint"), m.Endpoint)
		prefix := canonicalPrefix(m.Prefix)
		if first := slices.Index(seen, prefix); first >= 0 && prefix != "" {
			f.invalid(at.index(i).child("prefix"), "%s is that of %s, too", quoted(m.Prefix), at.index(first))
		}
		seen = append(seen, prefix)
	}
}

// canonicalPrefix has one name for Docker Hub.
func canonicalPrefix(prefix string) string {
	host, rest, nested := strings.Cut(prefix, "/")
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	if nested {
		return host + "/" + rest
	}
	return host
}

// validateRepositories wants a registry or a part of one, in full: without a host, a name would mean Docker Hub.
func validateRepositories(f *findings, at *path, prefix string) {
	host, _, _ := strings.Cut(prefix, "/")
	_, err := name.NewRepository(prefix + "/x")
	switch {
	case prefix == "":
		f.invalid(at, "is required")
	case !isHost(host) || host != "localhost" && !strings.ContainsAny(host, ".:"):
		f.invalid(at, "%s does not begin with a registry host, for example docker.io", quoted(prefix))
	case err != nil || strings.Contains(prefix+"/", "//"):
		f.invalid(at, "%s is not of the form host/path", quoted(prefix))
	}
}

// validateHost refuses what no host would ever match.
func validateHost(f *findings, at *path, host string) {
	if host == "" {
		f.invalid(at, "is required")
		return
	}
	if !isHost(host) {
		f.invalid(at, "%s is not a host: give a name such as registry.example or registry.example:5000", quoted(host))
	}
}

func (d Databases) validate(f *findings, at *path) {
	validateLocation(f, at.child("trivy").child("location"), d.Trivy.Location)
	validateLocation(f, at.child("grype").child("location"), d.Grype.Location)
	between(f, at.child("maxAge"), d.MaxAge, limits.Duration(time.Hour), limits.Duration(8760*time.Hour))
}

// validateLocation wants what the worker can fetch: an artifact of a registry, or a file.
func validateLocation(f *findings, at *path, location string) {
	ref, oci := strings.CutPrefix(location, "oci://")
	if !oci {
		validateURL(f, at, location, "oci://host/repository:tag or https://host/path")
		return
	}
	host, _, _ := strings.Cut(ref, "/")
	parsed, err := name.ParseReference(ref)
	switch {
	case err != nil || !isHost(host) || host != "localhost" && !strings.ContainsAny(host, ".:"):
		f.invalid(at, "%s is not of the form oci://host/repository:tag", quoted(location))
	case parsed.Identifier() == name.DefaultTag:
		f.invalid(at, "%s has no version: give a tag other than latest, or a digest", quoted(location))
	}
}

// validateURL wants HTTPS and no credentials: what is configured is printed.
func validateURL(f *findings, at *path, text, form string) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		f.invalid(at, "is required")
	case err != nil || u.Scheme != "https" || !isHost(u.Host):
		f.invalid(at, "%s is not of the form %s", quoted(text), form)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		f.invalid(at, "has a user, a query or a fragment, which are not sent")
	}
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?$`)

// isHost accepts names and IP addresses, with or without a port.
func isHost(address string) bool {
	if _, err := netip.ParseAddr(address); err == nil {
		return true
	}
	u, err := url.Parse("https://" + address)
	if err != nil || !isPort(strings.TrimPrefix(address, withoutPort(u))) {
		return false
	}
	if strings.HasPrefix(address, "[") {
		_, err := netip.ParseAddr(u.Hostname())
		return err == nil
	}
	return dnsName.MatchString(u.Hostname())
}

func withoutPort(u *url.URL) string {
	if strings.HasPrefix(u.Host, "[") {
		return "[" + u.Hostname() + "]"
	}
	return u.Hostname()
}

// isPort accepts :port, and nothing.
func isPort(text string) bool {
	if text == "" {
		return true
	}
	port, err := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16)
	return err == nil && port > 0
}
