package verify

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var errOld = errors.New("it is too old")

// dated are attestations that tell themselves apart, oldest first.
func dated(w *world, s *store, way way, n int) (forges []*forge) {
	for i := range n {
		forges = append(forges, way.forge(w, s.ref.DigestStr()).with(func(f *forge) {
			f.logged = f.logged.Add(time.Duration(i-n) * time.Second)
			f.statement = statementOf(f.predicate, f.digest) + strings.Repeat(" ", i)
		}))
	}
	return forges
}

// age of one of dated: 0 is the oldest.
func age(a Attestation) int { return len(a.Payload) - len(strings.TrimRight(string(a.Payload), " ")) }

func TestWhatIsAcceptedIsReturned(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		if way.predicate == "" {
			continue
		}
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			// Of bundles, the time is that of an annotation, which these do not have.
			forges := dated(w, s, way, 4)
			hostile := append(bad(w, forges[0], 5), forges...)
			way.put(t, s, hostile...)
			v := newVerifier(t, w, limits.Signatures{})
			for takes := range 4 {
				var seen []int
				found, err := v.Attestation(t.Context(), s.client, s.ref, provenance, func(a Attestation) error {
					seen = append(seen, age(a))
					if a.Identity != ourSubject || a.PredicateType != provenance || !strings.Contains(string(a.Payload), s.subject.Digest.Hex) {
						t.Errorf("judged %+v", a)
					}
					if age(a) != takes {
						return errOld
					}
					return nil
				})
				if err != nil || age(found) != takes || seen[len(seen)-1] != takes {
					t.Errorf("wanted %d of %v, got %+v: %v", takes, seen, found, err)
				}
				if newestFirst := slices.IsSortedFunc(seen, func(a, b int) int { return b - a }); way.format == v1alpha1.FormatLegacy && !newestFirst {
					t.Errorf("they were tried as %v", seen)
				}
			}
		})
	}
}

func TestWhatIsNotAccepted(t *testing.T) {
	w := newWorld()
	tag, bundle := ways["an attestation in a tag"], ways["an attestation in a bundle"]
	passing := pipeline.Transientf(pipeline.ReasonInternalError, "the rules could not be run")
	tests := map[string]struct {
		accept func(ctx context.Context, a Attestation) error
		// away is an outage of the tag, or of the list.
		tagAway, listAway bool
		want              string
		is                error
	}{
		"for a reason":                  {accept: func(_ context.Context, a Attestation) error { return fmt.Errorf("age %d: %w", age(a), errOld) }, want: "Terminal " + pipeline.ReasonAttestationRejected, is: errOld},
		"and the tag is away":           {accept: func(context.Context, Attestation) error { return errOld }, tagAway: true, want: "Transient " + pipeline.ReasonRegistryUnavailable},
		"and the list is away":          {accept: func(context.Context, Attestation) error { return errOld }, listAway: true, want: "Transient " + pipeline.ReasonRegistryUnavailable},
		"because the judge is away":     {accept: func(context.Context, Attestation) error { return passing }, want: "Transient " + pipeline.ReasonInternalError, is: passing},
		"because the judge panics":      {accept: func(context.Context, Attestation) error { panic("judge") }, want: "Terminal " + pipeline.ReasonAttestationRejected, is: errPanicked},
		"for a fault that is no outage": {accept: func(context.Context, Attestation) error { return pipeline.Terminalf(pipeline.ReasonPolicyInvalid, "x") }, want: "Terminal " + pipeline.ReasonAttestationRejected},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			forges := dated(w, s, tag, 4)
			tag.put(t, s, forges[:2]...)
			bundle.put(t, s, forges[2:]...)
			s.away(tt.tagAway, tt.listAway)
			found, err := newVerifier(t, w, limits.Signatures{}).Attestation(t.Context(), s.client, s.ref, provenance, func(a Attestation) error { return tt.accept(t.Context(), a) })
			if fault(err) != tt.want || tt.is != nil && !errors.Is(err, tt.is) || !reflect.DeepEqual(found, Attestation{}) {
				t.Errorf("got %+v: %v", found, err)
			}
			if desc == "for a reason" && !strings.Contains(err.Error(), "age 3:") {
				t.Errorf("that is not the newest: %v", err)
			}
		})
	}
}

func TestAJudgeThatIsCancelledIsNoVerdict(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	way := ways["an attestation in a tag"]
	way.put(t, s, way.forge(w, s.ref.DigestStr()))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := newVerifier(t, w, limits.Signatures{}).Attestation(ctx, s.client, s.ref, provenance, func(Attestation) error {
		cancel()
		return errOld
	})
	if err == nil || pipeline.IsTerminal(err) {
		t.Errorf("got %v", err)
	}
}

// Both formats have something at the same time; the judge is asked about one at a time, and never again once it has said yes.
func TestOneAtATimeIsJudged(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var inside, after atomic.Int32
	accepted := false
	c := &choice{ctx: ctx, enough: cancel, accept: func(a Attestation) error {
		if inside.Add(1) != 1 {
			t.Error("two are judged")
		}
		defer inside.Add(-1)
		runtime.Gosched()
		if accepted {
			after.Add(1)
		}
		if a.PredicateType == "9" {
			accepted = true
			return nil
		}
		return errOld
	}}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { _ = c.take(Attestation{PredicateType: fmt.Sprint(i)}) })
	}
	all.Wait()
	if c.found == nil || c.found.PredicateType != "9" || after.Load() != 0 || ctx.Err() == nil {
		t.Errorf("found %+v; %d were judged after it", c.found, after.Load())
	}
}

func TestOfRefusalsTheNewestIsTold(t *testing.T) {
	c := &choice{ctx: t.Context(), accept: func(a Attestation) error { return errors.New(a.PredicateType) }}
	now := time.Now()
	for _, a := range []Attestation{{Evidence{SignedAt: now}, "first", nil}, {Evidence{SignedAt: now.Add(time.Second)}, "newest", nil}, {Evidence{}, "undated", nil}} {
		if err := c.take(a); err != nil {
			t.Fatal(err)
		}
	}
	err := c.refused.rejected(must(name.NewDigest("x.example/y@"+otherDigest)), want{predicateType: provenance})
	if !strings.HasSuffix(err.Error(), ": newest") || !strings.Contains(err.Error(), provenance) || fault(err) != "Terminal "+pipeline.ReasonAttestationRejected {
		t.Errorf("got %v", err)
	}
	if c.found != nil {
		t.Error("one was found")
	}
}
