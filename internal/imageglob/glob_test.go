package imageglob

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/registry"
)

// nameOf is a repository as people write it.
func nameOf(t testing.TB, repository string) Name {
	t.Helper()
	canonical, err := registry.CanonicalRepository(repository)
	if err != nil {
		t.Fatal(err)
	}
	name, err := NameOf(canonical)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func compiled(t testing.TB, pattern string) Glob {
	t.Helper()
	g, err := Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestMatch(t *testing.T) {
	tests := map[string]struct {
		pattern string
		yes, no []string
	}{
		"a repository is itself alone": {"registry.io/org",
			[]string{"registry.io/org", "REGISTRY.io:443/org", "registry.io./org"},
			[]string{"registry.io/org-evil", "registry.io/org/app", "registry.io/or", "registry.io:5000/org", "evil.registry.io/org", "registry.io.evil.com/org", "evil.com/registry.io/org", "org"}},
		"one star is the children": {"registry.io/org/*",
			[]string{"registry.io/org/app"},
			[]string{"registry.io/org", "registry.io/org-evil/app", "registry.io/org/app/sub", "registry.io/organisation"}},
		"two stars are a repository and all below": {"registry.io/org/**",
			[]string{"registry.io/org", "registry.io/org/app", "registry.io/org/a/b/c"},
			[]string{"registry.io/org-evil", "registry.io/org-evil/app", "registry.io/x/org/app", "evil.io/registry.io/org/app"}},
		"two stars in the middle are any number of segments, and none": {"registry.io/**/base",
			[]string{"registry.io/base", "registry.io/a/base", "registry.io/a/b/base", "registry.io/base/base"},
			[]string{"registry.io/base/x", "registry.io/a-base", "registry.io/a/xbase"}},
		"several two stars": {"registry.io/**/a/b/**/c/**",
			[]string{"registry.io/a/b/c", "registry.io/a/x/a/b/y/c/z", "registry.io/a/a/b/c/c/c"},
			[]string{"registry.io/a/c", "registry.io/b/a/c", "registry.io/a/x/b/c", "registry.io/a/b"}},
		"two stars twice are two stars": {"registry.io/**/**/app", []string{"registry.io/app", "registry.io/a/app"}, []string{"registry.io/a"}},
		"what is before and after two stars does not overlap": {"registry.io/a/b/**/b/c",
			[]string{"registry.io/a/b/b/c", "registry.io/a/b/x/b/c"}, []string{"registry.io/a/b/c"}},
		"stars within a segment": {"registry.io/team-*/a*b*c",
			[]string{"registry.io/team-x/abc", "registry.io/team-x/a-b-bc-c", "registry.io/team-x-y/axbc"},
			[]string{"registry.io/team/abc", "registry.io/team-x/acb", "registry.io/team-x/ab/c", "registry.io/team-x/y/abc"}},
		"what is before and after one star does not overlap": {"registry.io/ab*ba", []string{"registry.io/abba"}, []string{"registry.io/aba"}},
		"a star in the host is one label": {"*.example.com/app",
			[]string{"eu.example.com/app"},
			[]string{"example.com/app", "a.eu.example.com/app", "eu.example.com:5000/app", "eu.example.com.evil.com/app", "evil.com/eu.example.com/app", "eu.example.org/app"}},
		"a star within a label": {"eu-*.example.com/**",
			[]string{"eu-1.example.com/app"}, []string{"eu.example.com/app", "eu-1.x.example.com/app", "us-1.example.com/app"}},
		"a star at the end of a host ends there": {"example.*/app",
			[]string{"example.com/app"}, []string{"example.com.evil/app", "example.com:5000/app", "example.com/x/app"}},
		"a star and a port": {"reg*:5000/app",
			[]string{"registry:5000/app", "REG:05000/app"}, []string{"registry:50000/app", "registry/app", "registry:443/app", "reg.io:5000/app"}},
		"a host of one label with the port of TLS": {"registry:443/app", []string{"registry:443/app"}, []string{"registry/app", "registry.io/app"}},
		"localhost":                          {"localhost/app", []string{"localhost/app", "localhost:443/app"}, []string{"localhost:5000/app"}},
		"an address of IPv6":                 {"[2001:DB8::0:A]:05000/app", []string{"[2001:db8::a]:5000/app"}, []string{"[2001:db8::a]/app", "[2001:db8::b]:5000/app"}},
		"an address of IPv6 without a port":  {"[::1]:443/app", []string{"[0::1]/app"}, []string{"[::1]:5000/app"}},
		"an address of IPv4":                 {"192.0.2.*/app", []string{"192.0.2.1/app"}, []string{"192.0.21.1/app", "192.0.2.1:5000/app"}},
		"the host is spelled in another way": {"REGISTRY.io.:0443/org", []string{"registry.io/org"}, []string{"registry.io:4430/org"}},
		"an official image": {"alpine",
			[]string{"alpine", "docker.io/alpine", "index.docker.io/library/alpine", "registry-1.docker.io/library/alpine"},
			[]string{"evil/alpine", "ghcr.io/alpine", "ghcr.io/library/alpine", "library/alpine/x", "docker.io:5000/alpine"}},
		"official images":                    {"docker.io/*", []string{"alpine", "docker.io/library/busybox"}, []string{"org/app", "ghcr.io/alpine"}},
		"an organisation of Docker Hub":      {"org/*", []string{"org/app", "registry.hub.docker.com/org/app"}, []string{"org/app/x", "ghcr.io/org/app", "org"}},
		"all of Docker Hub":                  {"docker.io/**", []string{"alpine", "org/app"}, []string{"ghcr.io/org/app"}},
		"organisations of a name":            {"my*/app", []string{"my-org/app"}, []string{"my-org:5000/app", "my.io/app"}},
		"everything":                         {"**", []string{"alpine", "ghcr.io/a/b/c", "registry:5000/x", "[::1]:5000/x"}, nil},
		"any host, with any port":            {"**/org/*", []string{"ghcr.io/org/app", "org/app", "registry:5000/org/app"}, []string{"ghcr.io/x/org/app"}},
		"a path that looks like a host":      {"registry.io/**", nil, []string{"evil.com/registry.io/org", "evil.com:443/registry.io", "registry.io.evil/x"}},
		"a host that looks like a path":      {"ghcr.io/org/*", []string{"ghcr.io/org/app"}, []string{"localhost/ghcr.io/org/app", "ghcr.io.org/app", "ghcr.io-org/org/app"}},
		"a dot is a dot and not a character": {"ghcr.io/org/a.b", []string{"ghcr.io/org/a.b"}, []string{"ghcrxio/org/a.b", "ghcr.io/org/axb"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := compiled(t, tt.pattern)
			for _, repository := range tt.yes {
				if !g.Match(nameOf(t, repository)) {
					t.Errorf("%s does not match %s", tt.pattern, repository)
				}
			}
			for _, repository := range tt.no {
				if g.Match(nameOf(t, repository)) {
					t.Errorf("%s matches %s", tt.pattern, repository)
				}
			}
			if again := compiled(t, g.String()); again.String() != g.String() {
				t.Errorf("%s is %s, and that is %s", tt.pattern, g, again)
			}
		})
	}
}

func TestNothingMatchesWithoutPatternOrName(t *testing.T) {
	if n := nameOf(t, "ghcr.io/org/app"); (Glob{}).Match(n) || (host{}).match(n.Host) || matchPath(nil, n.Path) {
		t.Error("the zero glob matches")
	}
	for _, name := range []Name{{}, {Host: "ghcr.io"}, {Path: "org/app"}} {
		if compiled(t, anything).Match(name) {
			t.Errorf("** matches %+v", name)
		}
	}
}

func TestWhatIsNotAGlob(t *testing.T) {
	tests := map[string]struct{ pattern, fix string }{
		"nothing":                            {"", "registry.example/team/**"},
		"too long":                           {"ghcr.io/" + strings.Repeat("a", maxPattern), "shorten"},
		"a tag":                              {"ghcr.io/org/app:1.2", "write ghcr.io/org/app"},
		"a tag of a wildcard":                {"ghcr.io/org/*:*", "write ghcr.io/org/*"},
		"a tag of an official image":         {"alpine:3", "write alpine"},
		"a port without a path":              {"registry:5000", "tag"},
		"a digest":                           {"ghcr.io/org/app@sha256:00", "write ghcr.io/org/app"},
		"a tag and a digest":                 {"ghcr.io/org/app:1@sha256:00", "digest"},
		"a scheme":                           {"https://ghcr.io/org/app", "scheme"},
		"a host without a path":              {"ghcr.io", "ghcr.io/**"},
		"a host with a wildcard and no path": {"*.example.com", "*.example.com/**"},
		"a host and a slash":                 {"ghcr.io/", "slash"},
		"a slash first":                      {"/org/app", "slash"},
		"two slashes":                        {"ghcr.io//app", "slash"},
		"a slash last":                       {"ghcr.io/org/", "slash"},
		"one star":                           {"*", "**"},
		"one star for a host":                {"*/**", "**/**"},
		"two stars within a segment":         {"ghcr.io/org**", "whole segment"},
		"three stars":                        {"ghcr.io/***", "whole segment"},
		"two stars within a host":            {"**.example.com/app", "one label"},
		"two stars with a port":              {"**:5000/app", "any host"},
		"a star for a port":                  {"ghcr.io:*/app", "port"},
		"no port":                            {"ghcr.io:/app", "port"},
		"port 0":                             {"ghcr.io:0/app", "port"},
		"a port too high":                    {"ghcr.io:65536/app", "port"},
		"an empty label":                     {"ghcr..io/app", "dot"},
		"a dot first":                        {".ghcr.io/app", "dot"},
		"two dots last":                      {"ghcr.io../app", "dot"},
		"only a port":                        {":5000/app", "dot"},
		"a user":                             {"user@ghcr.io/app", "digest"},
		"another wildcard":                   {"ghcr.io/org/ap?", "* or **"},
		"an alternative":                     {"ghcr.io/{a,b}/app", "* or **"},
		"another wildcard in the host":       {"ghcr.i?/app", "one label"},
		"a letter beyond ASCII in the host":  {"ghсr.io/app", "ASCII"},
		"a letter beyond ASCII in the path":  {"ghcr.io/оrg", "lower case"},
		"an upper case path":                 {"ghcr.io/Org", "lower case"},
		"a space":                            {"ghcr.io/org ", "lower case"},
		"the parent":                         {"ghcr.io/org/../app", "begins and ends"},
		"the same":                           {"ghcr.io/./app", "begins and ends"},
		"a dot at the end":                   {"ghcr.io/org./app", "begins and ends"},
		"half an address of IPv6":            {"[::1/app", "IPv6"},
		"a wildcard in an address of IPv6":   {"[::*]/app", "IPv6"},
		"a zone":                             {"[fe80::1%eth0]/app", "IPv6"},
		"IPv4 in brackets":                   {"[192.0.2.1]:5000/app", "IPv6"},
		"bytes that are no text":             {"ghcr.io/\xff", "lower case"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, err := Compile(tt.pattern)
			if err == nil {
				t.Fatalf("%q is %s", tt.pattern, g)
			}
			if !strings.Contains(err.Error(), tt.fix) {
				t.Errorf("the error does not say %q: %v", tt.fix, err)
			}
			if len(tt.pattern) <= maxPattern && !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.pattern)) {
				t.Errorf("the error does not name the pattern: %v", err)
			}
			if g.Match(nameOf(t, "ghcr.io/org/app")) || g.Match(nameOf(t, "alpine")) {
				t.Error("what could not be compiled matches")
			}
		})
	}
}

