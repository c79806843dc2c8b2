package verdict

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// gates of two repositories of one registry, which are closed after most failures.
func gates(most int, opened func()) (a, b gate) {
	c := &Cache{limits: limits.Admission{BreakerFailures: most, BreakerPause: limits.Duration(10 * time.Second)}, observer: Observer{Opened: opened}}
	all := c.breaker("registry registry.example", "could not be reached")
	return gate{"registry.example", all, c.breaker("repository registry.example/a", "has failed")},
		gate{"registry.example", all, c.breaker("repository registry.example/b", "has failed")}
}

// refused is an error of a connection, of a request for registry.example.
func refused(doing, to string) error {
	cause := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	return registry.Classify(doing, &url.Error{Op: "Get", URL: "https://" + to + "/v2/", Err: cause})
}

func TestWhatFailsIsLeftAlone(t *testing.T) {
	var (
		away    = pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "503")
		slow    = pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow")
		bytes   = pipeline.Transientf(pipeline.ReasonDigestMismatch, "other bytes")
		missing = pipeline.Terminalf(pipeline.ReasonImageNotFound, "404")
		gone    = pipeline.Transientf(pipeline.ReasonRegistryTimeout, "waiting: %w", context.Canceled)
		dead    = refused("reading", "registry.example")
	)
	type call struct {
		after time.Duration
		err   error
		// alone: it may not be asked.
		alone bool
	}
	tests := map[string]struct {
		calls []call
		opens int
		// other: another repository of the registry may be asked then.
		other bool
	}{
		"after three failures in a row":                   {[]call{{0, away, false}, {0, slow, false}, {0, away, false}, {0, nil, true}, {9 * time.Second, nil, true}}, 1, true},
		"not if one is good":                              {[]call{{0, away, false}, {0, away, false}, {0, nil, false}, {0, away, false}, {0, away, false}, {0, nil, false}}, 0, true},
		"what is not there is an answer":                  {[]call{{0, away, false}, {0, away, false}, {0, missing, false}, {0, away, false}, {0, nil, false}}, 0, true},
		"other bytes, and those who give up, say nothing": {[]call{{0, away, false}, {0, bytes, false}, {0, gone, false}, {0, errors.New("x"), false}, {0, away, false}, {0, nil, false}}, 0, true},
		"one tries after the pause, and it works":         {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, nil, false}, {0, nil, false}}, 1, true},
		"one tries after the pause, and fails":            {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, away, false}, {0, nil, true}, {9 * time.Second, nil, true}, {time.Second, nil, false}}, 1, true},
		"who tries and gives up leaves it to the next":    {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, gone, false}, {0, nil, false}, {0, nil, false}}, 1, true},
		"the registry, if there is no connection":         {[]call{{0, dead, false}, {0, dead, false}, {0, dead, false}, {0, nil, true}}, 1, false},
		"it can be reached if it answers anything":        {[]call{{0, dead, false}, {0, dead, false}, {0, away, false}, {0, dead, false}, {0, dead, false}, {0, nil, false}}, 0, true},
		"no connection says nothing of a repository":      {[]call{{0, away, false}, {0, away, false}, {0, dead, false}, {0, dead, false}, {0, nil, false}}, 0, true},
		"no connection after the pause":                   {[]call{{0, dead, false}, {0, dead, false}, {0, dead, false}, {10 * time.Second, dead, false}, {0, nil, true}}, 1, false},
		"an answer after the pause, though a bad one":     {[]call{{0, dead, false}, {0, dead, false}, {0, dead, false}, {10 * time.Second, slow, false}, {0, nil, false}}, 1, true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			opens, now := 0, noon
			g, other := gates(3, func() { opens++ })
			for i, c := range tt.calls {
				now = now.Add(c.after)
				leave, err := g.enter(now)
				if (err != nil) != c.alone {
					t.Fatalf("call %d: %v", i, err)
				}
				if err == nil {
					leave(t.Context(), now, c.err)
				}
			}
			if _, err := other.enter(now); (err == nil) != tt.other {
				t.Errorf("another repository: %v", err)
			}
			if opens != tt.opens {
				t.Errorf("it was left alone %d times", opens)
			}
		})
	}
}

