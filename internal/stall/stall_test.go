package stall_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/stall"
	"github.com/ibshafique/base-images/internal/stall/stalltest"
)

// piece of a stream, and how long it takes to come.
type piece struct {
	bytes int
	takes time.Duration
}

// script is a stream that comes in pieces, until somebody ends it.
type script struct {
	clock  *stalltest.Time
	pieces []piece
	ended  atomic.Bool
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	next := s.pieces[0]
	s.pieces = s.pieces[1:]
	s.clock.Pass(next.takes)
	if s.ended.Load() {
		return 0, net.ErrClosed
	}
	return min(next.bytes, len(p)), nil
}

func times(n int, p piece) []piece {
	out := make([]piece, n)
	for i := range out {
		out[i] = p
	}
	return out
}

func TestAStreamMustKeepComing(t *testing.T) {
	const enough = 1000
	tests := map[string]struct {
		pieces []piece
		reader time.Duration // that the reader takes after each piece
		stalls bool
	}{
		"a stream that comes at once":                 {pieces: []piece{{10, 0}}},
		"an empty stream":                             {},
		"just enough in each minute":                  {pieces: times(10, piece{enough, 59 * time.Second})},
		"enough in small pieces":                      {pieces: times(600, piece{100, 5 * time.Second})},
		"a short remainder that ends in time":         {pieces: []piece{{enough, time.Second}, {10, 59 * time.Second}}},
		"a short remainder that does not end in time": {pieces: []piece{{enough, time.Second}, {10, 30 * time.Second}, {10, 31 * time.Second}}, stalls: true},
		"drops":                      {pieces: times(600, piece{10, 5 * time.Second}), stalls: true},
		"silence":                    {pieces: []piece{{enough, time.Hour}}, stalls: true},
		"much at once, then silence": {pieces: []piece{{100 * enough, 0}, {enough, time.Hour}}, stalls: true},
		"drops that end the connection's own time-outs": {pieces: times(7, piece{1, 10 * time.Second}), stalls: true},
		"a reader that is slow, not the server":         {pieces: times(100, piece{10, 0}), reader: time.Minute},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			clock := stalltest.NewTime()
			stream := &script{clock: clock, pieces: tt.pieces}
			rule := stall.Rule{Bytes: enough, Within: limits.Duration(time.Minute), Section: "some"}
			meter := stall.NewMeter("the stream", rule, clock.Clock(), func() { stream.ended.Store(true) })
			var err error
			for buf := make([]byte, 200*enough); err == nil; clock.Pass(tt.reader) {
				_, err = meter.Read(stream, buf)
			}
			broken, stalled := errors.AsType[*stall.Error](err)
			if stalled != tt.stalls || stream.ended.Load() != tt.stalls {
				t.Errorf("got %v, ended: %t", err, stream.ended.Load())
			}
			if stalled && (broken.Rule != rule || !strings.Contains(err.Error(), "limits.some.stallBytes and stallTimeout")) {
				t.Errorf("%v does not say what it broke", err)
			}
			if _, again := meter.Read(stream, make([]byte, 1)); !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
			if n := clock.Pending(); n != 0 {
				t.Errorf("%d alarms are left", n)
			}
		})
	}
}
