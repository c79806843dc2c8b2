package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Watchdog knows the passes of the reconcilers that are under way. Every pass has its time; one that is still there after
// twice that hangs where no deadline reaches, and its worker is lost to all other objects until the process starts again. It
// is safe to start again: what a pass has done is told by the cluster and the registry.
type Watchdog struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	// underWay are the passes with when they must have ended.
	underWay map[pass]time.Time
}

// pass is a look of a controller at an object. There is at most one at a time.
type pass struct {
	controller string
	object     ctrl.Request
}

// NewWatchdog makes a Watchdog that watches nothing yet.
func NewWatchdog(c clock.PassiveClock) *Watchdog {
	return &Watchdog{clock: c, underWay: map[pass]time.Time{}}
}

// watch hands on to next, each of whose passes may take longest. A nil Watchdog does not watch.
func (w *Watchdog) watch(controller string, longest time.Duration, next reconcile.Reconciler) reconcile.Reconciler {
	if w == nil {
		return next
	}
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		// Deferred, because a panic ends a pass too.
		defer w.begin(pass{controller, req}, 2*longest)()
		return next.Reconcile(ctx, req)
	})
}

func (w *Watchdog) begin(p pass, most time.Duration) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.underWay[p] = w.clock.Now().Add(most)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.underWay, p)
	}
}

// Check names the passes that hang. It is a healthz.Checker.
func (w *Watchdog) Check(*http.Request) error {
	hang := w.hanging()
	if len(hang) == 0 {
		return nil
	}
	return fmt.Errorf("passes that should have ended long ago: %s", strings.Join(hang, ", "))
}

func (w *Watchdog) hanging() []string {
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	var hang []string
	for p, most := range w.underWay {
		if now.After(most) {
			hang = append(hang, p.controller+" "+p.object.String())
		}
	}
	slices.Sort(hang)
	return hang
}
