package main

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// addHealth makes the webhook alive while it answers at all: another process would not know more. It is ready while it can
// answer requests.
func addHealth(mgr ctrl.Manager, checks map[string]healthz.Checker) error {
	if err := mgr.AddHealthzCheck("answers", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, logged(ctrl.Log.WithName("health"), name, check)); err != nil {
			return fmt.Errorf("adding the readiness check %s: %w", name, err)
		}
	}
	return nil
}

// logged tells why a check fails: the answer to a probe withholds it. It does so when that changes, not at every probe.
func logged(log logr.Logger, name string, check healthz.Checker) healthz.Checker {
	var last atomic.Value
	last.Store("")
	return func(req *http.Request) error {
		err, text := check(req), ""
		if err != nil {
			text = err.Error()
		}
		if before := last.Swap(text); before != text && err != nil {
			log.Info("The webhook is not ready", "check", name, "why", text)
		}
		return err
	}
}
