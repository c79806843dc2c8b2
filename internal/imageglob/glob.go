// Package imageglob matches repositories of images with globs such as registry.example/team/**.
//
// Host and path are matched apart, and only whole: no path makes a glob match another host, and registry.example/team does not
// match registry.example/team-evil.
//
//   - In the host, * stands for any characters of one DNS label: *.example.com matches eu.example.com, and neither example.com nor
//     a.eu.example.com. It never stands for a port: a host without one means 443. The host ** is any host with any port.
//   - In the path, * stands for any characters, or none, of one segment. A segment ** stands for any number of segments, or none:
//     registry.example/team/** matches registry.example/team and all that is below it, registry.example/team/* only its children.
//   - What comes before the first slash is a host if it has a dot or a colon, or is localhost or **, as for images. Without a host
//     a glob is of docker.io, and of docker.io/library if there is but one segment, which is not **. The glob ** matches everything.
//
// Nothing here is a regular expression. The time that Match takes grows linearly with the name, and it allocates nothing.
package imageglob

import (
	"errors"
	"fmt"
	"strings"
)

// maxPattern is the length of the longest glob, in bytes. The kind ImageAdmissionPolicy has the same bound.
const maxPattern = 512

// anything is the host, or the segment of a path, that stands for all of them.
const anything = "**"

// Glob is a pattern for repositories. The zero value matches none.
type Glob struct {
	host host
	path []block
	// pattern in canonical form: its host as that of a Name.
	pattern string
	// official: library/ was added to a pattern with a wildcard, so it may match less than its author meant.
	official bool
}

// String is the pattern with the host as it is matched, such as index.docker.io for docker.io.
func (g Glob) String() string { return g.pattern }

// Compile makes a glob of a pattern. The error names the pattern and the fix.
func Compile(pattern string) (Glob, error) {
	if len(pattern) > maxPattern {
		return Glob{}, fmt.Errorf("a glob of images has at most %d bytes, this one has %d: shorten it", maxPattern, len(pattern))
	}
	g, err := compile(pattern)
	if err != nil {
		return Glob{}, fmt.Errorf("%q is not a glob of images: %w", pattern, err)
	}
	return g, nil
}

func compile(pattern string) (Glob, error) {
	if err := checkWhole(pattern); err != nil {
		return Glob{}, err
	}
	address, path := split(pattern)
	canonical, err := canonicalHost(address)
	if err != nil {
		return Glob{}, err
	}
	g := Glob{host: compileHost(canonical)}
	if canonical == hub && path != anything && !strings.Contains(path, "/") {
		g.official = strings.Contains(path, "*")
		path = "library/" + path
	}
	for strings.Contains(path, "**/**") {
		path = strings.ReplaceAll(path, "**/**", anything)
	}
	g.path, err = compilePath(path)
	g.pattern = canonical + "/" + path
	return g, err
}

// checkWhole finds what people take for a glob and what would silently mean something else.
func checkWhole(pattern string) error {
	first, rest, slash := strings.Cut(pattern, "/")
	named, digest, pinned := strings.Cut(pattern, "@")
	last := pattern[strings.LastIndexByte(pattern, '/')+1:]
	switch {
	case pattern == "":
		return errors.New("it is empty: write registry.example/team/**, or leave it out")
	case strings.Contains(pattern, "://"):
		return errors.New("it has a scheme: leave it out, and begin with the host")
	case pinned:
		return fmt.Errorf("it has the digest %q: globs are of repositories, write %s", digest, named)
	case strings.Contains(last, ":"):
		repository, tag, _ := strings.Cut(last, ":")
		return fmt.Errorf("it has the tag %q: globs are of repositories, write %s", tag, strings.TrimSuffix(pattern, last)+repository)
	case !slash && strings.Contains(first, "."):
		return fmt.Errorf("%s is a host without a path: write %s/** for all of it, or docker.io/library/%s for an image of that name", first, first, first)
	case pattern == "*":
		return errors.New("* is no host: write docker.io/library/* for the official images of Docker Hub, or ** for every image")
	case first == "*":
		return fmt.Errorf("* is no host: write docker.io/*/%s for Docker Hub, or **/%s for any host", rest, rest)
	}
	return nil
}

// split a pattern into host and path as the names of images are.
func split(pattern string) (address, path string) {
	address, path, found := strings.Cut(pattern, "/")
	switch {
	case pattern == anything:
		return anything, anything
	case found && (strings.ContainsAny(address, ".:") || address == "localhost" || address == anything):
		return address, path
	}
	return hub, pattern
}

// Match reports whether g matches n.
func (g Glob) Match(n Name) bool {
	return n.Host != "" && n.Path != "" && g.host.match(n.Host) && matchPath(g.path, n.Path)
}
