package webhook

import (
	"net/http"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	// largeBody is the size from which the body of a request is a large one. Most pods have a few KiB.
	largeBody = 128 << 10
	// largest is what is read of one.
	largest = 7 << 20
	// largeBytes of large bodies are under way at the same time, and smallBodies others. A request holds a few times as much
	// memory while it waits for a registry.
	largeBytes  = 24 << 20
	smallBodies = 512
)

// serve answers with h, of which all have to share one gate.
func serve(h *Handler, g *gate) http.Handler {
	return g.bound(&admission.Webhook{LogConstructor: bareLog, Handler: h})
}

// bareLog adds nothing about the request: a decision has it all, and there once.
func bareLog(base logr.Logger, _ *admission.Request) logr.Logger { return base }

// gate bounds the memory of all requests together. Whoever makes large objects waits for others who do, and nobody else.
type gate struct{ small, large *semaphore.Weighted }

func newGate() *gate {
	return &gate{small: semaphore.NewWeighted(smallBodies), large: semaphore.NewWeighted(largeBytes)}
}

// bound lets requests wait for their turn as long as the apiserver does.
func (g *gate) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn, weight := g.small, int64(1)
		if r.ContentLength < 0 || r.ContentLength > largeBody {
			turn, weight = g.large, largest
			if r.ContentLength >= 0 {
				weight = min(r.ContentLength, largest)
			}
		}
		if err := turn.Acquire(r.Context(), weight); err != nil {
			http.Error(w, "the webhook has too many requests under way: try again", http.StatusServiceUnavailable)
			return
		}
		defer turn.Release(weight)
		next.ServeHTTP(w, r)
	})
}
