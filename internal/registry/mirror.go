package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// mirror is a checked Mirror.
type mirror struct {
	prefix   string // fully qualified, without trailing slash
	endpoint name.Repository
	base     string // endpoint, or only its host
	plain    hostSet
}

// newMirrors checks mirrors and sorts them, longest prefix first.
func newMirrors(list []Mirror, plainHTTP hostSet) ([]mirror, error) {
	out := make([]mirror, 0, len(list))
	for i, m := range list {
		checked, err := newMirror(m, plainHTTP)
		if err != nil {
			return nil, fmt.Errorf("registries.mirrors[%d].%w", i, err)
		}
		if slices.ContainsFunc(out, func(o mirror) bool { return o.prefix == checked.prefix }) {
			return nil, fmt.Errorf("registries.mirrors[%d].prefix: %q is listed twice", i, m.Prefix)
		}
		out = append(out, checked)
	}
	slices.SortStableFunc(out, func(a, b mirror) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return out, nil
}

func newMirror(m Mirror, plainHTTP hostSet) (mirror, error) {
	if err := checkPath(m.Prefix); err != nil {
		return mirror{}, fmt.Errorf("prefix: %w", err)
	}
	if err := checkPath(m.Endpoint); err != nil {
		return mirror{}, fmt.Errorf("endpoint: %w", err)
	}
	// A repository below the endpoint is what gets used; the endpoint may be a host only.
	endpoint, err := newRepository(m.Endpoint+"/x", plainHTTP)
	if err != nil {
		return mirror{}, fmt.Errorf("endpoint: %q: %w", m.Endpoint, err)
	}
	host, rest, _ := strings.Cut(m.Prefix, "/")
	prefix := dockerHub(host)
	if rest != "" {
		prefix += "/" + rest
	}
	return mirror{prefix: prefix, endpoint: endpoint, base: m.Endpoint, plain: plainHTTP}, nil
}

// checkPath accepts host[:port][/path] in full: without a host it would mean Docker Hub.
func checkPath(p string) error {
	host, _, _ := strings.Cut(p, "/")
	if host != "localhost" && !strings.ContainsAny(host, ".:") {
		return fmt.Errorf("%q does not start with a registry host, for example docker.io", p)
	}
	if strings.ContainsAny(p, "@ ") || strings.Contains(p, "//") || strings.HasSuffix(p, "/") {
		return fmt.Errorf("%q is not of the form host/path", p)
	}
	if _, err := name.NewRepository(p + "/x"); err != nil {
		return fmt.Errorf("%q: %w", p, err)
	}
	return nil
}

// pull returns where ref is at the mirror.
func (m mirror) pull(ref name.Reference) (name.Reference, bool) {
	rest, ok := strings.CutPrefix(RepositoryName(ref.Context()), m.prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return nil, false
	}
	repo, err := newRepository(m.base+rest, m.plain)
	if err != nil {
		return nil, false // too long, or the mirror is a host and the prefix the whole image
	}
	if d, ok := ref.(name.Digest); ok {
		return repo.Digest(d.DigestStr()), true
	}
	return repo.Tag(ref.Identifier()), true
}

// Pulls lists where to pull ref from, in order: the mirrors whose prefix it has, longest
// prefix first, then its own registry. Tag or digest stay the same.
func (c *Client) Pulls(ref name.Reference) []name.Reference {
	var out []name.Reference
	for _, m := range c.mirrors {
		if at, ok := m.pull(ref); ok {
			out = append(out, at)
		}
	}
	return append(out, ref)
}

// Name is ref in full, as people write it: "docker.io/library/alpine:3.23".
// go-containerregistry says index.docker.io.
func Name(ref name.Reference) string {
	if d, ok := ref.(name.Digest); ok {
		return RepositoryName(ref.Context()) + "@" + d.DigestStr()
	}
	return RepositoryName(ref.Context()) + ":" + ref.Identifier()
}

// RepositoryName is repo in full, as people write it: "docker.io/library/alpine".
func RepositoryName(repo name.Repository) string {
	return dockerHub(repo.RegistryStr()) + "/" + repo.RepositoryStr()
}

func dockerHub(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}
