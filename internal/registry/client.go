package registry

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// backoff bounds go-containerregistry's own retries: so many tries, with pauses of about
// 0.5 s, 1.5 s and so on. It retries 408, 429 without Retry-After, 499, 500, 502, 503, 504,
// 522, and connections that broke. Everything later is the caller's queue.
func backoff(tries int) remote.Backoff {
	return remote.Backoff{Duration: 500 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: tries}
}

// Client talks to registries. It is safe for concurrent use. A Client keeps connections
// and tokens; make one per process, and one With per set of credentials, and keep them.
type Client struct {
	*shared
	credentials *credentials
	listing     *listing
	options     []remote.Option
	pullers     *pullers
	pusher      *remote.Pusher
}

// shared is what all Clients of one Config have in common.
type shared struct {
	guard      *guard
	dialer     *dialer
	mirrors    []mirror
	limits     limits.Registry
	tokenHosts []TokenHost
	userAgent  string
	backoff    remote.Backoff
	attaching  *locks
	pings      *pings
	observe    func(method string, status int)
	timing     timing
}

// New makes an anonymous Client. The error names the setting that is wrong, with its index
// in a list, as a field of "registries".
func New(cfg Config) (*Client, error) {
	pool, err := roots(cfg.CABundle)
	if err != nil {
		return nil, err
	}
	mirrors, err := newMirrors(cfg.Mirrors, newHostSet(cfg.UnsafePlainHTTPHosts))
	if err != nil {
		return nil, err
	}
	policy := addressPolicy{privateHosts: newHostSet(cfg.PrivateHosts), allowLoopback: cfg.UnsafeLoopback}
	for _, m := range mirrors {
		policy.privateHosts[canonicalHost(m.endpoint.RegistryStr())] = struct{}{}
	}
	bounds := cfg.Limits.WithDefaults()
	d := newDialer(policy, bounds.ConnectTimeout.Std())
	var transport http.RoundTripper = newTransport(d, pool, bounds.RequestsPerHost)
	if cfg.Wrap != nil {
		transport = cfg.Wrap(transport)
	}
	s := &shared{
		dialer: d,
		guard: &guard{
			next:      newLimiter(transport, bounds.RequestsPerHost),
			policy:    policy,
			plainHTTP: newHostSet(cfg.UnsafePlainHTTPHosts),
		},
		mirrors:    mirrors,
		limits:     bounds,
		tokenHosts: cfg.TokenHosts,
		userAgent:  cmp.Or(cfg.UserAgent, "basewright"),
		backoff:    backoff(max(bounds.Tries, 1)),
		attaching:  &locks{taken: map[string]chan struct{}{}},
		pings:      &pings{known: map[string]ping{}},
		timing:     realTime,
		observe:    cfg.Observe,
	}
	return s.client(nil)
}

// With returns a Client with the credentials of keychain, and the connections and limits
// of c. A nil keychain is anonymous.
func (c *Client) With(keychain authn.Keychain) *Client {
	other, err := c.client(keychain)
	if err != nil {
		panic(err) // the same options were accepted by New
	}
	return other
}

// client puts the layers together that a request goes through, from the outside in:
//
//   - go-containerregistry, which logs in, follows redirects and repeats what broke;
//   - answers, one per set of credentials: who may see them, what an answer may say and how
//     much of it, and the pauses that a registry asks for;
//   - observed, which counts, and is not there if nobody does;
//   - guard: TLS, redirects and addresses, also of each hop, which comes as a request of its own;
//   - limiter: a slot at the host. It is below all that sends requests again or elsewhere, so
//     that waiting for that holds none, and above connections, which HTTP/2 shares;
//   - http.Transport, whose dialer checks the addresses that names have.
//
// HTTPClient begins at guard.
func (s *shared) client(keychain authn.Keychain) (*Client, error) {
	if keychain == nil {
		keychain = authn.NewMultiKeychain()
	}
	creds := newCredentials(keychain, s.tokenHosts)
	listing := &listing{repositories: map[string]struct{}{}}
	options := []remote.Option{
		remote.WithTransport(&answers{next: s.observed(), limits: s.limits, credentials: creds, timing: s.timing, listing: listing, pings: s.pings}),
		remote.WithAuthFromKeychain(creds),
		remote.WithUserAgent(s.userAgent),
		remote.WithRetryBackoff(s.backoff),
	}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return nil, fmt.Errorf("making a registry client: %w", err)
	}
	return &Client{shared: s, credentials: creds, listing: listing, options: options, pullers: &pullers{options: options, listing: listing}, pusher: pusher}, nil
}

// HTTPClient returns a client with the same rules for addresses, TLS and redirects, for
// other HTTPS services such as git. Its requests count for Limits.RequestsPerHost. It has no
// credentials, no limit on bodies and no timeout but that for headers (2 minutes): the
// request's context and the reader bound those.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: c.guard, CheckRedirect: keepCredentialsHome}
}

// DialContext connects with the same rules for addresses, for services that do not speak HTTP, such as git over SSH.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return c.dialer.DialContext(ctx, network, address)
}

// Limits returns the limits of c, defaults filled in.
func (c *Client) Limits() limits.Registry { return c.limits }

// Parse reads a reference as a Dockerfile has it: "alpine" is docker.io/library/alpine:latest,
// and a digest wins over a tag. A malformed one is Terminal with reason UpstreamInvalid.
func (c *Client) Parse(ref string) (name.Reference, error) {
	parsed, err := name.ParseReference(ref)
	if err == nil && c.guard.plainHTTP.hasAddress(parsed.Context().RegistryStr()) {
		parsed, err = name.ParseReference(ref, name.Insecure)
	}
	if err != nil {
		return nil, pipeline.Terminalf(pipeline.ReasonUpstreamInvalid, "%q is not an image reference: %w", clip(ref), err)
	}
	return parsed, nil
}

// Repository reads a repository without tag, for example "registry.example/base/alpine".
// A malformed one is Terminal with reason OutputInvalid.
func (c *Client) Repository(repo string) (name.Repository, error) {
	parsed, err := newRepository(repo, c.guard.plainHTTP)
	if err != nil {
		return name.Repository{}, pipeline.Terminalf(pipeline.ReasonOutputInvalid, "%q is not a repository: %w", clip(repo), err)
	}
	return parsed, nil
}

func newRepository(repo string, plainHTTP hostSet) (name.Repository, error) {
	parsed, err := name.NewRepository(repo)
	if err == nil && plainHTTP.hasAddress(parsed.RegistryStr()) {
		return name.NewRepository(repo, name.Insecure)
	}
	return parsed, err
}
