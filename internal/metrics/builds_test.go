package metrics

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// build was created at noon for the schedule of a minute before.
func build(t *testing.T, phase v1alpha1.BuildPhase, reasons ...v1alpha1.BuildReasonType) *v1alpha1.BaseImageBuild {
	t.Helper()
	b := &v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: "one-1", CreationTimestamp: metav1.NewTime(noon)}}
	b.Spec.Inputs.ScheduledFor = noon.Add(-time.Minute).Format(time.RFC3339)
	for _, r := range reasons {
		b.Spec.Reasons = append(b.Spec.Reasons, v1alpha1.BuildReason{Type: r})
	}
	b.Status.Phase = phase
	return b
}

// after sets a condition to True some seconds after noon.
func after(b *v1alpha1.BaseImageBuild, condition string, seconds int) {
	b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: condition, Status: metav1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(noon.Add(time.Duration(seconds) * time.Second))})
}

func TestABuildCountsWhenItIsTakenUpAndWhenItHasEnded(t *testing.T) {
	type counts struct{ scheduled, changed, succeeded, failed, superseded, lags float64 }
	tests := map[string]struct {
		before, phase v1alpha1.BuildPhase
		want          counts
	}{
		"its first status":                        {"", v1alpha1.PhaseQueued, counts{scheduled: 1, changed: 1, lags: 1}},
		"another status of the same phase":        {v1alpha1.PhaseBuilding, v1alpha1.PhaseBuilding, counts{}},
		"the next phase":                          {v1alpha1.PhaseQueued, v1alpha1.PhaseBuilding, counts{}},
		"success":                                 {v1alpha1.PhasePromoting, v1alpha1.PhaseSucceeded, counts{succeeded: 1}},
		"failure":                                 {v1alpha1.PhaseBuilding, v1alpha1.PhaseFailed, counts{failed: 1}},
		"a newer build":                           {v1alpha1.PhaseBuilding, v1alpha1.PhaseSuperseded, counts{superseded: 1}},
		"a newer build before its first look":     {"", v1alpha1.PhaseSuperseded, counts{scheduled: 1, changed: 1, lags: 1, superseded: 1}},
		"a write that changes nothing of the end": {v1alpha1.PhaseFailed, v1alpha1.PhaseFailed, counts{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, registry := newMetrics(t)
			b := build(t, tt.phase, v1alpha1.BuildReasonScheduled, v1alpha1.BuildReasonSourceChanged)
			b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Reason: v1alpha1.ReasonTimedOut}}
			m.BuildChanged(tt.before, b)
			got := counts{
				scheduled: testutil.ToFloat64(m.starts.WithLabelValues("Scheduled")), changed: testutil.ToFloat64(m.starts.WithLabelValues("SourceChanged")),
				succeeded: testutil.ToFloat64(m.builds.WithLabelValues("succeeded", "")), failed: testutil.ToFloat64(m.builds.WithLabelValues("failed", "TimedOut")),
				superseded: testutil.ToFloat64(m.builds.WithLabelValues("superseded", "")), lags: observed(t, registry, "basewright_schedule_lag_seconds")[""].count,
			}
			if got != tt.want {
				t.Errorf("counted %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestTheReasonOfAFailureIsOneOfTheList(t *testing.T) {
	for name, tt := range map[string]struct{ reason, want string }{
		"ours":                               {pipeline.ReasonRegistryThrottled, "RegistryThrottled"},
		"one that a build pod has made up":   {"MyOwnReason", "Other"},
		"no condition":                       {"", "Other"},
		"a reason, but not one of a failure": {v1alpha1.ReasonPromoted, "Other"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newMetrics(t)
			b := build(t, v1alpha1.PhaseFailed)
			if tt.reason != "" {
				b.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Reason: tt.reason}}
			}
			m.BuildChanged(v1alpha1.PhaseBuilding, b)
			if got := testutil.ToFloat64(m.builds.WithLabelValues("failed", tt.want)); got != 1 {
				t.Errorf("%s counts %v", tt.want, got)
			}
		})
	}
}

