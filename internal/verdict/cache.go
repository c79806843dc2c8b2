package verdict

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

// Options of a Cache.
type Options struct {
	// Trust says which version of the trust root is in force: a verdict is only as good as the one by which it was made.
	Trust func() (version string, err error)
	// Limits of what is remembered, and how much is looked at. Zero fields have their defaults.
	Limits limits.Admission
	// Clock by which answers get old. Default: that of the machine.
	Clock clock.PassiveClock
	// Observer is told what becomes of questions. Default: nobody is.
	Observer Observer
}

// Cache is the Judge: it remembers verdicts, and makes those that it does not. It is safe for concurrent use.
type Cache struct {
	trust    func() (string, error)
	clock    clock.PassiveClock
	observer Observer
	limits   limits.Admission
	as       func(*verify.Verifier) verifier

	verdicts *memo[key, Verdict]
	known    *memo[imageKey, rules.ImageFacts]
	tags     *memo[tagKey, string]
	// manifests that tags were just resolved to: whoever asks what a tag is asks for its image next.
	manifests *lru.Cache[imageKey, registry.Manifest]
	hosts     *lru.Cache[string, *host]
	// repositories that were asked a moment ago.
	repositories *lru.Cache[repositoryKey, *breaker]
	platforms    platformSets
	sessions     sessions
	tenants      tenants
	// places of those who verify, and of those who look for attestations.
	places, attesting chan struct{}
}

var _ Judge = (*Cache)(nil)

const (
	// maxHosts whose failures are remembered, and maxRepositories.
	maxHosts, maxRepositories = 1024, 4096
	// maxManifests of at most manifestBytes are kept for those who ask next.
	maxManifests, manifestBytes = 128, 64 << 10
	// maxKnown images are remembered apart from verdicts, and so many tags.
	maxKnown = 4096
)

// imageKey is an image, as those see it who have the same credentials. With platforms, facts are those of their images.
type imageKey struct {
	registry, repository, digest, scope string
	platforms                           uint32
}

// key is all that a verdict depends on.
type key struct {
	imageKey
	policy, trust string
}

type tagKey struct{ scope, tag string }

// New makes a Cache. The error names the field of Options that is wrong.
func New(o Options) (*Cache, error) {
	if o.Trust == nil {
		return nil, errors.New("trust: nobody says which trust root is in force")
	}
	c := &Cache{trust: o.Trust, clock: o.Clock, observer: o.Observer.complete(), limits: o.Limits.WithDefaults(), as: func(v *verify.Verifier) verifier { return v }}
	if c.clock == nil {
		c.clock = clock.RealClock{}
	}
	var problems []error
	c.limits.Validate(func(_, field, problem string) {
		problems = append(problems, fmt.Errorf("limits.%s: %s", field, problem))
	})
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	c.places, c.attesting = make(chan struct{}, c.limits.Verifications), make(chan struct{}, c.limits.Attestations)
	return c, c.remember()
}

// remember makes room for what is remembered.
func (c *Cache) remember() error {
	l, timeout := c.limits, c.limits.Timeout.Std()
	var errs [6]error
	c.verdicts, errs[0] = newMemo[key](c.clock, l.Verdicts, timeout, c.lasts)
	c.known, errs[1] = newMemo[imageKey](c.clock, min(l.Verdicts, maxKnown), timeout, func(_ rules.ImageFacts, err error) (time.Duration, bool) {
		return c.lastsUnless(err, l.SuccessTTL, l.FailureTTL)
	})
	c.tags, errs[2] = newMemo[tagKey](c.clock, min(l.Verdicts, maxKnown), timeout, func(_ string, err error) (time.Duration, bool) {
		return c.lastsUnless(err, l.TagTTL, 0)
	})
	c.manifests, errs[3] = lru.New[imageKey, registry.Manifest](maxManifests)
	c.hosts, errs[4] = lru.New[string, *host](maxHosts)
	c.repositories, errs[5] = lru.New[repositoryKey, *breaker](maxRepositories)
	return errors.Join(errs[:]...)
}

// lasts says how long a verdict is remembered, and whether it is a good one.
func (c *Cache) lasts(v Verdict, err error) (time.Duration, bool) {
	switch {
	case err != nil:
		return c.lastsUnless(err, 0, c.limits.FailureTTL)
	case !v.Holds():
		return c.limits.FailureTTL.Std(), false
	case v.Until.IsZero():
		return c.limits.SuccessTTL.Std(), true
	}
	return min(c.limits.SuccessTTL.Std(), v.Until.Sub(c.clock.Now())), true
}

