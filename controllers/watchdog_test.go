package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func requestFor(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "images", Name: name}}
}

func TestAPassThatHangsIsNamed(t *testing.T) {
	tests := map[string]struct {
		passed time.Duration
		says   string
	}{
		"a pass in its time":                  {10 * time.Minute, ""},
		"a pass that is late, and may finish": {20 * time.Minute, ""},
		"a pass that hangs":                   {20*time.Minute + 1, "passes that should have ended long ago: baseimage images/one"},
		"two passes that hang":                {30*time.Minute + 1, "passes that should have ended long ago: baseimage images/one, baseimagebuild images/one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
			w := NewWatchdog(now)
			look := reconcile.Func(func(context.Context, ctrl.Request) (ctrl.Result, error) {
				now.SetTime(now.Now().Add(tt.passed))
				if got := said(w); got != tt.says {
					t.Errorf("the check says %q, want %q", got, tt.says)
				}
				return ctrl.Result{}, nil
			})
			inner := w.watch("baseimagebuild", 15*time.Minute, look)
			outer := w.watch("baseimage", 10*time.Minute, reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
				return inner.Reconcile(ctx, req)
			}))
			if _, err := outer.Reconcile(t.Context(), requestFor("one")); err != nil {
				t.Fatal(err)
			}
			if got := said(w); got != "" {
				t.Errorf("after the pass the check says %q", got)
			}
		})
	}
}

func said(w *Watchdog) string {
	if err := w.Check(nil); err != nil {
		return err.Error()
	}
	return ""
}

func TestAPassThatPanicsHasEnded(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	w := NewWatchdog(now)
	panics := func(context.Context, ctrl.Request) (ctrl.Result, error) { panic("no map") }
	func() {
		defer func() { _ = recover() }()
		_, _ = w.watch("baseimage", time.Minute, reconcile.Func(panics)).Reconcile(t.Context(), requestFor("one"))
	}()
	now.SetTime(now.Now().Add(time.Hour))
	if err := w.Check(nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestWhatAPassReturnsIsHandedOn(t *testing.T) {
	for name, w := range map[string]*Watchdog{"watched": NewWatchdog(clocktesting.NewFakePassiveClock(time.Unix(1, 0))), "not watched": nil} {
		t.Run(name, func(t *testing.T) {
			next := reconcile.Func(func(_ context.Context, req ctrl.Request) (ctrl.Result, error) {
				return ctrl.Result{RequeueAfter: time.Duration(len(req.Name))}, context.Canceled
			})
			result, err := w.watch("baseimage", time.Minute, next).Reconcile(t.Context(), requestFor("three"))
			if result.RequeueAfter != 5 || !errors.Is(err, context.Canceled) {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
}
