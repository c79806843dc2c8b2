package registry

import (
	"strings"
	"testing"
)

func TestCanonicalRepository(t *testing.T) {
	for want, spellings := range map[string][]string{
		"ghcr.io/x":                   {"ghcr.io/x", "ghcr.io./x", "ghcr.io:0443/x", "GHCR.io/x", "ghcr.io:443/x", "ghcr.io.:443/x", "ghcr.io:/x"},
		"ghcr.io/library/x":           {"ghcr.io/library/x"},
		"ghcr.io:444/x":               {"ghcr.io:444/x", "ghcr.io:0444/x", "GHCR.io.:444/x"},
		"ghcr.io:80/x":                {"ghcr.io:80/x"},
		"index.docker.io/library/x":   {"x", "library/x", "docker.io/x", "docker.io/library/x", "docker.io./x", "docker.io./library/x", "registry-1.docker.io/library/x", "registry-1.docker.io/x", "registry.hub.docker.com/x", "index.docker.io/x", "INDEX.docker.io.:443/x"},
		"index.docker.io/org/x":       {"org/x", "docker.io/org/x", "Docker.io:443/org/x"},
		"docker.io:5000/x":            {"docker.io:5000/x"},
		"host:5000/x":                 {"host:5000/x", "host:05000/x", "HOST:5000/x", "host.:5000/x"},
		"host:443/x":                  {"host:443/x", "HOST:0443/x", "host.:443/x", "host:/x"},
		"index.docker.io/host/x":      {"host/x"},
		"localhost/x/y":               {"localhost/x/y", "localhost:443/x/y"},
		"[::1]/x":                     {"[::1]:443/x", "[::1]/x", "[0:0::1]/x", "[::1]:0443/x"},
		"[::1]:5000/x":                {"[::1]:5000/x", "[0:0::0001]:05000/x"},
		"[2001:db8::a]/x":             {"[2001:DB8::A]/x"},
		"192.0.2.1:5000/x":            {"192.0.2.1:5000/x"},
		"registry.example/deep/er/im": {"registry.example/deep/er/im"},
	} {
		for _, spelling := range spellings {
			if got, err := CanonicalRepository(spelling); err != nil || got != want {
				t.Errorf("%s is %q, %v, want %s", spelling, got, err, want)
			}
		}
		if again, err := CanonicalRepository(want); err != nil || again != want {
			t.Errorf("%s itself is %q, %v", want, again, err)
		}
	}
}

func TestWhatIsNoRepositoryHasNoCanonicalForm(t *testing.T) {
	for _, repository := range []string{
		"", "ghcr.io/", "ghcr.io/X", "ghcr.io/x:1", "ghcr.io/x@" + someDigest, "https://ghcr.io/x", "ghcr.io//x", "ghcr.io/x//y", "ghcr.io/x/", "ghcr.io../x", ".:5/x", "a..b/x",
		"ghcr.io:0/x", "ghcr.io:65536/x", "ghcr.io:+443/x", "ghcr.io:x/x", "ghcr.io/" + strings.Repeat("x", 300), "user@ghcr.io/x",
	} {
		if got, err := CanonicalRepository(repository); err == nil {
			t.Errorf("%q is %q", repository, got)
		}
	}
}