// lastsUnless is good without an error. An outage is remembered for a moment only: those who ask at the same time, or right
// after, do not wait for it once more.
func (c *Cache) lastsUnless(err error, good, terminal limits.Duration) (time.Duration, bool) {
	switch {
	case err == nil:
		return good.Std(), true
	case pipeline.IsTerminal(err):
		return terminal.Std(), false
	}
	return c.limits.FailureTTL.Std() / 10, false
}

// Len is how many verdicts that hold are remembered.
func (c *Cache) Len() int { return c.verdicts.good.Len() }

// Judge implements Judge.
func (c *Cache) Judge(ctx context.Context, q Question) (Verdict, error) {
	if err := q.check(); err != nil {
		return Verdict{}, err
	}
	trust, err := c.trust()
	if err != nil {
		return Verdict{}, outage(fmt.Errorf("verifying %s: %w", registry.Name(q.Image), err))
	}
	k := key{imageKey: c.imageKey(q), policy: q.Policy.Hash, trust: trust}
	if a, ok := c.verdicts.recall(k); ok {
		c.observer.Looked(Hit)
		return a.value, a.err
	}
	return c.cold(ctx, k, q)
}

// check refuses questions that can't be answered, rather than to answer another one.
func (q Question) check() error {
	switch {
	case q.Policy == nil || q.Access.Client == nil || q.Image.DigestStr() == "":
		return pipeline.Transientf(pipeline.ReasonInternalError, "a question has no image, no policy or no registry")
	case q.Policy.NotReady != nil:
		return outage(fmt.Errorf("%s %s is not ready: %w", q.Policy.Kind, q.Policy.Name, q.Policy.NotReady))
	case q.Policy.Hash == "" || len(q.Policy.Authorities) == 0:
		return pipeline.Transientf(pipeline.ReasonInternalError, "%s %s asks for nothing", q.Policy.Kind, q.Policy.Name)
	}
	return nil
}

func (c *Cache) imageKey(q Question) imageKey {
	repo := q.Image.Context()
	return imageKey{repo.RegistryStr(), repo.RepositoryStr(), q.Image.DigestStr(), q.Access.Scope, c.platforms.id(q.Platforms)}
}

func (c *Cache) cold(ctx context.Context, k key, q Question) (Verdict, error) {
	k.imageKey = k.clone()
	v, look, err := c.verdicts.find(ctx, k, func(ctx context.Context, s *steps) (Verdict, error) {
		began := c.clock.Now()
		v, err := c.judge(ctx, q, k.imageKey, s)
		c.observer.Judged(outcome(ctx, v, err), c.clock.Since(began))
		return v, err
	})
	c.observer.Looked(look)
	return v, err
}

// clone keeps nothing of what the strings were cut from.
func (k imageKey) clone() imageKey {
	k.registry, k.repository, k.digest = strings.Clone(k.registry), strings.Clone(k.repository), strings.Clone(k.digest)
	return k
}

func (c *Cache) judge(ctx context.Context, q Question, k imageKey, s *steps) (Verdict, error) {
	at, err := c.place(ctx, q.Access.Tenant, k.registry, s)
	if err != nil {
		return Verdict{}, err
	}
	defer at.release()
	r, end := c.request(q, k, at, s)
	defer end()
	v, err := r.judge(ctx)
	if err == nil && !v.Holds() && len(v.Findings) == 0 {
		err = pipeline.Transientf(pipeline.ReasonInternalError, "verifying %s: there is neither evidence nor anything wrong", registry.Name(q.Image))
	}
	switch {
	case err == nil:
		return v, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && !pipeline.IsTransient(err):
		return Verdict{}, pipeline.Transientf(pipeline.ReasonRegistryTimeout, "%w", err)
	}
	return Verdict{}, outage(err)
}

// Facts implements Judge.
func (c *Cache) Facts(ctx context.Context, q Question) (rules.ImageFacts, error) {
	switch {
	case q.Policy == nil || q.Access.Client == nil || q.Image.DigestStr() == "":
		return rules.ImageFacts{}, q.check()
	case q.Policy.Runtime == nil:
		return rules.ImageFacts{}, nil
	}
	k := c.imageKey(q)
	if a, ok := c.known.recall(k); ok {
		c.observer.Looked(Hit)
		return a.value, a.err
	}
	k = k.clone()
	facts, look, err := c.known.find(ctx, k, func(ctx context.Context, s *steps) (rules.ImageFacts, error) {
		at, err := c.place(ctx, q.Access.Tenant, k.registry, s)
		if err != nil {
			return rules.ImageFacts{}, err
		}
		defer at.release()
		r, end := c.request(q, k, at, s)
		defer end()
		facts, err := r.facts(ctx, func() (*image, error) { return r.look(ctx, q.Image) })
		return facts, unlessViolation(err)
	})
	c.observer.Looked(look)
	return facts, err
}
