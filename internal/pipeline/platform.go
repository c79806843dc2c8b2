package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Platform is an OCI platform of the form os/architecture, for example linux/amd64
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md, "platform").
type Platform struct {
	OS           string
	Architecture string
}

// Supported lists the platforms that can be built, in the order in which they are shown.
var Supported = []Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// ParsePlatform parses os/architecture. A platform that is not Supported is a Terminal
// with reason UnknownPlatform.
func ParsePlatform(s string) (Platform, error) {
	os, arch, _ := strings.Cut(s, "/")
	p := Platform{OS: os, Architecture: arch}
	if !slices.Contains(Supported, p) {
		return Platform{}, Terminalf(ReasonUnknownPlatform, "spec.platforms: %q is not supported: use one of %v", s, Supported)
	}
	return p, nil
}

func (p Platform) String() string { return fmt.Sprintf("%s/%s", p.OS, p.Architecture) }

// BuildArgs are the arguments that every build of this platform gets, by the names of
// BuildKit's automatic platform arguments
// (https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope).
func (p Platform) BuildArgs() map[string]string {
	return map[string]string{
		"TARGETPLATFORM": p.String(),
		"TARGETOS":       p.OS,
		"TARGETARCH":     p.Architecture,
	}
}
