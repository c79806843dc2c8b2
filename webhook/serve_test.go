package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request that would wait is one whose context has ended here.
func TestLargeRequestsWaitForEachOtherAlone(t *testing.T) {
	hold, entered := make(chan struct{}), make(chan struct{}, largeBytes)
	served := newGate().bound(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-hold
		}
	}))
	send := func(ctx context.Context, path string, size int64) int {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader(""))
		r.ContentLength = size
		rec := httptest.NewRecorder()
		served.ServeHTTP(rec, r)
		return rec.Code
	}
	const most = largeBytes / (3 << 20)
	ended := make(chan int, most)
	for range most {
		go func() { ended <- send(t.Context(), "/slow", 3<<20) }()
	}
	for range most {
		<-entered
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		size int64
		want int
	}{
		"a small one goes through":                      {10 << 10, http.StatusOK},
		"a large one waits":                             {1 << 20, http.StatusServiceUnavailable},
		"one that does not say its size is a large one": {-1, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := over
			if tt.want == http.StatusOK {
				ctx = t.Context()
			}
			if got := send(ctx, "/", tt.size); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	close(hold)
	for range most {
		if got := <-ended; got != http.StatusOK {
			t.Errorf("got %d", got)
		}
	}
	if got := send(t.Context(), "/", 7<<20); got != http.StatusOK {
		t.Errorf("after all have ended: %d", got)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	served := serve(bare(t, false), newGate())
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","x":"` + strings.Repeat("x", 8<<20) + `"}}`
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	served.ServeHTTP(rec, r)
	if got := rec.Body.String(); !strings.Contains(got, `"allowed":false`) || !strings.Contains(got, "too large") {
		t.Errorf("got %.300s", got)
	}
}