func TestNamesAreCanonical(t *testing.T) {
	want := Name{Host: "registry.io:5000", Path: "a/b_c/d-e.f"}
	if got, err := NameOf("registry.io:5000/a/b_c/d-e.f"); err != nil || got != want || got.String() != "registry.io:5000/a/b_c/d-e.f" {
		t.Errorf("it is %+v, %v", got, err)
	}
	for _, repository := range []string{
		"", "/", "ghcr.io", "ghcr.io/", "/app", "org/app", "GHCR.io/app", "ghcr.io./app", "ghcr.io:443/app", "ghcr.io:05000/app", "ghcr.io:/app", "docker.io/library/alpine",
		"index.docker.io/alpine", "ghcr.io/org/../app", "ghcr.io/./app", "ghcr.io/org/..", "ghcr.io/org//app", "ghcr.io/org/", "ghcr.io/App", "ghcr.io/app:1", "ghcr.io/app@sha256:0",
		"*.io/app", "**/app", "ghcr.io/*", "ghcr.io/**", "ghcr.io/-app", "ghcr.io/app_", "ghcr.io/a%2fb", "ghcr.io/a\\b", "ghcr.io?x/app", "[0::1]/app", "[::1]:443/app", "[::1]x/app",
		"user@ghcr.io/app", "ghcr.io/" + strings.Repeat("a", maxName),
	} {
		if got, err := NameOf(repository); err == nil {
			t.Errorf("%q is %+v", repository, got)
		}
	}
}

