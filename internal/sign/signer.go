// Package sign signs digests in registries, and attests statements about them, without a key that lasts: each build gets a
// certificate of Fulcio for a key that never leaves memory, each signature goes into Rekor's log or to a timestamp
// authority. What is written is verified before, and nothing is signed again.
package sign

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/sigstore-go/pkg/root"
	"golang.org/x/sync/semaphore"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/verify"
)

const (
	// parallel is how many things one process signs at the same time.
	parallel = 4
	// renewBefore is how much of its time a certificate must have left to be used for another signature.
	renewBefore = 2 * time.Minute
	// removal is how long it may take to delete what is superseded by one call of Attest. It is not worth more.
	removal = 10 * time.Second
)

// Options of a Signer.
type Options struct {
	// FulcioURL is where certificates are asked for.
	FulcioURL string
	// RekorURL is where signatures are logged (version 1 of its API). Empty: there is no log, and TimestampURL is needed.
	RekorURL string
	// TimestampURL is the whole address of a timestamp authority (RFC 3161). Empty: only the log says when something was
	// signed.
	TimestampURL string
	// HTTP is what they are asked with. Redirects are not followed, whatever it says.
	HTTP *http.Client
	// Token gives the identity token of the signer, for Fulcio. Its faults are passed on.
	Token func(context.Context) (string, error)
	// Material is the trust root that answers must verify with. Its faults are passed on.
	Material func() (root.TrustedMaterial, error)
	// Formats that are written; at least one.
	Formats []v1alpha1.SignatureFormat
	// Limits of statements and requests. Zero fields have their defaults.
	Limits limits.Signatures
	// Kept is told which superseded attestation a registry did not let us delete, and why: the first of each call of Attest,
	// which leaves the others then. Default: nobody is told.
	Kept func(ctx context.Context, artifact name.Digest, err error)
}

// Signer signs with the services of one Sigstore. It is safe for concurrent use.
type Signer struct {
	options                  Options
	fulcio, rekor, timestamp *service
	// room is taken by what is being signed, by bytes of statements. At least a quarter is taken by each.
	room *semaphore.Weighted
	// tags are locked by those who rewrite one.
	tags    tagLocks
	now     func() time.Time
	removal time.Duration
}

// New makes a Signer. The error names the field of Options that is wrong.
func New(o Options) (*Signer, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Limits = o.Limits.WithDefaults()
	if o.Kept == nil {
		o.Kept = func(context.Context, name.Digest, error) {}
	}
	client := *o.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s := &Signer{options: o, room: semaphore.NewWeighted(int64(o.Limits.StatementBytes)), tags: newTagLocks(), now: time.Now, removal: removal}
	for _, of := range []struct {
		service                **service
		field, name, url, path string
	}{
		{&s.fulcio, "fulcioURL", "Fulcio", o.FulcioURL, "/api/v2/signingCert"},
		{&s.rekor, "rekorURL", "Rekor", o.RekorURL, "/api/v1/log/entries"},
		{&s.timestamp, "timestampURL", "the timestamp authority", o.TimestampURL, ""},
	} {
		if of.url == "" {
			continue
		}
		made, err := newService(of.name, of.url, of.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", of.field, err)
		}
		made.client, made.timeout = &client, o.Limits.RequestTimeout.Std()
		*of.service = made
	}
	return s, nil
}

func (o Options) check() error {
	switch {
	case o.FulcioURL == "":
		return errors.New("fulcioURL: it is empty: name a Fulcio, which gives certificates")
	case o.RekorURL == "" && o.TimestampURL == "":
		return errors.New("rekorURL and timestampURL: both are empty: without a log or a timestamp nobody can tell later when something was signed, set at least one")
	case o.HTTP == nil:
		return errors.New("http: there is no client")
	case o.Token == nil:
		return errors.New("token: there is no identity to sign with")
	case o.Material == nil:
		return errors.New("material: there is no trust root to verify answers with")
	case len(o.Formats) == 0:
		return errors.New("formats: it is empty: name Legacy, Bundle or both")
	}
	for _, f := range o.Formats {
		if f != v1alpha1.FormatLegacy && f != v1alpha1.FormatBundle {
			return fmt.Errorf("formats: %q is not Legacy or Bundle", f)
		}
	}
	return nil
}

func newService(name, address, path string) (*service, error) {
	u, err := url.Parse(address)
	if err != nil { // It may have a password in it, and the error has it whole.
		return nil, errors.New("it is not a URL: write one such as https://host/path")
	}
	if u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, fmt.Errorf("%q is not of the form https://host/path", u.Redacted())
	}
	return &service{name: name, host: u.Host, url: strings.TrimSuffix(address, "/") + path}, nil
}

// writes reports whether signatures are written in that format.
func (s *Signer) writes(f v1alpha1.SignatureFormat) bool {
	return slices.Contains(s.options.Formats, f)
}

// Begin is for one build: its signatures are made with as few certificates as possible. v knows the identity that signs
// and no other: what it does not verify is not written, and what it verifies is not signed again.
func (s *Signer) Begin(v *verify.Verifier) *Session { return &Session{signer: s, verifier: v} }

// enter waits for room for something with a statement of that size.
func (s *Signer) enter(ctx context.Context, size int) (release func(), err error) {
	most := int64(s.options.Limits.StatementBytes)
	weight := min(max(int64(size), (most+parallel-1)/parallel), most)
	if err := s.room.Acquire(ctx, weight); err != nil {
		return nil, fmt.Errorf("waiting to sign: %w", context.Cause(ctx))
	}
	return func() { s.room.Release(weight) }, nil
}
