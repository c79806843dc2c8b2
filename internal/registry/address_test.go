package registry

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestAddressPolicy(t *testing.T) {
	const allowed, needsListing, refused = "allowed", "needs listing", "refused"
	tests := map[string]struct{ addr, want string }{
		"a public IPv4 address":                {"93.184.216.34", allowed},
		"a public IPv6 address":                {"2606:2800:220:1::1", allowed},
		"loopback":                             {"127.8.0.1", refused},
		"IPv6 loopback":                        {"::1", refused},
		"loopback mapped into IPv6":            {"::ffff:127.0.0.1", refused},
		"the metadata service":                 {"169.254.169.254", refused},
		"the metadata service through NAT64":   {"64:ff9b::a9fe:a9fe", refused},
		"the metadata service through 6to4":    {"2002:a9fe:a9fe::1", refused},
		"an IPv4-compatible metadata address":  {"::169.254.169.254", refused},
		"the metadata service of AWS by IPv6":  {"fd00:ec2::254", refused},
		"the wire server of Azure":             {"168.63.129.16", refused},
		"the metadata service of Alibaba":      {"100.100.100.200", refused},
		"IPv6 link-local":                      {"fe80::1", refused},
		"IPv6 link-local with a zone":          {"fe80::1%eth0", refused},
		"unspecified":                          {"0.0.0.0", refused},
		"unspecified IPv6":                     {"::", refused},
		"multicast":                            {"224.0.0.1", refused},
		"IPv6 multicast":                       {"ff02::1", refused},
		"broadcast":                            {"255.255.255.255", refused},
		"a Teredo address":                     {"2001::1", refused},
		"10/8":                                 {"10.1.2.3", needsListing},
		"172.16/12":                            {"172.31.255.255", needsListing},
		"just above 172.16/12":                 {"172.32.0.1", allowed},
		"192.168/16":                           {"192.168.1.1", needsListing},
		"carrier-grade NAT":                    {"100.64.0.1", needsListing},
		"unique local IPv6":                    {"fd12::1", needsListing},
		"a private address mapped into IPv6":   {"::ffff:10.0.0.1", needsListing},
		"a private address through NAT64":      {"64:ff9b::a00:1", needsListing},
		"a public address through NAT64":       {"64:ff9b::5db8:d822", allowed},
		"class E, which some clusters use":     {"240.0.0.1", needsListing},
		"a public address mapped into IPv6":    {"::ffff:93.184.216.34", allowed},
		"the benchmarking range":               {"198.18.0.1", needsListing},
		"local-use NAT64 of unknown expansion": {"64:ff9b:1::1", needsListing},
	}
	strict := addressPolicy{}
	listed := addressPolicy{privateHosts: newHostSet([]string{"Registry.Example.:5000"})}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			addr := netip.MustParseAddr(tt.addr)
			err := strict.check("registry.example", "5000", addr)
			refusal, isRefusal := errors.AsType[*AddressError](err)
			if isRefusal != (tt.want != allowed) {
				t.Fatalf("strict: %v", err)
			}
			if isRefusal && refusal.Private != (tt.want == needsListing) {
				t.Errorf("Private = %t", refusal.Private)
			}
			if err := listed.check("registry.example", "5000", addr); (err == nil) != (tt.want != refused) {
				t.Errorf("listed: %v", err)
			}
			if err := listed.check("registry.example", "6000", addr); (err == nil) != (tt.want == allowed) {
				t.Errorf("listed with another port: %v", err)
			}
		})
	}
}

func TestDialerDialsTheAddressThatItChecked(t *testing.T) {
	answers := []string{"93.184.216.34", "169.254.169.254"} // a name that is rebound
	lookups := 0
	var dialled []string
	d := newDialer(addressPolicy{}, time.Second)
	d.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		lookups++
		return []netip.Addr{netip.MustParseAddr(answers[lookups-1])}, nil
	}
	d.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return &net.TCPConn{}, nil
	}
	if _, err := d.DialContext(t.Context(), "tcp", "rebound.example:443"); err != nil {
		t.Fatal(err)
	}
	if lookups != 1 || len(dialled) != 1 || dialled[0] != "93.184.216.34:443" {
		t.Errorf("%d look-ups, dialled %v", lookups, dialled)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "rebound.example:443"); err == nil {
		t.Error("the rebound name was dialled")
	}
	if len(dialled) != 1 {
		t.Errorf("dialled %v", dialled)
	}
}

func TestDialerRefusesANameWithOneBadAddress(t *testing.T) {
	d := newDialer(addressPolicy{}, time.Second)
	d.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	d.dial = func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("dialled")
	}
	_, err := d.DialContext(t.Context(), "tcp", "mixed.example:443")
	if _, ok := errors.AsType[*AddressError](err); !ok {
		t.Errorf("got %v", err)
	}
}

func TestDialerGivesEachAddressItsTime(t *testing.T) {
	d := newDialer(addressPolicy{}, time.Hour)
	d.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("93.184.216.35")}, nil
	}
	dialled := 0
	d.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialled++
		if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Hour {
			t.Errorf("a dial has the deadline %s", at)
		}
		return nil, errors.New("unreachable")
	}
	if _, err := d.DialContext(t.Context(), "tcp", "dual.example:443"); err == nil || dialled != 2 {
		t.Errorf("%d addresses were dialled: %v", dialled, err)
	}
}

func TestDialerTriesTheNextAddress(t *testing.T) {
	d := newDialer(addressPolicy{}, time.Second)
	d.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("2606:2800:220:1::1"), netip.MustParseAddr("93.184.216.34")}, nil
	}
	d.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		if address != "93.184.216.34:443" {
			return nil, errors.New("unreachable")
		}
		return &net.TCPConn{}, nil
	}
	if _, err := d.DialContext(t.Context(), "tcp", "dual.example:443"); err != nil {
		t.Error(err)
	}
}
