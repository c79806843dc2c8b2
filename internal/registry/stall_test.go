package registry

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// piece of a body, and how long it takes to come.
type piece struct {
	bytes int
	takes time.Duration
}

// script is a body that comes in pieces, until somebody closes it.
type script struct {
	clock  *fakeTime
	pieces []piece
	closed atomic.Bool
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	next := s.pieces[0]
	s.pieces = s.pieces[1:]
	s.clock.pass(next.takes)
	if s.closed.Load() {
		return 0, net.ErrClosed
	}
	return min(next.bytes, len(p)), nil
}

func (s *script) Close() error { s.closed.Store(true); return nil }

func times(n int, p piece) []piece {
	out := make([]piece, n)
	for i := range out {
		out[i] = p
	}
	return out
}

func TestABodyMustKeepComing(t *testing.T) {
	const enough = 1000
	tests := map[string]struct {
		pieces []piece
		reader time.Duration // that the reader takes after each piece
		stalls bool
	}{
		"a body that comes at once":                   {pieces: []piece{{10, 0}}},
		"an empty body":                               {},
		"just enough in each minute":                  {pieces: times(10, piece{enough, 59 * time.Second})},
		"enough in small pieces":                      {pieces: times(600, piece{100, 5 * time.Second})},
		"a short remainder that ends in time":         {pieces: []piece{{enough, time.Second}, {10, 59 * time.Second}}},
		"a short remainder that does not end in time": {pieces: []piece{{enough, time.Second}, {10, 30 * time.Second}, {10, 31 * time.Second}}, stalls: true},
		"drops":                      {pieces: times(600, piece{10, 5 * time.Second}), stalls: true},
		"silence":                    {pieces: []piece{{enough, time.Hour}}, stalls: true},
		"much at once, then silence": {pieces: []piece{{100 * enough, 0}, {enough, time.Hour}}, stalls: true},
		"drops that end the connection's own time-outs": {pieces: times(7, piece{1, 10 * time.Second}), stalls: true},
		"a reader that is slow, not the registry":       {pieces: times(100, piece{10, 0}), reader: time.Minute},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			clock := newFakeTime()
			body := &script{clock: clock, pieces: tt.pieces}
			resp := &http.Response{Body: body}
			a := &answers{timing: clock.timing(), limits: limits.Registry{StallBytes: enough, StallTimeout: limits.Duration(time.Minute)}}
			a.steady(resp, "the blob")
			var err error
			for buf := make([]byte, 200*enough); err == nil; clock.pass(tt.reader) {
				_, err = resp.Body.Read(buf)
			}
			_, stalled := errors.AsType[*StallError](err)
			if stalled != tt.stalls || body.closed.Load() != tt.stalls {
				t.Errorf("got %v, closed: %t", err, body.closed.Load())
			}
			if _, again := resp.Body.Read(make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
			if n := clock.pending(); n != 0 {
				t.Errorf("%d alarms are left", n)
			}
		})
	}
}

// dripping serves an image whose answers at path stop in the middle, of which it tells.
func dripping(path string, began chan<- struct{}) http.Handler {
	store := inMemory()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
			store.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		began <- struct{}{}
		<-r.Context().Done()
	})
}

func TestADripIsGivenUp(t *testing.T) {
	for desc, tt := range map[string]struct{ path, says string }{
		"in a manifest": {"/manifests/", "the manifest brought less than 256Ki in 1m"},
		"in a config":   {"/blobs/", "the blob brought less than 256Ki in 1m"},
	} {
		t.Run(desc, func(t *testing.T) {
			clock, began, failed := newFakeTime(), make(chan struct{}, 1), make(chan error, 1)
			c := timed(t, Config{Limits: limits.Registry{RequestTimeout: limits.Duration(time.Hour)}}, clock)
			repo := must(c.Repository(serve(t, dripping(tt.path, began)) + "/x"))
			ref := must(c.PushImage(t.Context(), repo, randomImage(t)))
			go func() {
				img, err := c.Image(t.Context(), ref)
				if err == nil {
					_, err = img.ConfigFile()
				}
				failed <- Classify("opening "+Name(ref), err)
			}()
			<-began
			var err error
			eventually(t, "it fails", func() bool {
				clock.pass(time.Minute)
				select {
				case err = <-failed:
					return true
				default:
					return false
				}
			})
			if fault(err) != "Transient RegistryTooSlow" || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "stallTimeout") {
				t.Errorf("got %v", err)
			}
			eventually(t, "its slot is free", func() bool { return c.limiter().users() == 0 })
		})
	}
}
