package verdict

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/verify"
)

// counted is a verifier that counts what it is asked.
type counted struct {
	stand
	calls atomic.Int64
}

func (c *counted) Signature(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
	c.calls.Add(1)
	return c.stand.Signature(ctx, from, ref)
}

func counting(w *world, s stand) *counted {
	c := &counted{stand: s}
	w.with(c)
	return c
}

func (w *world) later(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

func TestAnswersAreRemembered(t *testing.T) {
	away := pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "away")
	tests := map[string]struct {
		says func(context.Context, verify.Source, name.Digest) (verify.Evidence, error)
		// still is when it is remembered, and over when it no longer is.
		still, over time.Duration
	}{
		"one that holds":   {good, 12*time.Hour - time.Second, 12 * time.Hour},
		"one that doesn't": {nil, 9 * time.Second, 10 * time.Second},
		"an outage": {func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) {
			return verify.Evidence{}, away
		}, 999 * time.Millisecond, time.Second},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newWorld(t, limits.Admission{})
			c := counting(w, stand{signature: tt.says})
			q := w.question(t, w.pushed(t, "", nil))
			first, err := w.cache.Judge(t.Context(), q)
			for _, wait := range []time.Duration{0, tt.still} {
				w.later(wait)
				again, errAgain := w.cache.Judge(t.Context(), q)
				if diff := cmp.Diff(first.Findings, again.Findings); diff != "" || first.Holds() != again.Holds() || !errors.Is(errAgain, err) {
					t.Error(diff, err, errAgain)
				}
			}
			if c.calls.Load() != 1 {
				t.Errorf("it was verified %d times", c.calls.Load())
			}
			w.later(tt.over - tt.still)
			_, _ = w.cache.Judge(t.Context(), q)
			if c.calls.Load() != 2 {
				t.Error("it was remembered for ever")
			}
		})
	}
}

// Nobody gets a verdict that was made by another rule, another trust root, for other nodes or with somebody else's credentials.
func TestWhatAVerdictDependsOn(t *testing.T) {
	tests := map[string]func(*world, *Question){
		"another policy":     func(_ *world, q *Question) { q.Policy.Hash = "other" },
		"other credentials":  func(_ *world, q *Question) { q.Access.Scope = "other" },
		"other nodes":        func(_ *world, q *Question) { q.Platforms = []pipeline.Platform{arm64} },
		"no nodes":           func(_ *world, q *Question) { q.Platforms = nil },
		"another trust root": func(w *world, _ *Question) { w.version = "v2" },
		"another repository": func(w *world, q *Question) { q.Image = w.repository(t, "other/x").Digest(q.Image.DigestStr()) },
		"another digest":     func(w *world, q *Question) { q.Image = w.pushed(t, "", nil) },
	}
	for desc, change := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newWorld(t, limits.Admission{})
			c := counting(w, stand{signature: good})
			q := w.question(t, w.pushed(t, "", nil))
			for range 2 {
				if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
					t.Fatal(v.Findings, err)
				}
			}
			change(w, &q)
			_, _ = w.cache.Judge(t.Context(), q)
			if c.calls.Load() != 2 {
				t.Errorf("it was verified %d times instead of twice", c.calls.Load())
			}
		})
	}
}

// 8 containers of one image are one verification.
func TestThoseWhoAskTheSameWaitTogether(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	asked, answer := make(chan struct{}), make(chan struct{})
	c := counting(w, stand{signature: func(ctx context.Context, s verify.Source, ref name.Digest) (verify.Evidence, error) {
		close(asked)
		<-answer
		return good(ctx, s, ref)
	}})
	q := w.question(t, w.pushed(t, "", nil))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
				t.Errorf("%d: %v %v", i, v.Findings, err)
			}
		})
	}
	<-asked
	w.waiting(8)
	close(answer)
	all.Wait()
	looks, ends, _ := w.seen.take()
	slices.Sort(looks)
	if diff := cmp.Diff(append(slices.Repeat([]Look{Coalesced}, 7), Miss), looks) + cmp.Diff([]Outcome{Held}, ends); diff != "" || c.calls.Load() != 1 {
		t.Error(c.calls.Load(), diff)
	}
}