func TestWhoHasNoTimeLeftSaysNothing(t *testing.T) {
	for desc, err := range map[string]error{"of a repository": pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow"), "of a registry": refused("reading", "registry.example")} {
		t.Run(desc, func(t *testing.T) {
			g, _ := gates(1, func() { t.Error("it is left alone") })
			ctx, end := context.WithTimeout(t.Context(), 0)
			defer end()
			leave, _ := g.enter(noon)
			leave(ctx, noon, err)
		})
	}
}

func TestWhoAsksWhatIsLeftAloneIsTold(t *testing.T) {
	tests := map[string]struct {
		err  error
		want string
	}{
		"a repository": {pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow"), "repository registry.example/a is left alone, since it has failed 1 times in a row from 12:00:00 UTC on; it is asked again at 12:00:10 UTC; the last failure was: slow"},
		// Others are told, who have nothing to do with what it was about.
		"a registry": {refused("reading registry.example/tenant/x@sha256:1", "registry.example"), "registry registry.example is left alone, since it could not be reached 1 times in a row from 12:00:00 UTC on; it is asked again at 12:00:10 UTC"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			g, _ := gates(1, func() {})
			leave, _ := g.enter(noon)
			leave(t.Context(), noon, tt.err)
			_, err := g.enter(noon.Add(4 * time.Second))
			fault, ok := errors.AsType[*pipeline.Transient](err)
			if !ok || fault.After != 6*time.Second || fault.Reason != pipeline.ReasonRegistryUnavailable {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			// While one tries, the others do not.
			if _, err := g.enter(noon.Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := g.enter(noon.Add(10 * time.Second)); err == nil {
				t.Fatal("two try at the same time")
			}
		})
	}
}

// Who may not ask the one keeps nobody from trying the other.
func TestWhoIsTurnedAwayTriesNothing(t *testing.T) {
	a, b := gates(1, func() {})
	for _, err := range []error{pipeline.Transientf(pipeline.ReasonRegistryThrottled, "429"), refused("reading", "registry.example")} {
		g := a
		if pipeline.ReasonOf(err) == pipeline.ReasonRegistryUnavailable {
			g = b
		}
		leave, _ := g.enter(noon)
		leave(t.Context(), noon, err)
	}
	probe, err := b.enter(noon.Add(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.enter(noon.Add(10 * time.Second)); err == nil || !strings.Contains(err.Error(), "registry registry.example is left alone") {
		t.Fatal(err)
	}
	probe(t.Context(), noon.Add(10*time.Second), nil)
	if _, err := a.enter(noon.Add(10 * time.Second)); err != nil {
		t.Fatal("nobody tries any more:", err)
	}
}

func TestWhatIsNoConnection(t *testing.T) {
	const here, elsewhere = "https://registry.example/v2/a/manifests/x", "https://token.example/token"
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	get := func(at string, err error) error { return &url.Error{Op: "Get", URL: at, Err: err} }
	tests := map[string]struct {
		err  error
		want bool
	}{
		"refused":                        {get(here, dial), true},
		"it takes too long to connect":   {get(here, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}), true},
		"no such host":                   {get(here, &net.DNSError{Name: "registry.example", IsNotFound: true}), true},
		"a certificate of nobody":        {get(here, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), true},
		"an alert of TLS":                {get(here, &net.OpError{Op: "remote error", Err: tls.AlertError(40)}), true},
		"a server for tokens is away":    {get(here, get(elsewhere, dial)), false},
		"it has sent us to another host": {get(elsewhere, dial), false},
		"the connection was reset":       {get(here, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}), false},
		"the connection was closed":      {get(here, io.EOF), false},
		"it does not answer":             {get(here, context.DeadlineExceeded), false},
		"an answer 502":                  {&transport.Error{StatusCode: 502}, false},
		"an answer to another try":       {errors.Join(get(here, dial), &transport.Error{StatusCode: 502}), false},
		"an answer that asks to wait":    {errors.Join(get(here, dial), &registry.ThrottledError{Status: 429, After: time.Second}), false},
		"nobody knows what was asked":    {dial, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := registry.Classify("reading", tt.err)
			if !isAway(err) {
				t.Errorf("it is no failure: %v", err)
			}
			if got := unreachable(err, "registry.example"); got != tt.want {
				t.Errorf("%t: %v", got, err)
			}
		})
	}
}

// An account over its rate limit, or a repository whose upstream is dead, is nobody else's business.
func TestOneRepositoryClosesNoRegistry(t *testing.T) {
	for _, status := range []int{429, 502, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newWorld(t, limits.Admission{BreakerFailures: 2})
			w.with(reads{})
			w.refuse("/tenant/", status)
			theirs := func(i int, scope string) error {
				q := w.question(t, w.repository(t, "tenant/x").Digest(fmt.Sprintf("sha256:%064d", i)))
				q.Access.Scope = scope
				_, err := w.cache.Judge(t.Context(), q)
				return err
			}
			for i := range 4 {
				_ = theirs(i, "tenant")
			}
			if err := theirs(9, "tenant"); !pipeline.IsTransient(err) || !strings.Contains(err.Error(), "repository "+w.host+"/tenant/x is left alone") {
				t.Error("they are not left alone:", err)
			}
			q := w.question(t, w.pushed(t, "", nil))
			q.Access.Scope = "tenant"
			if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
				t.Error("another repository:", v.Findings, err)
			}
			if err := theirs(1, "other"); !pipeline.IsTransient(err) || strings.Contains(err.Error(), "left alone") {
				t.Error("with other credentials:", err)
			}
		})
	}
}

