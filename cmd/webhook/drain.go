package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// drained ends some time after ctx has. In between the webhook is not ready, and serves: until all of a cluster know that it
// is not, requests come.
func drained(ctx context.Context, c clock.WithDelayedExecution, period time.Duration, draining *atomic.Bool) context.Context {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		draining.Store(true)
		c.AfterFunc(period, end)
	})
	return serving
}

var errDraining = errors.New("the webhook is about to end")

// notDraining is a healthz.Checker.
func notDraining(draining *atomic.Bool) func(*http.Request) error {
	return func(*http.Request) error {
		if draining.Load() {
			return errDraining
		}
		return nil
	}
}
