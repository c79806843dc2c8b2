package verdict

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/verify"
)

// One registry that never answers does not keep the images of others from being verified.
func TestOneHostDoesNotTakeAllPlaces(t *testing.T) {
	w := newWorld(t, limits.Admission{Verifications: 4})
	elsewhere := newStore(t)
	s, began, _ := stuck()
	w.with(stand{signature: func(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
		if ref.RegistryStr() == w.host {
			return s.signature(ctx, from, ref)
		}
		return good(ctx, from, ref)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range 4 {
		q := w.question(t, w.pushed(t, "", nil))
		q.Access.Tenant = fmt.Sprint(i)
		all.Go(func() { _, _ = w.cache.Judge(ctx, q) })
	}
	for range 3 {
		<-began
	}
	w.waiting(4)
	short, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	_, err := w.cache.Judge(short, w.question(t, w.pushed(t, "", nil)))
	fault, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || fault.Reason != pipeline.ReasonAdmissionBusy || !strings.Contains(err.Error(), "waiting for one of 3 verifications of the same registry to end") {
		t.Fatal(err)
	}
	repo, err := w.client.Repository(elsewhere.host + "/base/x")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := w.client.PushImage(t.Context(), repo, newImage(t, "", nil))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := w.cache.Judge(t.Context(), w.question(t, ref)); err != nil || !v.Holds() {
		t.Fatal(v.Findings, err)
	}
}

// One namespace with slow images, of however many registries, leaves the others theirs.
func TestOneTenantDoesNotTakeAllPlaces(t *testing.T) {
	const images, share = 16, 2
	w, elsewhere := newWorld(t, limits.Admission{Verifications: 4 * share}), newStore(t)
	began := make(chan struct{}, images)
	w.with(stand{signature: func(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
		if ref.RepositoryStr() != "slow/x" {
			return good(ctx, from, ref)
		}
		began <- struct{}{}
		<-ctx.Done()
		return verify.Evidence{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range images {
		repo, err := w.client.Repository([]string{w.host, elsewhere.host}[i%2] + "/slow/x")
		if err != nil {
			t.Fatal(err)
		}
		ref, err := w.client.PushImage(t.Context(), repo, newImage(t, "", nil))
		if err != nil {
			t.Fatal(err)
		}
		q := w.question(t, ref)
		q.Access.Tenant = "slow"
		all.Go(func() { _, _ = w.cache.Judge(ctx, q) })
	}
	for range share {
		<-began
	}
	await(t, "all of them ask for a place", func() bool { return w.working("slow") == images })
	for range 3 {
		q := w.question(t, w.pushed(t, "", nil))
		q.Access.Tenant = "honest"
		if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
			t.Error(v.Findings, err)
		}
	}
	if len(began) > 0 || len(w.cache.places) != share {
		t.Errorf("%d places are taken by a namespace whose share is %d", len(w.cache.places), share)
	}
	cancel()
	all.Wait()
	await(t, "those without work are forgotten", func() bool { return w.working() == 0 && len(w.cache.places) == 0 })
}

// working is how much work there is for tenants of these names; without one, how many tenants are known.
func (w *world) working(names ...string) (n int) {
	w.cache.tenants.mu.Lock()
	defer w.cache.tenants.mu.Unlock()
	if len(names) == 0 {
		return len(w.cache.tenants.at)
	}
	for _, name := range names {
		if t := w.cache.tenants.at[name]; t != nil {
			n += t.work
		}
	}
	return n
}

// await fails the test if it takes minutes.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it is not so that", what)
		}
	}
}

// Searches for attestations are fewer than places: one namespace gets a quarter of these, too.
func TestOneTenantDoesNotTakeAllSearches(t *testing.T) {
	w := newWorld(t, limits.Admission{Attestations: 4})
	slow := w.pushed(t, "", nil)
	began := make(chan struct{}, 4)
	w.with(stand{signature: good, attestation: func(ctx context.Context, ref name.Digest, predicateType string, _ func(verify.Attestation) error) (verify.Attestation, error) {
		if ref.DigestStr() == slow.DigestStr() {
			began <- struct{}{}
			<-ctx.Done()
		}
		return verify.Attestation{Evidence: verify.Evidence{Subject: ref.DigestStr(), SignedAt: time.Unix(1, 0)}, PredicateType: predicateType}, ctx.Err()
	}})
	asking := func(tenant string, ref name.Digest, number int) Question {
		q := w.question(t, ref)
		q.Access.Tenant = tenant
		a := &q.Policy.Authorities[0]
		for i := range number {
			a.Attestations = append(a.Attestations, imagepolicy.Attestation{Name: fmt.Sprintf("attestations[%d]", i), PredicateType: fmt.Sprintf("https://example.com/%d", i), Verifier: a.Verifier})
		}
		return q
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	q := asking("slow", slow, 4)
	all.Go(func() { _, _ = w.cache.Judge(ctx, q) })
	<-began
	if v, err := w.cache.Judge(t.Context(), asking("honest", w.pushed(t, "", nil), 2)); err != nil || !v.Holds() {
		t.Error(v.Findings, err)
	}
	if len(began) > 0 || len(w.cache.attesting) != 1 {
		t.Errorf("it has %d searches", len(w.cache.attesting))
	}
}

func TestTheShareOfATenant(t *testing.T) {
	for all, want := range map[int]int{1: 1, 3: 1, 4: 1, 7: 1, 8: 2, 64: 16} {
		if got := cap(quarter(make(chan struct{}, all))); got != want {
			t.Errorf("of %d: %d", all, got)
		}
	}
}

func TestWhatIsFoundForOneTenantIsKnownToOthers(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	c := counting(w, stand{signature: good})
	ref := w.pushed(t, "", nil)
	for _, tenant := range []string{"a", "b", ""} {
		q := w.question(t, ref)
		q.Access.Tenant = tenant
		if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
			t.Fatal(v.Findings, err)
		}
	}
	if n := c.calls.Load(); n != 1 {
		t.Errorf("it was verified %d times", n)
	}
}

func TestSearchesForAttestationsWaitForEachOther(t *testing.T) {
	full := func(size int) chan struct{} { p := make(chan struct{}, size); p <- struct{}{}; return p }
	tests := map[string]struct {
		mine, all chan struct{}
		want      string
	}{
		"those of a namespace": {full(1), make(chan struct{}, 2), "waiting for one of 1 searches of the same namespace to end"},
		"those of all":         {full(2), full(1), "waiting for one of 1 searches to end"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := queue(ctx, &steps{}, "searches", room{tt.mine, " of the same namespace"}, room{tt.all, ""})
				failed <- err
			}()
			await(t, "it waits", func() bool { return len(tt.mine) == cap(tt.mine) })
			cancel()
			if err := <-failed; !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Error(err)
			}
			if left := len(tt.mine) + len(tt.all); left != 1 && cap(tt.mine) == 1 || left != 2 && cap(tt.mine) == 2 {
				t.Errorf("%d places are taken", left)
			}
		})
	}
}
func TestAHostHasOneSpelling(t *testing.T) {
	c := newWorld(t, limits.Admission{}).cache
	one := c.host("ghcr.io")
	for _, other := range []string{"ghcr.io:443", "GHCR.io"} {
		if c.host(other) != one {
			t.Errorf("%s is another host", other)
		}
	}
	if c.host("ghcr.io:5000") == one {
		t.Error("another port is the same host")
	}
}
