package verify

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// scripted is a Source of one function.
type scripted struct {
	Source
	mu     sync.Mutex
	asked  int
	answer func(ctx context.Context, try int) ([]byte, error)
}

func (s *scripted) Blob(ctx context.Context, _ name.Repository, _ v1.Descriptor, _ int64) ([]byte, error) {
	s.mu.Lock()
	s.asked++
	try := s.asked
	s.mu.Unlock()
	return s.answer(ctx, try)
}

func (s *scripted) Manifest(ctx context.Context, _ name.Reference) (registry.Manifest, error) {
	raw, err := s.Blob(ctx, name.Repository{}, v1.Descriptor{}, 0)
	return registry.Manifest{Raw: raw}, err
}

var someRepo = must(name.NewRepository("x.example/y"))

func blobOf(ctx context.Context, s Source, size int64) ([]byte, error) {
	return s.Blob(ctx, someRepo, v1.Descriptor{Digest: must(v1.NewHash(otherDigest)), Size: size}, 100)
}

func TestOnceRemembers(t *testing.T) {
	away := pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "away")
	for desc, tt := range map[string]struct {
		answer []byte
		err    error
		asked  int
	}{
		"an answer":               {[]byte("x"), nil, 1},
		"an error":                {nil, away, 1},
		"nothing":                 {nil, nil, 1},
		"as much as it may":       {make([]byte, onceLargest), nil, 1},
		"but not what is too big": {make([]byte, onceLargest+1), nil, 3},
	} {
		s := &scripted{answer: func(context.Context, int) ([]byte, error) { return tt.answer, tt.err }}
		once := Once(s)
		for range 3 {
			if got, err := blobOf(t.Context(), once, 1); len(got) != len(tt.answer) || !errors.Is(err, tt.err) {
				t.Errorf("%s: got %d bytes: %v", desc, len(got), err)
			}
		}
		if s.asked != tt.asked {
			t.Errorf("%s: it was asked %d times", desc, s.asked)
		}
	}
}

func TestOnceRemembersNoMoreThanItMay(t *testing.T) {
	s := &scripted{answer: func(context.Context, int) ([]byte, error) { return make([]byte, onceLargest), nil }}
	source := Once(s)
	for range 2 {
		for i := range int64(2 * onceBytes / onceLargest) {
			if _, err := blobOf(t.Context(), source, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := 4*onceBytes/onceLargest - onceBytes/onceLargest; s.asked != want || source.(*once).left != 0 {
		t.Errorf("it was asked %d times instead of %d; %d are left", s.asked, want, source.(*once).left)
	}
}

// Other things are asked for apart.
func TestOnceTellsThingsApart(t *testing.T) {
	s := &scripted{answer: func(_ context.Context, try int) ([]byte, error) { return make([]byte, try), nil }}
	source := Once(s)
	other := must(name.NewRepository("x.example/z"))
	desc := v1.Descriptor{Digest: must(v1.NewHash(otherDigest)), Size: 1}
	another := v1.Descriptor{Digest: must(v1.NewHash("sha256:" + strings.Repeat("1", 64))), Size: 1}
	longer := desc
	longer.Size++
	seen := map[int]bool{}
	for _, ask := range []func() ([]byte, error){
		func() ([]byte, error) { return source.Blob(t.Context(), someRepo, desc, 100) },
		func() ([]byte, error) { return source.Blob(t.Context(), other, desc, 100) },
		func() ([]byte, error) { return source.Blob(t.Context(), someRepo, another, 100) },
		func() ([]byte, error) { return source.Blob(t.Context(), someRepo, longer, 100) },
		func() ([]byte, error) { return source.Blob(t.Context(), someRepo, desc, 101) },
		func() ([]byte, error) { m, err := source.Manifest(t.Context(), someRepo.Tag("a")); return m.Raw, err },
		func() ([]byte, error) { m, err := source.Manifest(t.Context(), someRepo.Tag("b")); return m.Raw, err },
		func() ([]byte, error) {
			m, err := source.Manifest(t.Context(), someRepo.Digest(otherDigest))
			return m.Raw, err
		},
	} {
		got, err := ask()
		if err != nil || seen[len(got)] {
			t.Errorf("got the answer to another question: %v", err)
		}
		seen[len(got)] = true
	}
}

// Whoever asked first may go: the others get the answer. When all have gone, the request ends and the next one asks again.
func TestOnceLastsAsLongAsSomebodyWaits(t *testing.T) {
	began, release, ended := make(chan struct{}, 2), make(chan struct{}), make(chan struct{}, 2)
	s := &scripted{answer: func(ctx context.Context, _ int) ([]byte, error) {
		began <- struct{}{}
		select {
		case <-release:
			return []byte("x"), nil
		case <-ctx.Done():
			ended <- struct{}{}
			return nil, ctx.Err()
		}
	}}
	source := Once(s).(*once)
	waiting := func(want int) {
		for {
			source.mu.Lock()
			n := 0
			for _, a := range source.asked {
				n += a.waiting
			}
			source.mu.Unlock()
			if n == want {
				return
			}
		}
	}
	ask := func(ctx context.Context) chan error {
		out := make(chan error, 1)
		go func() {
			_, err := blobOf(ctx, source, 1)
			out <- err
		}()
		return out
	}
	first, cancel := context.WithCancel(t.Context())
	one := ask(first)
	<-began
	second, cancelSecond := context.WithCancel(t.Context())
	two := ask(second)
	waiting(2)
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	if len(source.asked) != 1 || len(ended) != 0 {
		t.Error("the request has ended with the first")
	}
	cancelSecond()
	if err := <-two; !errors.Is(err, context.Canceled) {
		t.Errorf("the second got %v", err)
	}
	<-ended
	three := ask(t.Context())
	<-began
	close(release)
	if err := <-three; err != nil || s.asked != 2 {
		t.Errorf("the third got %v; it was asked %d times", err, s.asked)
	}
	if _, err := blobOf(first, source, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	untilGone(t)
}

func TestAPanicOfASourceIsAnError(t *testing.T) {
	s := &scripted{answer: func(context.Context, int) ([]byte, error) { panic("x") }}
	if got, err := blobOf(t.Context(), Once(s), 1); err == nil || got != nil {
		t.Errorf("got %v", got)
	}
}

// Nobody's order of a list is another's.
func TestAListIsNotChanged(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	for _, predicate := range []string{provenance, pipeline.PredicateSignature} {
		s.push(t, newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = predicate }).attest().bundle(), predicate)
	}
	source := Once(s.client)
	before, _, err := source.Referrers(t.Context(), s.ref, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	kept := append([]v1.Descriptor{}, before...)
	search := &search{client: source, ref: s.ref, digest: s.subject.Digest, want: want{predicateType: provenance}, now: time.Now}
	search.limits.Tried = 0
	_ = search.referrers(t.Context())
	for i := range kept {
		if before[i].Digest != kept[i].Digest {
			t.Errorf("entry %d is another one", i)
		}
	}
}