func TestTheLagOfASchedule(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.BaseImageBuild)
		want   time.Duration
		none   bool
	}{
		"a minute late":                             {func(*v1alpha1.BaseImageBuild) {}, time.Minute, false},
		"the clock of the apiserver is behind":      {func(b *v1alpha1.BaseImageBuild) { b.CreationTimestamp = metav1.NewTime(noon.Add(-2 * time.Minute)) }, 0, false},
		"a request hands on the time of a schedule": {func(b *v1alpha1.BaseImageBuild) { b.Spec.Reasons[0].Type = v1alpha1.BuildReasonRequested }, 0, true},
		"no time": {func(b *v1alpha1.BaseImageBuild) { b.Spec.Inputs.ScheduledFor = "" }, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t, v1alpha1.PhaseQueued, v1alpha1.BuildReasonScheduled)
			tt.change(b)
			if lag, ok := scheduleLag(b); lag != tt.want || ok == tt.none {
				t.Errorf("got %s, %t", lag, ok)
			}
		})
	}
}

func TestDurationsAreThoseOfThePhasesThatWereDone(t *testing.T) {
	succeeded := func(b *v1alpha1.BaseImageBuild) {
		b.Status.StartedAt = new(metav1.NewTime(noon.Add(10 * time.Second)))
		after(b, v1alpha1.ConditionDockerfilePolicyPassed, 11)
		after(b, v1alpha1.ConditionBuilt, 70)
		after(b, v1alpha1.ConditionIndexed, 75)
		after(b, v1alpha1.ConditionInspected, 76)
		after(b, v1alpha1.ConditionScanPassed, 96)
		after(b, v1alpha1.ConditionTestsPassed, 100)
		after(b, v1alpha1.ConditionAttested, 103)
		after(b, v1alpha1.ConditionSigned, 105)
		after(b, v1alpha1.ConditionVerified, 106)
		after(b, v1alpha1.ConditionPromoted, 108)
		b.Status.CompletedAt = new(metav1.NewTime(noon.Add(109 * time.Second)))
	}
	for name, tt := range map[string]struct {
		phase  v1alpha1.BuildPhase
		change func(*v1alpha1.BaseImageBuild)
		want   map[string]time.Duration
	}{
		"a build that succeeded": {v1alpha1.PhaseSucceeded, succeeded, map[string]time.Duration{"queue": 10 * time.Second, "check": time.Second,
			"build": 59 * time.Second, "index": 5 * time.Second, "inspect": time.Second, "scan": 20 * time.Second, "test": 4 * time.Second,
			"attest": 3 * time.Second, "sign": 2 * time.Second, "verify": time.Second, "promote": 2 * time.Second, "total": 109 * time.Second}},
		"one whose tests were skipped": {v1alpha1.PhaseFailed, func(b *v1alpha1.BaseImageBuild) {
			succeeded(b)
			b.Status.Conditions[5].Status, b.Status.Conditions[5].Reason = metav1.ConditionUnknown, v1alpha1.ReasonTestsSkipped
			b.Status.Conditions[6].Status = metav1.ConditionFalse
		}, map[string]time.Duration{"queue": 10 * time.Second, "check": time.Second, "build": 59 * time.Second, "index": 5 * time.Second,
			"inspect": time.Second, "scan": 20 * time.Second, "test": 4 * time.Second}},
		"one that was superseded while it waited": {v1alpha1.PhaseSuperseded, func(*v1alpha1.BaseImageBuild) {}, map[string]time.Duration{}},
		"one whose image was refused": {v1alpha1.PhaseFailed, func(b *v1alpha1.BaseImageBuild) {
			succeeded(b)
			b.Status.Conditions[2].Status = metav1.ConditionFalse
			b.Status.Conditions = b.Status.Conditions[:3]
		}, map[string]time.Duration{"queue": 10 * time.Second, "check": time.Second, "build": 59 * time.Second}},
		"one whose tags could not be moved": {v1alpha1.PhaseFailed, func(b *v1alpha1.BaseImageBuild) {
			succeeded(b)
			b.Status.Conditions[9].Status = metav1.ConditionFalse
		}, map[string]time.Duration{"queue": 10 * time.Second, "check": time.Second, "build": 59 * time.Second, "index": 5 * time.Second,
			"inspect": time.Second, "scan": 20 * time.Second, "test": 4 * time.Second, "attest": 3 * time.Second, "sign": 2 * time.Second, "verify": time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t, tt.phase)
			tt.change(b)
			if diff := cmp.Diff(tt.want, durations(b)); diff != "" {
				t.Error(diff)
			}
			m, registry := newMetrics(t)
			m.BuildChanged(v1alpha1.PhaseBuilding, b)
			got := map[string]time.Duration{}
			for phase, h := range observed(t, registry, "basewright_build_duration_seconds") {
				if h.count == 1 {
					got[phase] = time.Duration(h.sum * float64(time.Second))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("observed: %s", diff)
			}
		})
	}
}
