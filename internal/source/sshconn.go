package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// sshConnection ends with its context.
type sshConnection struct {
	client  *ssh.Client
	conn    net.Conn
	traffic budget
	ended   func() error
	forget  func() bool
}

// dialSSH connects to the server of a URL and checks its key, within the time for that.
func dialSSH(ctx context.Context, config Config, req request) (*sshConnection, error) {
	client, err := sshConfig(config, req)
	if err != nil {
		return nil, err
	}
	connecting, cancel := context.WithTimeoutCause(ctx, config.Limits.ConnectTimeout.Std(), fmt.Errorf("%w within %s", errConnect, config.Limits.ConnectTimeout))
	defer cancel()
	conn, err := config.Dial(connecting, "tcp", req.address())
	if err != nil {
		if fault := notConnected(req.url.String(), err); fault != nil {
			return nil, fault
		}
		return nil, unreachable(connecting, req, err)
	}
	c := &sshConnection{ended: ctx.Err}
	c.traffic.allow(traffic(config.Limits))
	conn = &meteredConn{Conn: conn, budget: &c.traffic}
	late := context.AfterFunc(connecting, func() { _ = conn.Close() })
	under, channels, requests, err := ssh.NewClientConn(conn, req.address(), client)
	if err != nil {
		late()
		return nil, handshakeFault(connecting, req, &c.traffic, err)
	}
	c.conn = conn
	c.client = ssh.NewClient(under, channels, requests)
	if !late() {
		c.close()
		return nil, unreachable(connecting, req, context.Cause(connecting))
	}
	c.forget = context.AfterFunc(ctx, c.abort)
	return c, nil
}

func sshConfig(config Config, req request) (*ssh.ClientConfig, error) {
	signer, err := req.credentials.signer()
	if err != nil {
		return nil, err
	}
	keys, err := newHostKeys(config.TempDir, req.credentials.KnownHosts, req.address())
	if err != nil {
		return nil, err
	}
	return &ssh.ClientConfig{
		User:              req.url.User.Username(),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   keys.check,
		HostKeyAlgorithms: keys.algorithms,
		ClientVersion:     "SSH-2.0-basewright",
	}, nil
}

// handshakeFault judges a handshake that failed.
func handshakeFault(ctx context.Context, req request, traffic *budget, err error) error {
	if over := traffic.fault(req.url.String()); over != nil {
		return over
	}
	if fault, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return fault
	}
	// The library has no type for this, only a text.
	if strings.Contains(err.Error(), "unable to authenticate") {
		return pipeline.Terminalf(pipeline.ReasonSourceDenied, "%s: %s refuses the key %q of the Secret for user %q: give its public half read access at the server, or put another key into the Secret",
			secretField, req.url, KeyPrivateKey, req.url.User.Username())
	}
	return unreachable(ctx, req, err)
}

// unreachable is for connections that failed, with why they were ended if it was us.
func unreachable(ctx context.Context, req request, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return unavailable("connecting to "+req.url.String(), err)
}

// cause is why the connection was ended by us, or else err.
func (c *sshConnection) cause(err error) error {
	if c.traffic.over() {
		return errTooLarge
	}
	if ended := c.ended(); ended != nil {
		return ended
	}
	return err
}

// abort ends the connection, whatever waits for it.
func (c *sshConnection) abort() { _ = c.conn.Close() }

// close ends the connection and waits until nothing of it is left. It may be called twice.
func (c *sshConnection) close() {
	if c.forget != nil {
		c.forget()
	}
	_ = c.client.Close()
	_ = c.client.Wait()
}

// meteredConn counts what is read.
type meteredConn struct {
	net.Conn
	budget *budget
}

// Read implements io.Reader.
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if over := c.budget.take(n); over != nil {
		return 0, over
	}
	return n, err
}
