package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/yaml"
)

func probe(ctx context.Context) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil)
}

func TestTheApiserverIsAskedOnceInAWhile(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	away, asked := errors.New("connection refused"), 0
	var answer error
	r := &remembered{clock: now, ask: func(context.Context) error { asked++; return answer }}
	for _, step := range []struct {
		later  time.Duration
		answer error
		want   error
		asked  int
	}{
		{0, nil, nil, 1},
		{askAgain - 1, away, nil, 1},
		{1, away, away, 2},
		{askAgain - 1, nil, away, 2},
		{1, nil, nil, 3},
	} {
		now.SetTime(now.Now().Add(step.later))
		answer = step.answer
		if err := r.check(probe(t.Context())); !errors.Is(err, step.want) || asked != step.asked {
			t.Errorf("%+v: got %v after %d requests", step, err, asked)
		}
	}
}

func TestAProbeThatGoesAwayDoesNotSpoilTheAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &remembered{clock: clocktesting.NewFakePassiveClock(time.Unix(1, 0)), ask: func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the request has no deadline")
		}
		return ctx.Err()
	}}
	if err := r.check(probe(ctx)); err != nil {
		t.Errorf("got %v", err)
	}
}

// fakeManager has what the check needs of a manager.
type fakeManager struct {
	manager.Manager
	config *rest.Config
}

func (m fakeManager) GetConfig() *rest.Config     { return m.config }
func (m fakeManager) GetHTTPClient() *http.Client { return http.DefaultClient }

func TestWhetherTheApiserverAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		ready  bool
	}{
		"it is ready":                        {http.StatusOK, true},
		"it may not be asked":                {http.StatusForbidden, true},
		"it does not know us any more":       {http.StatusUnauthorized, false},
		"it is there, but something is away": {http.StatusInternalServerError, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(tt.status)
			}))
			defer server.Close()
			r, err := apiserverAnswers(fakeManager{config: &rest.Config{Host: server.URL}})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.check(probe(t.Context())); (err == nil) != tt.ready {
				t.Errorf("got %v, want ready: %t", err, tt.ready)
			}
		})
	}
	t.Run("nobody is there", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		r, err := apiserverAnswers(fakeManager{config: &rest.Config{Host: server.URL}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.check(probe(t.Context())); err == nil {
			t.Error("got no error")
		}
	})
}

// What the process needs to end must be less than what the kubelet gives it, and probes must wait for their answers.
func TestTheDeploymentFitsTheTimesOfTheOperator(t *testing.T) {
	raw, err := os.ReadFile("../../config/operator/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(raw, &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < shutdownTimeout+2*retryPeriod {
		t.Errorf("terminationGracePeriodSeconds is %s, ending takes up to %s and giving the lease back comes after that", grace, shutdownTimeout)
	}
	if ready := pod.Containers[0].ReadinessProbe; time.Duration(ready.TimeoutSeconds)*time.Second <= askTimeout {
		t.Errorf("the readiness probe waits %d s for a question of %s", ready.TimeoutSeconds, askTimeout)
	}
	if last := retryPeriod + 2*renewDeadline; last >= leaseDuration {
		t.Errorf("a leader that is cut off may work for %s, another one takes its lease after %s", last, leaseDuration)
	}
	if 3*retryPeriod >= renewDeadline {
		t.Error("a leader gives its lease up after a request or two")
	}
}