func TestLint(t *testing.T) {
	tests := map[string]struct {
		patterns []string
		warning  string
	}{
		"an organisation, a registry of one's own": {[]string{"ghcr.io/org/**", "org/*", "alpine", "docker.io/library/*", "registry.example/**", "registry.example:5000/*/app",
			"eu-docker.pkg.dev/project/**", "ghcr.io.example/**", "quay.io:8443/**", "registry.k8s.io/pause", "[::1]/**"}, ""},
		"everything": {[]string{"**", "**/**", "**/**/**"}, "every image of every registry"},
		"any host":   {[]string{"**/org/app", "**/*"}, "any registry"},
		"some hosts": {[]string{"*.example.com/org/app", "*.pkg.dev/project/app", "reg*:5000/**"}, "every host"},
		"organisations of a shared registry": {[]string{"ghcr.io/**", "ghcr.io/*/app", "ghcr.io/org*/app", "GHCR.IO/**", "docker.io/**", "*org/app", "quay.io/*", "gcr.io/**", "eu.gcr.io/**", "us-docker.pkg.dev/*/app",
			"public.ecr.aws/**", "registry.gitlab.com/**/app", "cgr.dev/**", "mcr.microsoft.com/**", "registry.k8s.io/**"}, "other organisations"},
		"official images that look like all": {[]string{"docker.io/*", "my-*"}, "official images"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, pattern := range tt.patterns {
				got := compiled(t, pattern).Lint()
				if tt.warning == "" && len(got) > 0 || tt.warning != "" && (len(got) != 1 || !strings.Contains(got[0], tt.warning)) {
					t.Errorf("%s: %q", pattern, got)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	long := "ghcr.io/" + strings.Repeat("a/", 120) + "b"
	for name, tt := range map[string]struct{ pattern, repository string }{
		"organisation":   {"ghcr.io/organisation/**", "ghcr.io/organisation/team/app"},
		"other host":     {"ghcr.io/organisation/**", "quay.io/organisation/team/app"},
		"wildcard host":  {"*.registry.example.com/**/app", "eu.registry.example.com/organisation/team/app"},
		"worst segments": {"ghcr.io/" + strings.Repeat("**/a/", 90) + "c", long},
		"worst block":    {"ghcr.io/**/" + strings.Repeat("a/", 60) + "c/**", long},
		"worst stars":    {"ghcr.io/" + strings.Repeat("a*", 200) + "c", "ghcr.io/" + strings.Repeat("a", 250)},
	} {
		b.Run(name, func(b *testing.B) {
			g, n := compiled(b, tt.pattern), nameOf(b, tt.repository)
			b.ReportAllocs()
			for b.Loop() {
				g.Match(n)
			}
		})
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	g, n := compiled(t, "*.registry.example.com/**/team-*/**/app"), nameOf(t, "eu.registry.example.com/a/team-x/b/app")
	if allocations := testing.AllocsPerRun(10, func() { g.Match(n) }); allocations != 0 || !g.Match(n) {
		t.Errorf("%v allocations, match %v", allocations, g.Match(n))
	}
}
