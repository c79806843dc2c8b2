package metrics

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const (
	resultSucceeded  = "succeeded"
	resultFailed     = "failed"
	resultSuperseded = "superseded"
)

const (
	phaseQueue   = "queue"
	phaseBuild   = "build"
	phaseCheck   = "check"
	phaseIndex   = "index"
	phaseInspect = "inspect"
	phaseScan    = "scan"
	phaseTest    = "test"
	phaseAttest  = "attest"
	phaseSign    = "sign"
	phaseVerify  = "verify"
	phasePromote = "promote"
	phaseTotal   = "total"
)

var phases = []string{phaseQueue, phaseCheck, phaseBuild, phaseIndex, phaseInspect, phaseScan, phaseTest,
	phaseAttest, phaseSign, phaseVerify, phasePromote, phaseTotal}

// BuildChanged counts what a status that was written says more than the one before: that the operator has taken a build up, and
// that it has ended. So each counts once, also over restarts: a build without a phase is new to every process.
func (m *Metrics) BuildChanged(before v1alpha1.BuildPhase, build *v1alpha1.BaseImageBuild) {
	if m == nil || before == build.Status.Phase {
		return
	}
	if before == "" {
		m.started(build)
	}
	switch build.Status.Phase {
	case v1alpha1.PhaseSucceeded:
		m.ended(build, resultSucceeded, "")
	case v1alpha1.PhaseFailed:
		m.ended(build, resultFailed, failureReason(build))
	case v1alpha1.PhaseSuperseded:
		m.ended(build, resultSuperseded, "")
	}
}

func (m *Metrics) started(build *v1alpha1.BaseImageBuild) {
	for _, reason := range build.Spec.Reasons {
		m.starts.WithLabelValues(closed(buildReasons, string(reason.Type))).Inc()
	}
	if lag, ok := scheduleLag(build); ok {
		m.lag.Observe(lag.Seconds())
	}
}

// scheduleLag is how late a build was created. The clocks of apiserver and operator may differ: none is early.
func scheduleLag(build *v1alpha1.BaseImageBuild) (time.Duration, bool) {
	// The time is handed on to builds with other reasons.
	scheduled := slices.ContainsFunc(build.Spec.Reasons, func(r v1alpha1.BuildReason) bool { return r.Type == v1alpha1.BuildReasonScheduled })
	run, err := time.Parse(time.RFC3339, build.Spec.Inputs.ScheduledFor)
	if !scheduled || err != nil {
		return 0, false
	}
	return max(0, build.CreationTimestamp.Sub(run)), true
}

func (m *Metrics) ended(build *v1alpha1.BaseImageBuild, result, reason string) {
	m.builds.WithLabelValues(result, reason).Inc()
	for phase, took := range durations(build) {
		m.durations.WithLabelValues(phase).Observe(max(0, took.Seconds()))
	}
}

// durations of the phases that were done. A total is only that of success: a build that fails at once says nothing of how
// long one takes.
func durations(build *v1alpha1.BaseImageBuild) map[string]time.Duration {
	status := &build.Status
	took := map[string]time.Duration{}
	if status.StartedAt == nil {
		return took
	}
	from := status.StartedAt.Time
	took[phaseQueue] = from.Sub(build.CreationTimestamp.Time)
	for _, p := range []struct{ phase, condition string }{
		{phaseCheck, v1alpha1.ConditionDockerfilePolicyPassed}, {phaseBuild, v1alpha1.ConditionBuilt}, {phaseIndex, v1alpha1.ConditionIndexed},
		{phaseInspect, v1alpha1.ConditionInspected}, {phaseScan, v1alpha1.ConditionScanPassed}, {phaseTest, v1alpha1.ConditionTestsPassed},
		{phaseAttest, v1alpha1.ConditionAttested}, {phaseSign, v1alpha1.ConditionSigned}, {phaseVerify, v1alpha1.ConditionVerified},
		{phasePromote, v1alpha1.ConditionPromoted},
	} {
		done := meta.FindStatusCondition(status.Conditions, p.condition)
		// Tests that were skipped have not passed, and yet the phase is done.
		if done == nil || done.Status != metav1.ConditionTrue && done.Reason != v1alpha1.ReasonTestsSkipped {
			return took
		}
		took[p.phase], from = done.LastTransitionTime.Sub(from), done.LastTransitionTime.Time
	}
	if status.Phase == v1alpha1.PhaseSucceeded && status.CompletedAt != nil {
		took[phaseTotal] = status.CompletedAt.Sub(build.CreationTimestamp.Time)
	}
	return took
}
