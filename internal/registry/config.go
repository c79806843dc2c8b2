// Package registry is the one way to container registries: it decides which
// addresses may be dialled, which hosts may see credentials, how much may be read and
// what an answer means for a build.
//
// Registries are not trusted. Every manifest is read whole, up to a limit, and its digest
// is recomputed from the bytes; every address is checked after DNS and the checked address
// is the one that is dialled; credentials go to the host they belong to.
//
// The wire protocol is the OCI distribution specification v1.1
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md), spoken by
// go-containerregistry.
package registry

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Config says what a Client may do. The zero value is the strictest one: public
// addresses, TLS, no mirrors.
type Config struct {
	// CABundle is PEM with certificates that are trusted in addition to the
	// system's, for example of a private registry. Default: none.
	CABundle []byte
	// Mirrors are asked before the registry that an image names. Default: none.
	Mirrors []Mirror
	// PrivateHosts may have private addresses (RFC 1918, RFC 6598, fc00::/7). An
	// entry is "host" for every port, or "host:port". The hosts of Mirrors count as
	// listed. Loopback, link-local and metadata addresses stay refused.
	// Default: none.
	PrivateHosts []string
	// TokenHosts may be asked for a token with the credentials of another host.
	// Default: only the pairs of Docker Hub and gitlab.com.
	TokenHosts []TokenHost
	// UserAgent is sent before go-containerregistry's own.
	// Default: "basewright".
	UserAgent string
	// Limits bound what is asked and what is read. Zero fields have their defaults.
	Limits limits.Registry
	// Observe is told the method of each request to a registry or its token service, and the status of the answer; 0 for
	// none. Default: nobody is told.
	Observe func(method string, status int)

	// Wrap, if set, is given what sends the requests, and returns what sends them instead: it sees each one as the last
	// before the network. For tests that count requests or cut connections. Default: none.
	Wrap func(http.RoundTripper) http.RoundTripper

	// UnsafeLoopback allows loopback addresses, and HTTP without TLS to them. Only
	// for tests.
	UnsafeLoopback bool
	// UnsafePlainHTTPHosts are spoken to without TLS: whoever is on the path reads
	// the credentials. An entry is "host" or "host:port". Default: none.
	UnsafePlainHTTPHosts []string
}

// Mirror says where copies of images are.
type Mirror struct {
	// Prefix is a registry or repository in full, for example "docker.io" or
	// "docker.io/library". It matches whole path segments.
	Prefix string
	// Endpoint replaces Prefix, for example "registry.example/mirror/docker.io".
	Endpoint string
}

// TokenHost allows a registry to name a token service on another host
// (https://distribution.github.io/distribution/spec/auth/token/). Credentials for Registry
// are then sent to Host as well.
type TokenHost = pipeline.TokenHost

// wellKnownTokenHosts are the public registries whose token service has another name.
var wellKnownTokenHosts = []TokenHost{
	{Registry: "index.docker.io", Host: "auth.docker.io"},
	{Registry: "registry.gitlab.com", Host: "gitlab.com"},
}

// roots are the system's certificate authorities and those of bundle. Every block must be
// a certificate: a bundle that is half understood would fail much later, at one registry.
func roots(bundle []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w", err)
	}
	rest := bundle
	for n := 0; len(rest) > 0; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return checkedTail(pool, rest, n)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("registries.caBundle: block %d (%s) is not a certificate: %w", n, block.Type, err)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// checkedTail accepts white space and comments after the last of n blocks.
func checkedTail(pool *x509.CertPool, tail []byte, n int) (*x509.CertPool, error) {
	if n == 0 {
		return nil, fmt.Errorf("registries.caBundle: no PEM block found in %d bytes", len(tail))
	}
	return pool, nil
}
