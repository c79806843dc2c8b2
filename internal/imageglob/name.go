package imageglob

import (
	"errors"
	"fmt"
	"strings"
)

// maxName is the length of the longest name, in bytes: of a host, a port, and the 255 that registries grant a path.
const maxName = 1024

// Name is a repository in its one spelling, in which globs are matched: spellings of the same repository have the same Name.
type Name struct {
	// Host in lower case, with its port unless that is 443; Docker Hub is index.docker.io.
	Host string
	// Path with the library/ of official images of Docker Hub.
	Path string
}

// String is the repository.
func (n Name) String() string { return n.Host + "/" + n.Path }

// NameOf splits a canonical "host/path". It refuses other spellings, because a policy would not be found by them, and paths that
// no kubelet takes, such as a/../b, because a registry may take them for another.
func NameOf(repository string) (Name, error) {
	if len(repository) > maxName {
		return Name{}, fmt.Errorf("a repository has at most %d bytes, this one has %d", maxName, len(repository))
	}
	address, path, _ := strings.Cut(repository, "/")
	if err := checkName(address, path); err != nil {
		return Name{}, fmt.Errorf("%q is not the canonical name of a repository: %w", repository, err)
	}
	return Name{Host: address, Path: path}, nil
}

func checkName(address, path string) error {
	canonical, err := canonicalHost(address)
	switch {
	case err != nil:
		return err
	case strings.Contains(address, "*"):
		return errors.New("its host has a wildcard: name one host")
	case canonical != address:
		return fmt.Errorf("its host is not spelled %s", canonical)
	case address == hub && !strings.Contains(path, "/"):
		return errors.New("its path has no library/ for an official image")
	}
	for text := range strings.SplitSeq(path, "/") {
		if err := checkSegment(text, ""); err != nil {
			return err
		}
	}
	return nil
}
