package registry

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// CanonicalRepository is the one spelling of a repository, for comparing: spellings of the same one have the same. Its host
// is in lower case, without the dot of the DNS root and without port 443, except for hosts such as "registry:443" that would
// not be taken for one then. Docker Hub is index.docker.io, with the library/ of its official images.
//
// It is not for requests: a host that is spoken to without TLS (UnsafePlainHTTPHosts) has another port when it names none,
// and here it has 443. The error has no type.
func CanonicalRepository(repository string) (string, error) {
	parsed, err := name.NewRepository(repository)
	if err != nil {
		return "", fmt.Errorf("%q is not a repository: %w", clip(repository), err)
	}
	host, err := canonicalRegistry(parsed.RegistryStr())
	if err != nil {
		return "", fmt.Errorf("%q is not a repository: its host %w", clip(repository), err)
	}
	path := parsed.RepositoryStr()
	switch {
	case strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//"):
		return "", fmt.Errorf("%q is not a repository: its path has an empty part", clip(repository))
	case host == name.DefaultRegistry && !strings.Contains(path, "/"):
		path = "library/" + path
	}
	return host + "/" + path, nil
}

// canonicalRegistry is the host of a repository, with its port unless that is 443.
func canonicalRegistry(address string) (string, error) {
	host, port := splitHost(canonicalHost(address))
	number, err := canonicalPort(port)
	switch {
	case err != nil:
		return "", err
	case host == "" || strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, ".."):
		return "", errors.New("has an empty part")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	}
	switch {
	case number != 443:
		return net.JoinHostPort(host, strconv.Itoa(number)), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	case host != "localhost" && !strings.Contains(host, "."):
		return net.JoinHostPort(host, "443"), nil // else it is the first part of a path on Docker Hub
	}
	return hubHost(host), nil
}

func canonicalPort(port string) (int, error) {
	number, err := strconv.Atoi(cmp.Or(port, "443"))
	if err != nil || number < 1 || number > 65535 {
		return 0, errors.New("has a port that is none")
	}
	return number, nil
}