// waiting returns when so many wait for verdicts.
func (w *world) waiting(n int) {
	for {
		w.cache.verdicts.mu.Lock()
		waiting := 0
		for _, f := range w.cache.verdicts.flights {
			waiting += f.waiting
		}
		w.cache.verdicts.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// stuck is a verifier that hangs until its context ends, and tells when it begins and how it ended.
func stuck() (s stand, began chan struct{}, ended chan error) {
	began, ended = make(chan struct{}, 8), make(chan error, 8)
	return stand{signature: func(ctx context.Context, _ verify.Source, _ name.Digest) (verify.Evidence, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return verify.Evidence{}, fmt.Errorf("reading something: %w", ctx.Err())
	}}, began, ended
}

func TestWhoGoesAwayTakesNothingFromOthers(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	s, began, ended := stuck()
	c := counting(w, s)
	q := w.question(t, w.pushed(t, "", nil))
	first, leave := context.WithCancel(t.Context())
	second, leaveToo := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	for _, ctx := range []context.Context{first, second} {
		go func() {
			_, err := w.cache.Judge(ctx, q)
			errs <- err
		}()
	}
	<-began
	w.waiting(2)
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatal("the work has ended with the first of those who waited for it:", err)
	default:
	}
	leaveToo()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// Nothing of that is remembered, and nobody joins what is about to end.
	c.stand = stand{signature: good}
	if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() || c.calls.Load() != 2 {
		t.Fatal(v.Findings, err, c.calls.Load())
	}
}

func TestWaitingEndsInTimeAndNamesTheStep(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	w.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".sig") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	ref := w.pushed(t, "", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := w.cache.Judge(ctx, w.question(t, ref))
	fault, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || fault.Reason != pipeline.ReasonRegistryTimeout || !strings.Contains(err.Error(), "reading manifest "+w.host+"/base/x:sha256-") || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestTheWorkEndsByItself(t *testing.T) {
	w := newWorld(t, limits.Admission{Timeout: limits.Duration(50 * time.Millisecond)})
	s, _, ended := stuck()
	w.with(s)
	_, err := w.cache.Judge(t.Context(), w.question(t, w.pushed(t, "", nil)))
	if err == nil || pipeline.IsTerminal(err) {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errLate) {
		t.Fatal(err)
	}
}

// What was not found when the time was over may be there.
func TestTimeThatIsOverIsNoVerdict(t *testing.T) {
	w := newWorld(t, limits.Admission{Timeout: limits.Duration(50 * time.Millisecond)})
	w.with(stand{signature: func(ctx context.Context, s verify.Source, ref name.Digest) (verify.Evidence, error) {
		<-ctx.Done()
		return stand{}.Signature(ctx, s, ref)
	}})
	v, err := w.cache.Judge(t.Context(), w.question(t, w.pushed(t, "", nil)))
	if err == nil || pipeline.IsTerminal(err) || len(v.Findings) > 0 {
		t.Fatal(v, err)
	}
}

func TestWorkThatVanishesLeavesAnError(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	for desc, f := range map[string]func(){"it panics": func() { panic("defect") }, "its goroutine ends": runtime.Goexit} {
		t.Run(desc, func(t *testing.T) {
			v, _, err := w.cache.verdicts.find(t.Context(), key{policy: desc}, func(context.Context, *steps) (Verdict, error) {
				f()
				return Verdict{proven: true}, nil
			})
			if err == nil || v.Holds() {
				t.Fatal(v, err)
			}
			if len(w.cache.verdicts.flights) > 0 {
				t.Error("somebody may still join it")
			}
		})
	}
}

// Whatever fails inside, nothing holds, and it is no verdict on the image either.
func TestFaultsAreOutages(t *testing.T) {
	always := func(e verify.Evidence, err error) func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) {
		return func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) { return e, err }
	}
	tests := map[string]func(*world, *Question){
		"a panic": func(w *world, _ *Question) {
			w.with(stand{signature: func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) { panic("defect") }})
		},
		"a goroutine that ends": func(w *world, _ *Question) {
			w.with(stand{signature: func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) {
				runtime.Goexit()
				return verify.Evidence{}, nil
			}})
		},
		"evidence of nothing": func(w *world, _ *Question) { w.with(stand{signature: always(verify.Evidence{}, nil)}) },
		"evidence of another image": func(w *world, _ *Question) {
			w.with(stand{signature: always(verify.Evidence{Subject: "sha256:" + strings.Repeat("a", 64)}, nil)})
		},
		"an error without a type": func(w *world, _ *Question) { w.with(stand{signature: always(verify.Evidence{}, errors.New("what"))}) },
		"a trust root that is none": func(w *world, _ *Question) {
			w.with(stand{signature: always(verify.Evidence{}, pipeline.Terminalf(pipeline.ReasonTrustRootInvalid, "no authority"))})
		},
		"evidence and an error": func(w *world, q *Question) {
			w.with(stand{signature: always(verify.Evidence{Subject: q.Image.DigestStr()}, pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow"))})
		},
		"no trust root": func(w *world, _ *Question) {
			w.cache.trust = func() (string, error) {
				return "v1", pipeline.Terminalf(pipeline.ReasonTrustRootUnavailable, "not yet")
			}
		},
		"no policy":           func(_ *world, q *Question) { q.Policy = nil },
		"a policy of nothing": func(_ *world, q *Question) { q.Policy = &imagepolicy.Policy{Hash: "x"} },
		"a policy of no hash": func(_ *world, q *Question) { q.Policy.Hash = "" },
		"a policy that is not ready": func(_ *world, q *Question) {
			q.Policy.NotReady = pipeline.Terminalf(pipeline.ReasonPolicyInvalid, "no good version")
		},
		"an authority of nothing": func(_ *world, q *Question) { q.Policy.Authorities[0].Verifier = nil },
		"an authority that asks for nothing": func(_ *world, q *Question) {
			q.Policy.Authorities = []imagepolicy.Authority{{Name: "a", AttestationsSuffice: true}}
		},
		"an attestation by nobody": func(w *world, q *Question) {
			w.with(stand{signature: good})
			q.Policy.Authorities[0].Attestations = []imagepolicy.Attestation{{PredicateType: "x"}}
		},
		"an attestation of another type": func(w *world, q *Question) {
			w.with(stand{signature: good, attestation: func(_ context.Context, ref name.Digest, _ string, _ func(verify.Attestation) error) (verify.Attestation, error) {
				return verify.Attestation{Evidence: verify.Evidence{Subject: ref.DigestStr()}, PredicateType: "y"}, nil
			}})
			q.Policy.Authorities[0].Attestations = []imagepolicy.Attestation{{PredicateType: "x", Verifier: w.verifier(t, ours)}}
		},
		"no registry":               func(_ *world, q *Question) { q.Access.Client = nil },
		"no image":                  func(_ *world, q *Question) { q.Image = name.Digest{} },
		"a manifest of other bytes": func(w *world, q *Question) { w.on(other(q.Image.DigestStr())) },
		"a registry that fails":     func(w *world, _ *Question) { w.refuse("manifests/sha256:", 500) },
		"a registry that throttles": func(w *world, _ *Question) { w.refuse("manifests/sha256:", 429) },
		"a tag that can't be read":  func(w *world, _ *Question) { w.refuse(".sig", 503) },
		"referrers that can't":      func(w *world, _ *Question) { w.refuse("/referrers/", 503) },
		"a config that can't": func(w *world, q *Question) {
			q.Policy.Runtime = &imagepolicy.Runtime{}
			w.with(stand{signature: good})
			w.refuse("/blobs/", 503)
		},
	}
	for desc, change := range tests {
		t.Run(desc, func(t *testing.T) {
			w := newWorld(t, limits.Admission{})
			q := w.question(t, w.pushed(t, "", nil))
			change(w, &q)
			for range 2 {
				v, err := w.cache.Judge(t.Context(), q)
				if err == nil || pipeline.IsTerminal(err) || v.Holds() || len(v.Findings) > 0 {
					t.Errorf("%v, %v, %v", v.Holds(), v.Findings, err)
				}
			}
			if n := w.cache.Len(); n != 0 {
				t.Errorf("%d verdicts that hold are remembered", n)
			}
		})
	}
}

// other serves an image that is not the one with the digest.
func other(digest string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digest) {
			return false
		}
		rw.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		rw.Header().Set("Docker-Content-Digest", digest)
		_, _ = fmt.Fprintf(rw, `{"schemaVersion":2,"config":{"mediaType":"x","size":2,"digest":%q},"layers":[]}`, digest)
		return true
	}
}

