package verdict

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/rules"
)

func BenchmarkWarm(b *testing.B) {
	w := newWorld(b, limits.Admission{})
	w.with(stand{signature: good})
	w.cache.observer = Observer{}.complete()
	w.cache.clock, w.cache.verdicts.clock = realClock{}, realClock{}
	w.fill(20_000, Verdict{proven: true})
	q := w.question(b, w.pushed(b, "", nil))
	ctx := b.Context()
	if _, err := w.cache.Judge(ctx, q); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v, err := w.cache.Judge(ctx, q); err != nil || !v.Holds() {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarmOfSeveralAtATime(b *testing.B) {
	w := newWorld(b, limits.Admission{})
	w.with(stand{signature: good})
	w.cache.observer = Observer{}.complete()
	w.cache.clock, w.cache.verdicts.clock = realClock{}, realClock{}
	q := w.question(b, w.pushed(b, "", nil))
	ctx := b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v, err := w.cache.Judge(ctx, q); err != nil || !v.Holds() {
				b.Error(err)
			}
		}
	})
}

type realClock struct{}

func (realClock) Now() time.Time                  { return time.Now() }
func (realClock) Since(t time.Time) time.Duration { return time.Since(t) }

// BenchmarkCold verifies images that nobody has asked for, with what each request takes added to it.
func BenchmarkCold(b *testing.B) {
	for _, latency := range []time.Duration{0, 50 * time.Millisecond} {
		for _, images := range []int{1, 8} {
			b.Run(fmt.Sprintf("%d images, %s", images, latency), func(b *testing.B) {
				w := newWorld(b, limits.Admission{})
				refs := make([]name.Digest, images)
				for i := range refs {
					refs[i] = w.pushed(b, "65532", map[string]string{"a": "b"})
				}
				w.sign(b, ours, refs...)
				cold(b, w, refs, latency)
			})
		}
	}
	b.Run("an index of 2, 50ms", func(b *testing.B) {
		w := newWorld(b, limits.Admission{})
		index, children := w.pushedIndex(b, linux("amd64"), linux("arm64"))
		w.sign(b, ours, append(children, index)...)
		cold(b, w, []name.Digest{index}, 50*time.Millisecond)
	})
}

func cold(b *testing.B, w *world, refs []name.Digest, latency time.Duration) {
	b.Helper()
	w.on(func(http.ResponseWriter, *http.Request) bool {
		time.Sleep(latency) // what is measured
		return false
	})
	q := w.question(b, refs[0])
	q.Policy.Runtime = &imagepolicy.Runtime{}
	requests := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.Policy.Hash = fmt.Sprint(i)
		requests += len(w.requests(func() {
			var all sync.WaitGroup
			for _, ref := range refs {
				one := q
				one.Image = ref
				all.Go(func() {
					if v, err := w.cache.Judge(b.Context(), one); err != nil || !v.Holds() {
						b.Error(v.Findings, err)
					}
				})
			}
			all.Wait()
		}))
	}
	b.ReportMetric(float64(requests)/float64(b.N)/float64(len(refs)), "requests/image")
}

// BenchmarkMemory measures what remembered verdicts take.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{10_000, 20_000} {
		for _, labels := range []int{0, 8} {
			b.Run(fmt.Sprintf("%d verdicts, %d labels", n, labels), func(b *testing.B) {
				for b.Loop() {
					w := newWorld(b, limits.Admission{})
					before := heap()
					repo, err := name.NewRepository("registry.example/team/image")
					if err != nil {
						b.Fatal(err)
					}
					for i := range n {
						v := Verdict{proven: true, Facts: rules.ImageFacts{Known: true, User: "65532", SignedAt: time.Now()}}
						v.Facts.Labels = make(map[string]string, labels)
						for l := range labels {
							v.Facts.Labels[fmt.Sprintf("org.opencontainers.image.label%d", l)] = strings.Repeat(fmt.Sprint(i%10), 40)
						}
						q := Question{Image: repo.Digest(fmt.Sprintf("sha256:%064x", i)), Platforms: nodes}
						w.cache.verdicts.remember(key{w.cache.imageKey(q).clone(), "hash", "v1"}, v, nil)
					}
					b.ReportMetric(float64(heap()-before)/float64(n), "B/verdict")
					runtime.KeepAlive(w)
				}
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
