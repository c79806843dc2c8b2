package controllers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// counted are the counters that are not zero: name, values of labels, count.
func counted(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			key := f.GetName()
			for _, l := range s.GetLabel() {
				key += " " + l.GetValue()
			}
			if n := s.GetCounter().GetValue(); n > 0 {
				all[key] = n
			}
		}
	}
	return all
}

func TestLooksAtInputsAreCounted(t *testing.T) {
	tests := map[string]struct {
		after  time.Duration
		change func(*inputs)
		want   map[string]float64
	}{
		"nothing is due": {time.Second, func(*inputs) {}, map[string]float64{}},
		"nothing is new": {time.Hour, func(*inputs) {}, map[string]float64{"source unchanged": 1, "upstream unchanged": 1}},
		"a new commit leaves the upstreams alone": {time.Hour, func(i *inputs) { i.commit = "new" }, map[string]float64{"source changed": 1}},
		"a new upstream image":                    {time.Hour, func(i *inputs) { i.digest = "sha256:2" }, map[string]float64{"source unchanged": 1, "upstream changed": 1}},
		"a git server that is away":               {time.Hour, gitAway, map[string]float64{"source failed": 1}},
		"a Dockerfile that can't be read":         {5 * time.Minute, func(i *inputs) { i.dockerfile = "FROM" }, map[string]float64{"source failed": 1}},
		"a registry that is away": {time.Hour, func(i *inputs) { i.pollErr = pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "503") },
			map[string]float64{"source unchanged": 1, "upstream failed": 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := &inputs{commit: "c0ffee", digest: "sha256:1", dockerfile: "FROM alpine:3\n"}
			r := &BaseImageReconciler{Git: in, Upstreams: in, Config: &config.Operator{Defaults: *defaults()},
				Metrics: metrics.New(clocktesting.NewFakePassiveClock(time.Unix(1, 0)))}
			s := restingState(t, in)
			r.inputsChanged(t.Context(), s, &plan{})
			tt.change(in)
			s.now = s.now.Add(tt.after)
			r.inputsChanged(t.Context(), s, &plan{})
			got := counted(t, r.Metrics)
			for looks, n := range tt.want {
				if got["basewright_polls_total "+looks] != n {
					t.Errorf("%s is not %v in %v", looks, n, got)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("counted %v, want %v", got, tt.want)
			}
		})
	}
}

// writing takes statuses, or refuses them.
type writing struct {
	client.Client
	err error
}

func (w writing) Status() client.SubResourceWriter { return statusRecorder{err: w.err} }

type statusRecorder struct {
	client.SubResourceWriter
	err error
}

func (w statusRecorder) Update(context.Context, client.Object, ...client.SubResourceUpdateOption) error {
	return w.err
}

// finishing is a build in its last pass, which took a minute for each phase, at the end of an hour.
func finishing(t *testing.T, w writing) *buildRun {
	t.Helper()
	now := at(t, "2026-11-25T10:00:00Z")
	b := attempt(1, v1alpha1.PhaseBuilding, "Scheduled")
	b.CreationTimestamp = metav1.NewTime(now.Add(-time.Hour))
	b.Status.StartedAt = new(metav1.NewTime(now.Add(-time.Hour)))
	passive := clocktesting.NewFakePassiveClock(now)
	r := &BuildReconciler{Client: w, Config: config.Default(), Clock: passive, Events: events.NewFakeRecorder(10), Metrics: metrics.New(passive), memory: newMemory()}
	r.played = func(*buildRun) []phase {
		return []phase{{condition: v1alpha1.ConditionBuilt}, {condition: v1alpha1.ConditionIndexed}, {condition: v1alpha1.ConditionPromoted}}
	}
	return &buildRun{BuildReconciler: r, build: &b, observed: b.Status}
}

// allDone are its phases.
func allDone(run *buildRun) []done {
	now := run.Clock.Now()
	return []done{{message: "built", at: now.Add(-2 * time.Minute)}, {message: "indexed", at: now.Add(-time.Minute)}, {message: "promoted", at: now}}
}

func TestABuildIsCountedOnceItsEndWasWritten(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "baseimagebuilds"}, "one-1", errors.New("it has changed"))
	for name, tt := range map[string]struct {
		written error
		failure error
		want    string
	}{
		"a success":                      {nil, nil, "map[basewright_builds_total  succeeded:1]"},
		"a failure":                      {nil, pipeline.Terminalf(pipeline.ReasonTagImmutable, "no"), "map[basewright_builds_total TagImmutable failed:1]"},
		"a failure of an unknown reason": {nil, pipeline.Terminalf("Own", "no"), "map[basewright_builds_total Other failed:1]"},
		"a newer build":                  {nil, pipeline.Terminalf(v1alpha1.ReasonSuperseded, "newer"), "map[basewright_builds_total  superseded:1]"},
		"one that goes on":               {nil, pipeline.Waitingf(v1alpha1.ReasonBuilding, "soon"), "map[]"},
		"a status that is not written":   {errors.New("no route"), nil, "map[]"},
		"a conflict":                     {conflict, nil, "map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			run := finishing(t, writing{err: tt.written})
			run.superseded = tt.failure != nil && reasonOf(tt.failure) == v1alpha1.ReasonSuperseded
			all := allDone(run)
			if tt.failure != nil {
				all = all[:2]
			}
			_, _ = run.report(t.Context(), run, all, tt.failure)
			if got := fmt.Sprint(counted(t, run.Metrics)); got != tt.want {
				t.Errorf("counted %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAConditionIsAsOldAsWhatItSays(t *testing.T) {
	run := finishing(t, writing{})
	if _, err := run.report(t.Context(), run, allDone(run), nil); err != nil {
		t.Fatal(err)
	}
	for i, kind := range []string{v1alpha1.ConditionBuilt, v1alpha1.ConditionIndexed, v1alpha1.ConditionPromoted} {
		if c := meta.FindStatusCondition(run.build.Status.Conditions, kind); !c.LastTransitionTime.Time.Equal(allDone(run)[i].at) {
			t.Errorf("%s is from %s, want %s", kind, c.LastTransitionTime, allDone(run)[i].at)
		}
	}
}
