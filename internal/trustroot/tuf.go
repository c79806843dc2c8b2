package trustroot

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/ibshafique/base-images/internal/netmessage"
)

const (
	// target is the name of the trust root in a TUF repository.
	target = "trusted_root.json"
	// refreshEvery is how often a repository is looked at that answers: its metadata is valid for days.
	refreshEvery = 24 * time.Hour
	// firstRetry and lastRetry are pauses after failures, each twice as long as the one before.
	firstRetry = time.Minute
	lastRetry  = time.Hour
)

// TUF is a repository of The Update Framework that has a trust root.
type TUF struct {
	// Mirror is its URL. Required.
	Mirror string
	// RootFile has the metadata (root.json) that the repository is trusted by. Default: that of Sigstore's public good
	// instance, for it and for mirrors of it.
	RootFile string
	// CacheDir keeps metadata, so that a repository can't go back to an older state. It is made if it is missing. Required.
	CacheDir string
	// HTTP sends the requests. Required.
	HTTP *http.Client
}

// FromTUF keeps the trust root that a TUF repository has. It makes no request: Run does. The trust root of the public good
// instance is there from the start, as it was when this version was released; that of another one, once it was fetched.
func FromTUF(t TUF, o Options) (*Root, error) {
	repository := &repository{TUF: t, root: tuf.DefaultRoot()}
	if t.RootFile == "" {
		r := newRoot(repository, o)
		first, err := parse(publicGood, "the trust root that was compiled in", r.clock.Now())
		if err != nil {
			return nil, err
		}
		r.state.Store(&state{snapshot: first})
		return r, nil
	}
	anchor, err := readRoot(t.RootFile)
	if err != nil {
		return nil, fmt.Errorf("reading the root of the TUF repository %s: %w", t.Mirror, err)
	}
	repository.root = anchor
	return newRoot(repository, o), nil
}

// readRoot finds out now what would keep every refresh from working.
func readRoot(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxBytes)
	}
	if _, err := trustedmetadata.New(data); err != nil {
		return nil, fmt.Errorf("%s is not the root metadata of TUF (root.json): %w", path, err)
	}
	return data, nil
}

type repository struct {
	TUF
	root []byte
}

func (r *repository) String() string { return "the trust root of " + r.Mirror }

// pause is never quite the same, so that operators of many clusters don't come at the same moment.
func (r *repository) pause(failures int) time.Duration {
	pause := refreshEvery
	if failures > 0 {
		pause = min(firstRetry<<min(failures-1, 10), lastRetry)
	}
	return pause - rand.N(pause/10)
}

// read does what TUF asks of a client: new roots one after the other, then timestamp, snapshot and targets, each signed,
// not expired, and not older than what is in the cache.
func (r *repository) read(ctx context.Context) ([]byte, error) {
	client, err := tuf.New(&tuf.Options{Root: r.root, CachePath: r.CacheDir, RepositoryBaseURL: r.Mirror, Fetcher: &fetcher{ctx: ctx, http: r.HTTP}})
	if err != nil {
		return nil, unavailable("fetching %s: %w", r, netmessage.Wrap(err))
	}
	data, err := client.GetTarget(target)
	if err != nil {
		return nil, unavailable("fetching %s: %w", r, netmessage.Wrap(err))
	}
	return data, nil
}
