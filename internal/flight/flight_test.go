package flight

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestWorkIsDoneOnceForAllWhoAskAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		var calls atomic.Int32
		goOn := make(chan struct{})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				got, err := g.Do(t.Context(), "key", time.Minute, func(context.Context) (int, error) {
					calls.Add(1)
					<-goOn
					return 7, nil
				})
				if got != 7 || err != nil {
					t.Errorf("got %d, %v", got, err)
				}
			})
		}
		synctest.Wait()
		close(goOn)
		all.Wait()
		if calls.Load() != 1 {
			t.Errorf("the work was done %d times", calls.Load())
		}
	})
}

func TestWhoeverGivesUpTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		begun, goOn := make(chan struct{}), make(chan struct{})
		work := func(ctx context.Context) (int, error) {
			close(begun)
			<-goOn
			return 7, ctx.Err()
		}
		first, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := g.Do(first, "key", time.Minute, work)
			gaveUp <- err
		}()
		<-begun
		stays := make(chan error)
		go func() {
			got, err := g.Do(t.Context(), "key", time.Minute, work)
			if got != 7 {
				t.Errorf("got %d", got)
			}
			stays <- err
		}()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		synctest.Wait()
		close(goOn)
		if err := <-stays; err != nil {
			t.Errorf("who stayed got %v", err)
		}
	})
}

func TestNobodyWaitsLongerThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int]
		hang := make(chan struct{})
		_, err := g.Do(t.Context(), "key", time.Second, func(context.Context) (int, error) { <-hang; return 7, nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(hang)
	})
}

func TestAPanicIsAnErrorThatTellsNothing(t *testing.T) {
	for desc, tt := range map[string]struct {
		panics any
		want   string
	}{
		"of somebody's":  {"hunter2", "a defect of ours: panic with a string"},
		"with an error":  {errors.New("hunter2"), "a defect of ours: panic with a *errors.errorString"},
		"of Go's itself": {nil, "a defect of ours: runtime error: integer divide by zero"},
	} {
		t.Run(desc, func(t *testing.T) {
			var g Group[int]
			zero := 0
			_, err := g.Do(t.Context(), "key", time.Minute, func(context.Context) (int, error) {
				if tt.panics != nil {
					panic(tt.panics)
				}
				return 1 / zero, nil
			})
			if !pipeline.IsTransient(err) || err.Error() != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}
