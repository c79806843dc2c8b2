package registry

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// AddressError says that a host has an address that is not dialled.
type AddressError struct {
	// Host is the name that was looked up, without port.
	Host string
	// Addr is the address that was refused.
	Addr netip.Addr
	// Private is true if listing Host in registries.privateHosts would allow it.
	Private bool
}

// Refused marks the error as a decision of ours and not an outage.
func (e *AddressError) Refused() bool { return true }

func (e *AddressError) Error() string {
	if e.Private {
		return fmt.Sprintf("%s has the private address %s: list %q in registries.privateHosts if this is intended", e.Host, e.Addr, e.Host)
	}
	return fmt.Sprintf("%s has the address %s, which is never dialled, whatever registries.privateHosts says", e.Host, e.Addr)
}

var (
	loopback = prefixes("127.0.0.0/8", "::1/128")

	// never are addresses of this machine, of its link and of cloud metadata
	// services (https://www.iana.org/assignments/iana-ipv4-special-registry,
	// https://www.iana.org/assignments/iana-ipv6-special-registry).
	never = prefixes(
		"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
		"::/128", "fe80::/10", "fec0::/10", "ff00::/8", "2001::/32",
		"168.63.129.16/32",   // Azure's wire server
		"100.100.100.200/32", // Alibaba Cloud metadata
		"192.0.0.192/32",     // Oracle Cloud metadata
		"fd00:ec2::254/128",  // AWS metadata
	)

	// private are addresses inside an organisation's network, also those that some
	// clusters use for pods (RFC 6598, class E) and local NAT64 (RFC 8215).
	private = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
		"192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
		"fc00::/7", "64:ff9b:1::/48",
	)

	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	compat = netip.MustParsePrefix("::/96")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(addr netip.Addr, list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// addressPolicy decides which addresses a host may have.
type addressPolicy struct {
	privateHosts  hostSet
	allowLoopback bool
}

// check returns an AddressError unless addr may be dialled for host and port.
func (p addressPolicy) check(host, port string, addr netip.Addr) error {
	end := reached(addr)
	switch {
	case within(end, loopback):
		if p.allowLoopback {
			return nil
		}
		return &AddressError{Host: host, Addr: addr}
	case within(end, never):
		return &AddressError{Host: host, Addr: addr}
	case within(end, private) && !p.privateHosts.has(host, port):
		return &AddressError{Host: host, Addr: addr, Private: true}
	}
	return nil
}

// reached is where a packet to addr ends: IPv6 forms that carry an IPv4 address lead to that.
func reached(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	b := addr.As16()
	switch {
	case addr.Is4():
		return addr
	case sixTo4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case nat64.Contains(addr), compat.Contains(addr) && addr != netip.IPv6Loopback() && addr != netip.IPv6Unspecified():
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return addr
}

// hostSet holds "host" and "host:port" entries in lower case.
type hostSet map[string]struct{}

func newHostSet(hosts []string) hostSet {
	set := hostSet{}
	for _, h := range hosts {
		set[canonicalHost(h)] = struct{}{}
	}
	return set
}

func (s hostSet) has(host, port string) bool {
	host = canonicalHost(host)
	_, whole := s[host]
	_, exact := s[net.JoinHostPort(host, port)]
	return whole || exact
}

// hasAddress is has for "host" or "host:port".
func (s hostSet) hasAddress(address string) bool {
	return s.has(splitHost(address))
}

// canonicalHost is "host" or "host:port" in lower case, without the dot of the DNS root.
func canonicalHost(address string) string {
	host, port := splitHost(strings.ToLower(address))
	host = strings.TrimSuffix(host, ".")
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// splitHost splits "host", "host:port" or "[v6]:port"; the port may be empty.
func splitHost(address string) (host, port string) {
	if h, p, err := net.SplitHostPort(address); err == nil {
		return h, p
	}
	return strings.Trim(address, "[]"), ""
}
