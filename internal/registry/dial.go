package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// maxAddresses of one host are tried, one after the other.
	maxAddresses = 8
)

// dialer connects to addresses that the policy allows. It looks a host up once and dials
// what it checked, so that a second answer of the name server changes nothing.
type dialer struct {
	policy addressPolicy
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func newDialer(policy addressPolicy) *dialer {
	return &dialer{
		policy: policy,
		lookup: net.DefaultResolver.LookupNetIP,
		dial:   (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
	}
}

// DialContext has the signature of http.Transport.DialContext. One refused address
// refuses the host: a name with a public and an internal address is not to be trusted.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.lookup(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.policy.check(host, port, a); err != nil {
			return nil, err
		}
	}
	return d.first(ctx, network, port, addrs)
}

func (d *dialer) first(ctx context.Context, network, port string, addrs []netip.Addr) (net.Conn, error) {
	var failed error = &net.AddrError{Err: "no addresses", Addr: port}
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		conn, err := d.dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		failed = err
		if errors.Is(ctx.Err(), context.Canceled) {
			break
		}
	}
	return nil, failed
}

// newTransport has no proxy on purpose: a proxy resolves names itself, and so would defeat
// the check of addresses. HTTPS_PROXY and its like are ignored.
func newTransport(d *dialer, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  2 * time.Minute, // a registry may take long to commit a large layer
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // digests are over the bytes on the wire
	}
}
