//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// route is a destination that the host knows how to reach, and the index of
// the link that it is reached by.
type route struct {
	to   netip.Prefix
	link int
}

// checkAddresses refuses to take addresses that somebody else uses. Those that
// a running sandbox uses are its own.
func checkAddresses() error {
	routes, err := hostRoutes()
	if err != nil {
		return err
	}
	own := -1 // a route that leads nowhere has link 0
	if link, err := net.InterfaceByName(hostLink); err == nil {
		own = link.Index
	}
	return conflict(routes, own)
}

// conflict finds a route that overlaps with the sandbox's range. Very short
// prefixes are ways of writing a default route.
func conflict(routes []route, ownLink int) error {
	const shortest = 4
	for _, r := range routes {
		if r.to.Bits() < shortest || r.link == ownLink || !r.to.Overlaps(sandboxRange) {
			continue
		}
		return fmt.Errorf("this machine already routes %s, and the sandbox needs the addresses %s for itself", r.to, sandboxRange)
	}
	return nil
}

// hostRoutes asks the kernel for the IPv4 routes of all tables.
func hostRoutes() ([]route, error) {
	dump, err := syscall.NetlinkRIB(syscall.RTM_GETROUTE, syscall.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("listing the routes: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return nil, fmt.Errorf("parsing the routes: %w", err)
	}
	var routes []route
	for _, message := range messages {
		if message.Header.Type != syscall.RTM_NEWROUTE {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(&message)
		if err != nil {
			return nil, fmt.Errorf("parsing a route: %w", err)
		}
		// The second byte of a route message is the prefix length.
		if r, ok := parseRoute(int(message.Data[1]), attributes); ok {
			routes = append(routes, r)
		}
	}
	return routes, nil
}

func parseRoute(bits int, attributes []syscall.NetlinkRouteAttr) (route, bool) {
	var r route
	for _, attribute := range attributes {
		switch attribute.Attr.Type {
		case syscall.RTA_DST:
			if address, ok := netip.AddrFromSlice(attribute.Value); ok {
				r.to = netip.PrefixFrom(address, bits)
			}
		case syscall.RTA_OIF:
			r.link = int(binary.NativeEndian.Uint32(attribute.Value))
		}
	}
	return r, r.to.IsValid()
}

// plugIn connects the host to the network namespace of the node.
func plugIn(ctx context.Context, ip string, nodePID int) error {
	lines := []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %s", hostLink, nodeLink, strconv.Itoa(nodePID)),
		fmt.Sprintf("address add %s/%d dev %s", hostAddress, linkRange.Bits(), hostLink),
		"link set " + hostLink + " up",
		fmt.Sprintf("route replace %s via %s", podRange, nodeAddress),
		fmt.Sprintf("route replace %s via %s", serviceRange, nodeAddress),
	}
	for _, line := range lines {
		if err := runQuietly(exec.CommandContext(ctx, ip, strings.Fields(line)...)); err != nil {
			return fmt.Errorf("connecting the node: %w", err)
		}
	}
	return nil
}

// unplug removes the host's end of the cable. The kernel does so too when the
// node ends, but in its own time.
func unplug(ctx context.Context, ip string) error {
	if _, err := net.InterfaceByName(hostLink); err != nil {
		return nil
	}
	if ip != "" {
		// The kernel may be faster.
		_ = runQuietly(exec.CommandContext(ctx, ip, "link", "delete", hostLink))
	}
	return poll(ctx, 30*time.Second, "the link "+hostLink+" to go", func(context.Context) error {
		if _, err := net.InterfaceByName(hostLink); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
}
