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

// maxAddresses of one host are tried, one after the other.
const maxAddresses = 8

// dialer connects to addresses that the policy allows. It looks a host up once and dials
// what it checked, so that a second answer of the name server changes nothing.
type dialer struct {
	policy  addressPolicy
	timeout time.Duration // of each address
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

func newDialer(policy addressPolicy, timeout time.Duration) *dialer {
	return &dialer{
		policy:  policy,
		timeout: timeout,
		lookup:  net.DefaultResolver.LookupNetIP,
		dial:    (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext,
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
		conn, err := d.one(ctx, network, net.JoinHostPort(a.Unmap().String(), port))
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

func (d *dialer) one(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

// newTransport has no proxy on purpose: a proxy resolves names itself, and so would defeat
// the check of addresses. HTTPS_PROXY and its like are ignored.
func newTransport(d *dialer, roots *x509.CertPool, idlePerHost int) *http.Transport {
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  2 * time.Minute, // a registry may take long to commit a large layer
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // digests are over the bytes on the wire
	}
}