func TestViolationsOfRegistriesAreNoOutages(t *testing.T) {
	for status, want := range map[int]string{401: "RegistryUnauthorized", 403: "RegistryDenied", 404: "ImageNotFound", 400: "RegistryRejected"} {
		t.Run(want, func(t *testing.T) {
			w := newWorld(t, limits.Admission{})
			q := w.question(t, w.pushed(t, "", nil))
			w.refuse("manifests/sha256:", status)
			v, err := w.cache.Judge(t.Context(), q)
			if diff := cmp.Diff([]string{want}, reasons(v)); diff != "" || err != nil || v.Holds() {
				t.Error(diff, err)
			}
		})
	}
}

// A cache of so many entries holds so many, and however many images are refused, they push out none that hold.
func TestTheCacheHoldsWhatItSays(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	size := w.cache.limits.Verdicts
	if size != 20_000 {
		t.Fatalf("the default is %d", size)
	}
	w.fill(size, Verdict{proven: true})
	w.fill(2*maxOthers, Verdict{Findings: []Finding{{Reason: "x"}}})
	q := w.question(t, name.Digest{})
	found := 0
	for i := range size {
		q.Image = numbered(w, i, true)
		if a, ok := w.cache.verdicts.recall(key{w.cache.imageKey(q), "hash", "v1"}); ok && a.value.Holds() {
			found++
		}
	}
	if found != size || w.cache.Len() != size || w.cache.verdicts.others.Len() != maxOthers {
		t.Errorf("%d of %d are there, and %d others", found, size, w.cache.verdicts.others.Len())
	}
	w.fill(size+1, Verdict{proven: true})
	if w.cache.Len() != size {
		t.Errorf("%d are there", w.cache.Len())
	}
}

