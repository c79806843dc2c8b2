package imageglob

import (
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/registry"
)

// naive matches by the table of all prefixes of pattern and text. Of a pattern, many stands for any number of elements.
func naive[P, T any](pattern []P, text []T, many func(P) bool, one func(P, T) bool) bool {
	row := make([]bool, len(text)+1)
	row[0] = true
	for _, p := range pattern {
		next := make([]bool, len(row))
		for i := range next {
			switch {
			case many(p):
				next[i] = row[i] || i > 0 && next[i-1]
			case i > 0:
				next[i] = row[i-1] && one(p, text[i-1])
			}
		}
		row = next
	}
	return row[len(text)]
}

func naiveSegment(pattern, text string) bool {
	return naive([]byte(pattern), []byte(text), func(p byte) bool { return p == '*' }, func(p, t byte) bool { return p == t })
}

func naiveHost(pattern, host string) bool {
	if pattern == anything || pattern == host {
		return true
	}
	address, port, _ := strings.Cut(pattern, ":")
	if strings.HasPrefix(host, "[") {
		return false
	}
	hostAddress, hostPort, _ := strings.Cut(host, ":")
	none := func(string) bool { return false }
	return port == hostPort && naive(strings.Split(address, "."), strings.Split(hostAddress, "."), none, naiveSegment)
}

func naiveMatch(pattern string, n Name) bool {
	address, path, _ := strings.Cut(pattern, "/")
	many := func(p string) bool { return p == anything }
	return naiveHost(address, n.Host) && naive(strings.Split(path, "/"), strings.Split(n.Path, "/"), many, naiveSegment)
}

func FuzzMatch(f *testing.F) {
	for _, pattern := range []string{"registry.io/org/**", "registry.io/org", "*.io/**/b*b/**", "**", "org/a*", "reg*:5000/**/a", "[::1]:5000/*", "docker.io/*"} {
		for _, repository := range []string{"registry.io/org-evil/a", "registry.io/org", "registry.io/a/bb/b/c", "org/app", "alpine", "registry:5000/a/a", "[::1]:5000/x"} {
			f.Add(pattern, repository)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, repository string) {
		g, err := Compile(pattern)
		if err != nil {
			if g.Match(Name{Host: "registry.io", Path: "org"}) {
				t.Errorf("%q could not be compiled, and matches", pattern)
			}
			return
		}
		if again, err := Compile(g.String()); len(g.String()) <= maxPattern && (err != nil || again.String() != g.String()) {
			t.Errorf("%q is %s, and that is %s, %v", pattern, g, again, err)
		}
		g.Lint()
		canonical, err := registry.CanonicalRepository(repository)
		if err != nil {
			return
		}
		n, err := NameOf(canonical)
		if err != nil {
			return
		}
		if got, want := g.Match(n), naiveMatch(g.String(), n); got != want {
			t.Errorf("%q matches %s: %v, want %v", pattern, n, got, want)
		}
		if strings.HasPrefix(g.String(), n.Host+"/") {
			return
		}
		if address, _, _ := strings.Cut(g.String(), "/"); !strings.Contains(address, "*") && g.Match(n) {
			t.Errorf("%q matches %s, of another host", pattern, n)
		}
	})
}

// FuzzSpellings: a glob without wildcards matches the repository that registries take it for.
func FuzzSpellings(f *testing.F) {
	for _, repository := range []string{"alpine", "org/app", "GHCR.io.:0443/org", "registry:443/x", "localhost/x", "[0::1]:443/x", "docker.io:5000/x", "registry-1.docker.io/x", "a..b/c", "192.0.2.1:80/x/y"} {
		f.Add(repository)
	}
	f.Fuzz(func(t *testing.T, repository string) {
		g, err := Compile(repository)
		if err != nil || strings.Contains(repository, "*") {
			return
		}
		canonical, err := registry.CanonicalRepository(repository)
		if err != nil {
			return
		}
		if n, err := NameOf(canonical); err != nil || !g.Match(n) || g.String() != canonical {
			t.Errorf("%q is %s as a glob and %s as a repository, %v", repository, g, canonical, err)
		}
	})
}