// reads is a verifier that is content with an image that it can read.
type reads struct{ stand }

func (reads) Signature(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
	if _, err := from.Manifest(ctx, ref); err != nil {
		return verify.Evidence{}, err
	}
	return good(ctx, from, ref)
}

// A registry that can't be reached is away for all, whichever repositories they ask for. None of them is told of others.
func TestARegistryThatCantBeReachedIsLeftAlone(t *testing.T) {
	w := newWorld(t, limits.Admission{BreakerFailures: 3})
	w.with(reads{})
	gone := httptest.NewServer(nil)
	host := strings.TrimPrefix(gone.URL, "http://")
	gone.Close()
	judge := func(path, digit string) error {
		repo, err := w.client.Repository(host + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		q := w.question(t, repo.Digest("sha256:"+strings.Repeat(digit, 64)))
		q.Access.Scope = path
		v, err := w.cache.Judge(t.Context(), q)
		if !pipeline.IsTransient(err) || v.Holds() || len(v.Findings) > 0 {
			t.Fatal("it is no outage:", v, err)
		}
		return err
	}
	for _, path := range []string{"a", "b", "c"} {
		if err := judge(path, "1"); strings.Contains(err.Error(), "left alone") {
			t.Error(err)
		}
	}
	err := judge("d", "2").Error()
	if !strings.Contains(err, "registry "+host+" is left alone, since it could not be reached 3 times") || strings.Contains(err, "/a") || strings.Contains(err, "1111") {
		t.Error(err)
	}
}

func TestARegistryThatIsAwayIsNotAskedForEachImage(t *testing.T) {
	w := newWorld(t, limits.Admission{BreakerFailures: 3})
	var images []name.Digest
	for range 6 {
		images = append(images, w.pushed(t, "", nil))
	}
	w.sign(t, ours, images...)
	w.refuse("/base/x/", 503)
	// judge counts requests for ref: some for the image before may still be on their way.
	judge := func(ref name.Digest) (n int, err error) {
		_, hex, _ := strings.Cut(ref.DigestStr(), ":")
		for _, r := range w.requests(func() { _, err = w.cache.Judge(t.Context(), w.question(t, ref)) }) {
			if strings.Contains(r, hex) {
				n++
			}
		}
		return n, err
	}
	// What is under way ends when the first of three requests has failed: there may be three failures, or one.
	for _, ref := range images[:3] {
		if _, err := judge(ref); err == nil {
			t.Fatal("it was judged")
		}
	}
	if n, err := judge(images[3]); n != 0 || !pipeline.IsTransient(err) || !strings.Contains(err.Error(), "reading ") || !strings.Contains(err.Error(), "repository "+w.host+"/base/x is left alone") {
		t.Fatal(n, err)
	}
	if _, _, opens := w.seen.take(); opens != 1 {
		t.Errorf("it was left alone %d times", opens)
	}
	w.on(nil)
	w.later(11 * time.Second)
	// Of the three requests of an image one may be the first to try, and the others are told to wait.
	if n, _ := judge(images[4]); n == 0 {
		t.Fatal("it is still left alone")
	}
	if _, err := judge(images[5]); err != nil {
		t.Fatal(err)
	}
}
