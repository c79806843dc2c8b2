package imageglob

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// hub is the canonical host of Docker Hub.
const hub = "index.docker.io"

var hubAliases = []string{"docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// host is a pattern of hosts. The zero value matches none.
type host struct {
	any bool
	// exact host with its port, if it has no wildcard.
	exact  string
	labels []segment
	port   string
}

// compileHost takes what canonicalHost returned.
func compileHost(canonical string) host {
	if canonical == anything {
		return host{any: true}
	}
	if !strings.Contains(canonical, "*") {
		return host{exact: canonical}
	}
	address, port, _ := strings.Cut(canonical, ":")
	h := host{port: port}
	for label := range strings.SplitSeq(address, ".") {
		h.labels = append(h.labels, compileSegment(label))
	}
	return h
}

func (h host) match(text string) bool {
	if h.any || h.exact != "" {
		return h.any || h.exact == text
	}
	address, port, _ := strings.Cut(text, ":")
	if len(h.labels) == 0 || port != h.port {
		return false
	}
	for i, label := range h.labels {
		head, tail, more := strings.Cut(address, ".")
		if !label.match(head) || more != (i < len(h.labels)-1) {
			return false
		}
		address = tail
	}
	return true
}

// canonicalHost is the one spelling of a host with its port, in which * may stand for characters of labels. It has to be that of
// the names that are matched: in lower case, without the dot of the DNS root, without port 443 unless it would not be taken for a
// host then.
func canonicalHost(text string) (string, error) {
	if text == anything {
		return text, nil
	}
	address, port := strings.ToLower(text), ""
	if i := strings.LastIndexByte(address, ':'); i > strings.LastIndexByte(address, ']') {
		var err error
		if port, err = canonicalPort(address[i+1:]); err != nil {
			return "", err
		}
		address = address[:i]
	}
	if strings.HasPrefix(address, "[") {
		return canonicalIP(address, port)
	}
	address = strings.TrimSuffix(address, ".")
	if err := checkHost(address); err != nil {
		return "", err
	}
	return nameHost(address, port), nil
}

// nameHost adds the port unless the host means it anyway.
func nameHost(address, port string) string {
	switch {
	case !strings.Contains(address, ".") && address != "localhost":
		return address + ":" + cmp.Or(port, "443") // else it is the first segment of a path
	case port != "" && port != "443":
		return address + ":" + port
	case slices.Contains(hubAliases, address):
		return hub
	}
	return address
}

func canonicalPort(text string) (string, error) {
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return "", fmt.Errorf("its host has the port %q: write a number from 1 to 65535, wildcards cannot stand for it", text)
	}
	return strconv.FormatUint(number, 10), nil
}

// canonicalIP takes an address of IPv6 in brackets, the only one that has colons.
func canonicalIP(text, port string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(text, "]") {
		return "", fmt.Errorf("its host %s is not an address of IPv6: write it whole and in brackets, without wildcard and zone", text)
	}
	if port == "" || port == "443" {
		return "[" + addr.String() + "]", nil
	}
	return "[" + addr.String() + "]:" + port, nil
}

func checkHost(address string) error {
	if strings.Contains(address, anything) {
		return errors.New("its host has ** inside: use * for the characters of one label, or ** alone for any host")
	}
	for label := range strings.SplitSeq(address, ".") {
		if label == "" {
			return errors.New("its host has an empty part: leave out the dot too many")
		}
		if r := strings.IndexFunc(label, isNeither("-_*")); r >= 0 {
			return fmt.Errorf("its host has %q: write letters of ASCII, digits, '-', '.', and * for the characters of one label", label[r:])
		}
	}
	return nil
}

// isNeither says of characters that they are no lower case letter, no digit, and none of those.
func isNeither(those string) func(rune) bool {
	return func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(those, r)
	}
}
