package verdict

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/verify"
)

func TestAHostThatFailsIsLeftAlone(t *testing.T) {
	var (
		away    = pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "503")
		slow    = pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow")
		bytes   = pipeline.Transientf(pipeline.ReasonDigestMismatch, "other bytes")
		missing = pipeline.Terminalf(pipeline.ReasonImageNotFound, "404")
		gone    = pipeline.Transientf(pipeline.ReasonRegistryTimeout, "waiting: %w", context.Canceled)
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
	}{
		"after three failures in a row":                   {[]call{{0, away, false}, {0, slow, false}, {0, away, false}, {0, nil, true}, {9 * time.Second, nil, true}}, 1},
		"not if one is good":                              {[]call{{0, away, false}, {0, away, false}, {0, nil, false}, {0, away, false}, {0, away, false}, {0, nil, false}}, 0},
		"what is not there is an answer":                  {[]call{{0, away, false}, {0, away, false}, {0, missing, false}, {0, away, false}, {0, nil, false}}, 0},
		"other bytes, and those who give up, say nothing": {[]call{{0, away, false}, {0, bytes, false}, {0, gone, false}, {0, errors.New("x"), false}, {0, away, false}, {0, nil, false}}, 0},
		"one tries after the pause, and it works":         {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, nil, false}, {0, nil, false}}, 1},
		"one tries after the pause, and fails":            {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, away, false}, {0, nil, true}, {9 * time.Second, nil, true}, {time.Second, nil, false}}, 1},
		"who tries and gives up leaves it to the next":    {[]call{{0, away, false}, {0, away, false}, {0, away, false}, {10 * time.Second, gone, false}, {0, nil, false}, {0, nil, false}}, 1},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			opens, now := 0, time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
			h := &host{name: "registry.example", most: 3, pause: 10 * time.Second, opened: func() { opens++ }}
			for i, c := range tt.calls {
				now = now.Add(c.after)
				leave, err := h.enter(now)
				if (err != nil) != c.alone {
					t.Fatalf("call %d: %v", i, err)
				}
				if err == nil {
					leave(now, c.err)
				}
			}
			if opens != tt.opens {
				t.Errorf("it was left alone %d times", opens)
			}
		})
	}
}

func TestWhoAsksAHostThatIsLeftAloneIsTold(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	h := &host{name: "registry.example", most: 1, pause: 10 * time.Second, opened: func() {}}
	leave, _ := h.enter(now)
	leave(now, pipeline.Transientf(pipeline.ReasonRegistryTimeout, "slow"))
	_, err := h.enter(now.Add(4 * time.Second))
	fault, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || fault.After != 6*time.Second || fault.Reason != pipeline.ReasonRegistryUnavailable {
		t.Fatal(err)
	}
	want := "registry registry.example is left alone, since it has failed 1 times in a row from 12:00:00 UTC on; it is asked again at 12:00:10 UTC; the last failure was: slow"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	// While one tries, the others do not.
	if _, err := h.enter(now.Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.enter(now.Add(10 * time.Second)); err == nil {
		t.Fatal("two try at the same time")
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
	if n, err := judge(images[3]); n != 0 || !pipeline.IsTransient(err) || !strings.Contains(err.Error(), "reading ") || !strings.Contains(err.Error(), "registry "+w.host+" is left alone") {
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
	for range 4 {
		q := w.question(t, w.pushed(t, "", nil))
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
	if !ok || fault.Reason != pipeline.ReasonAdmissionBusy || !strings.Contains(err.Error(), "waiting for one of 4 verifications to end") {
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

func TestAttestationsWaitForEachOther(t *testing.T) {
	r := &request{attesting: make(chan struct{}, 1), steps: &steps{}}
	if err := r.queue(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.queue(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(fmt.Sprint(err), "waiting for one of 1 searches") {
		t.Fatal(err)
	}
}
