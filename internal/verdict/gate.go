package verdict

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// gate is what every request passes: a registry, which is everybody's, and a repository of it as those see it who have the same
// credentials. What one repository or account does closes nothing for others.
type gate struct {
	// name of the registry.
	name                 string
	registry, repository *breaker
}

// enter says whether a request may be sent now. Whoever may has to leave, with what came of it.
func (g gate) enter(now time.Time) (leave func(context.Context, time.Time, error), err error) {
	ofRepository, err := g.repository.enter(now)
	if err != nil {
		return nil, err
	}
	ofRegistry, err := g.registry.enter(now)
	if err != nil {
		ofRepository(now, nothing, nil)
		return nil, err
	}
	return func(ctx context.Context, now time.Time, err error) {
		ofAll, ofOne := g.meaning(ctx, err)
		// The error names an image of somebody: that is nothing to tell all who have images there.
		ofRegistry(now, ofAll, nil)
		ofRepository(now, ofOne, err)
	}, nil
}

// news is what the end of a request says of whom it was sent to.
type news int

const (
	nothing news = iota
	works
	fails
)

// meaning of err for the registry and for the repository. That somebody has given up, or began when there was little time left,
// means nothing.
func (g gate) meaning(ctx context.Context, err error) (ofRegistry, ofRepository news) {
	switch {
	case err == nil, pipeline.IsTerminal(err):
		return works, works
	case ctx.Err() != nil, !isAway(err):
		return nothing, nothing
	case unreachable(err, g.name):
		return fails, nothing
	}
	return works, fails
}

// isAway reports whether err says that a registry does not answer, or not about the repository.
func isAway(err error) bool {
	t, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || errors.Is(err, context.Canceled) {
		return false
	}
	switch t.Reason {
	case pipeline.ReasonRegistryUnavailable, pipeline.ReasonRegistryTimeout, pipeline.ReasonRegistryTooSlow, pipeline.ReasonRegistryThrottled:
		return true
	}
	return false
}

// unreachable reports whether err says that there was no connection to host: nobody there has seen which repository it was about,
// or whose credentials. A connection that breaks later may do so because of these.
func unreachable(err error, host string) bool {
	_, answered := errors.AsType[*transport.Error](err)
	_, throttled := errors.AsType[*registry.ThrottledError](err)
	return !answered && !throttled && sentTo(err) == host && unconnected(err)
}

// sentTo is the host of the request that has failed. It is another one than the registry if that has sent us on, for a blob or
// for a token, which is asked for within the request that needs it.
func sentTo(err error) string {
	host := ""
	for e, ok := errors.AsType[*url.Error](err); ok; e, ok = errors.AsType[*url.Error](e.Err) {
		host = ""
		if u, err := url.Parse(e.URL); err == nil {
			host = u.Host
		}
	}
	return host
}

func unconnected(err error) bool {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	// Alerts of TLS are operations, too: those that they send, and those that we do.
	return ok && (op.Op == "dial" || op.Op == "remote error" || op.Op == "local error")
}
