package imageglob

import (
	"fmt"
	"slices"
	"strings"
)

// sharedHosts are registries where anybody has repositories, or where those of many are served: the first segment of a path says whose they are.
var sharedHosts = []string{
	hub, "ghcr.io", "quay.io", "gcr.io", "public.ecr.aws", "registry.gitlab.com", "cgr.dev", "mcr.microsoft.com", "registry.k8s.io",
}

// sharedDomains are the same for regions and the like, each with a host of its own.
var sharedDomains = []string{".pkg.dev", ".gcr.io"}

// Lint warns of a glob that matches images of other people, or others than it seems to.
func (g Glob) Lint() []string {
	address, path, _ := strings.Cut(g.pattern, "/")
	first, _, _ := strings.Cut(path, "/")
	wild := strings.Contains(first, "*")
	switch {
	case address == anything && path == anything:
		return []string{"** matches every image of every registry: name the host and the organisation"}
	case address == anything:
		return []string{fmt.Sprintf("%s matches on any registry, and anybody can have one: name the host", g.pattern)}
	case strings.Contains(address, "*"):
		return []string{fmt.Sprintf("%s matches on every host %s, whoever has it: name the hosts, each in a glob of its own", g.pattern, address)}
	case wild && isShared(address):
		return []string{fmt.Sprintf("%s matches images of other organisations, %s is shared by many: name the organisation, as in %s/organisation/**", g.pattern, address, address)}
	case g.official:
		return []string{fmt.Sprintf("%s matches official images of Docker Hub alone, for it has no organisation: write docker.io/organisation/** for those of an organisation", g.pattern)}
	}
	return nil
}

func isShared(address string) bool {
	return slices.Contains(sharedHosts, address) ||
		slices.ContainsFunc(sharedDomains, func(domain string) bool { return strings.HasSuffix(address, domain) })
}
