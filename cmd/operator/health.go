package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/ibshafique/base-images/controllers"
)

// addHealth makes the operator alive while its workers are: what only another process mends fails /healthz, and nothing else
// does, because starting again mends no apiserver. It is ready, leader or not, once its caches are filled and while the
// apiserver answers.
func addHealth(mgr ctrl.Manager, watchdog *controllers.Watchdog) error {
	answers, err := apiserverAnswers(mgr)
	if err != nil {
		return err
	}
	synced := func(req *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(req.Context()) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
	if err := mgr.AddHealthzCheck("passes", logged(watchdog.Check)); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	for name, check := range map[string]healthz.Checker{"caches": synced, "apiserver": answers.check} {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
	}
	return nil
}

// logged tells why a check fails: the answer to a probe withholds it.
func logged(check healthz.Checker) healthz.Checker {
	return func(req *http.Request) error {
		err := check(req)
		if err != nil {
			ctrl.Log.WithName("health").Error(err, "The operator is not healthy")
		}
		return err
	}
}

const (
	askTimeout = 2 * time.Second
	askAgain   = 5 * time.Second
)

// apiserverAnswers asks the apiserver whether it is ready, which every account may, unless somebody has forbidden it.
func apiserverAnswers(mgr ctrl.Manager) (*remembered, error) {
	client, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a client for the readiness check: %w", err)
	}
	return &remembered{clock: clock.RealClock{}, ask: func(ctx context.Context) error {
		_, err := client.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil || apierrors.IsForbidden(err) {
			return nil // Who forbids it is there.
		}
		return fmt.Errorf("asking the apiserver whether it is ready: %w", err)
	}}, nil
}

// remembered keeps an answer for askAgain, so that probes, which anybody may send, don't become requests.
type remembered struct {
	clock clock.PassiveClock
	ask   func(context.Context) error

	mu     sync.Mutex
	asked  time.Time
	answer error
}

// check is a healthz.Checker.
func (r *remembered) check(req *http.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked.IsZero() && r.clock.Since(r.asked) < askAgain {
		return r.answer
	}
	// The answer is for all: a probe that goes away does not take it along.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), askTimeout)
	defer cancel()
	r.answer = r.ask(ctx)
	r.asked = r.clock.Now()
	return r.answer
}
