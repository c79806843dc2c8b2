package verdict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// architectures are other names of them that container runtimes understand.
var architectures = map[string]string{
	"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64e": "arm64", "armhf": "arm", "armel": "arm", "i386": "386",
}

// Those that are known not to run on other nodes than their own. What is not here may be another name of something that does.
var (
	knownOS            = []string{"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos", "aix", "android", "ios", "js", "plan9", "wasip1"}
	knownArchitectures = []string{"amd64", "386", "arm64", "arm", "ppc64", "ppc64le", "s390x", "riscv64", "mips", "mipsle", "mips64", "mips64le", "loong64", "wasm"}
)

// alsoRuns are architectures whose images a node runs if there is none of its own.
var alsoRuns = map[string]string{"amd64": "386", "arm64": "arm"}

// platform of an entry of an index, as container runtimes understand it.
type platform struct {
	os, architecture, variant string
	// unsaid: there is none. Runtimes look into the image then, and may run it.
	unsaid bool
}

func platformOf(raw json.RawMessage) (platform, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return platform{unsaid: true}, nil
	}
	fields, err := members(raw)
	if err != nil {
		return platform{}, fmt.Errorf("its platform: %w", err)
	}
	var p platform
	for name, into := range map[string]*string{"os": &p.os, "architecture": &p.architecture, "variant": &p.variant} {
		if value, there := fields[name]; there {
			if err := json.Unmarshal(value, into); err != nil {
				return platform{}, fmt.Errorf("its platform: %s is no text", name)
			}
			*into = strings.ToLower(*into)
		}
	}
	p.architecture = cmp.Or(architectures[p.architecture], p.architecture)
	return p, nil
}

func (p platform) String() string {
	switch {
	case p.unsaid:
		return "an image of no platform"
	case p.variant != "":
		return fmt.Sprintf("%.32s/%.32s/%.32s", p.os, p.architecture, p.variant)
	}
	return fmt.Sprintf("%.32s/%.32s", p.os, p.architecture)
}

// mayRun reports whether a node of one of the platforms, or of any if none are known, might run it.
func (p platform) mayRun(platforms []pipeline.Platform) bool {
	switch {
	case p.unsaid:
		return true
	case p.os == "unknown" && p.architecture == "unknown": // what BuildKit attests of an image
		return false
	case len(platforms) == 0, !slices.Contains(knownOS, p.os), !slices.Contains(knownArchitectures, p.architecture):
		return true
	}
	return slices.ContainsFunc(platforms, func(node pipeline.Platform) bool {
		return p.os == node.OS && (p.architecture == node.Architecture || p.architecture == alsoRuns[node.Architecture])
	})
}