func numbered(w *world, i int, good bool) name.Digest {
	repo, err := name.NewRepository(w.host+"/base/x", name.Insecure)
	if err != nil {
		panic(err)
	}
	return repo.Digest(fmt.Sprintf("sha256:%063x%d", i, map[bool]int{true: 1}[good]))
}

// fill remembers n verdicts.
func (w *world) fill(n int, v Verdict) {
	for i := range n {
		q := Question{Image: numbered(w, i, v.Holds()), Platforms: nodes}
		w.cache.verdicts.remember(key{w.cache.imageKey(q).clone(), "hash", "v1"}, v, nil)
	}
}

// reading returns when so many share what is read of an image.
func (w *world) reading(n int) {
	for users := 0; users < n; runtime.Gosched() {
		w.cache.sessions.mu.Lock()
		users = 0
		for _, one := range w.cache.sessions.open {
			users += one.users
		}
		w.cache.sessions.mu.Unlock()
	}
}

// Two policies ask about an image at the same time: what both want to know is read once.
func TestPoliciesShareWhatIsRead(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	ref := w.pushed(t, "65532", nil)
	w.sign(t, ours, ref)
	release, held := make(chan struct{}), make(chan struct{}, 2)
	w.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".sig") {
			held <- struct{}{}
			<-release
		}
		return false
	})
	asked := w.requests(func() {
		var both sync.WaitGroup
		for _, hash := range []string{"a", "b"} {
			q := w.question(t, ref)
			q.Policy.Hash, q.Policy.Runtime = hash, &imagepolicy.Runtime{}
			both.Go(func() {
				if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
					t.Error(v.Findings, err)
				}
			})
		}
		<-held
		w.reading(2)
		close(release)
		both.Wait()
	})
	if len(asked) > 4 || len(slices.Compact(asked)) != len(asked) {
		t.Errorf("%d requests: %q", len(asked), asked)
	}
	if len(w.cache.sessions.open) != 0 {
		t.Error("what was read is kept")
	}
}
