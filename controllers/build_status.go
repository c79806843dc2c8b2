package controllers

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// report writes the status once, if it has changed, then events, and says when to come back. A write that fails
// is returned alone, so that it is repeated even after a terminal failure.
func (r *BuildReconciler) report(ctx context.Context, run *buildRun, all []done, failure error) (ctrl.Result, error) {
	before := &v1alpha1.BaseImageBuild{}
	run.build.DeepCopyInto(before)
	before.Status = run.observed
	run.build.Status = run.status(all, failure)
	if !equality.Semantic.DeepEqual(before.Status, run.build.Status) {
		if err := r.Status().Update(ctx, run.build); err != nil {
			run.build.Status = run.observed // It is not what the cluster knows.
			return unwritten(err)
		}
		run.forget()
		r.phaseEvents(before, run.build)
		r.Metrics.BuildChanged(before.Status.Phase, run.build)
	}
	if failure == nil || pipeline.IsTerminal(failure) {
		return ctrl.Result{}, nil
	}
	return run.next(failure)
}

// status follows from the phases that are done and why the next one is not.
func (run *buildRun) status(all []done, failure error) v1alpha1.BaseImageBuildStatus {
	status := *run.build.Status.DeepCopy()
	status.ObservedGeneration = run.build.Generation
	phases := run.phases()
	for i, p := range phases {
		c := metav1.Condition{Type: p.condition, ObservedGeneration: run.build.Generation,
			Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonPending, Message: "Waits for the phases before it"}
		switch {
		case i < len(all):
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, cmp.Or(all[i].reason, v1alpha1.ReasonSucceeded), sentence(all[i].message)
			if all[i].unknown {
				c.Status = metav1.ConditionUnknown
			}
			// Not the time of this write: one pass may go through several phases, and checking images takes minutes.
			c.LastTransitionTime = metav1.NewTime(all[i].at)
		case i == len(all):
			status.Phase = phaseOf(p, failure)
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonOf(failure), sentence(failure.Error())
		}
		meta.SetStatusCondition(&status.Conditions, c)
	}
	if status.Phase != v1alpha1.PhaseQueued {
		status.QueuePosition = nil
	}
	run.conclude(&status, len(all) == len(phases), failure)
	return status
}

// conclude sets Succeeded, and the conditions of kstatus.
func (run *buildRun) conclude(status *v1alpha1.BaseImageBuildStatus, succeeded bool, failure error) {
	v := verdict{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonBuilding}
	switch {
	case succeeded:
		status.Phase = v1alpha1.PhaseSucceeded
		v = verdict{status: metav1.ConditionTrue, reason: v1alpha1.ReasonSucceeded,
			message: "Promoted " + run.build.Spec.Output.Repository + "@" + status.Digest}
	case pipeline.IsTerminal(failure):
		v = verdict{status: metav1.ConditionFalse, reason: reasonOf(failure), message: sentence(failure.Error())}
		v.stalled = v.reason
		status.Phase, status.Retryable = v1alpha1.PhaseFailed, pipeline.IsRetryable(failure)
		if run.superseded {
			status.Phase, v.stalled = v1alpha1.PhaseSuperseded, ""
		}
	default:
		v.reason, v.message = reasonOf(failure), sentence(failure.Error())
		v.reconciling = v.reason
	}
	v.set(&status.Conditions, v1alpha1.ConditionSucceeded, run.build.Generation)
	if isFinal(status.Phase) {
		now := metav1.NewTime(run.Clock.Now())
		status.CompletedAt = &now
		if status.StartedAt != nil {
			status.Duration = now.Sub(status.StartedAt.Time).Round(time.Second).String()
		}
	}
}

// phaseOf is the phase of a build that is not done with p.
func phaseOf(p phase, failure error) v1alpha1.BuildPhase {
	if reasonOf(failure) == v1alpha1.ReasonQueued {
		return v1alpha1.PhaseQueued
	}
	return p.name
}
