package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// resolveAgain is how long an input that can't be resolved is left alone: the source or an upstream may have
// been mended meanwhile, which nobody tells us.
const resolveAgain = 5 * time.Minute

// report writes the status once, if it has changed, then events, and says when to come back.
func (r *BaseImageReconciler) report(ctx context.Context, s *state, p plan, failure error) (ctrl.Result, error) {
	before := s.image.DeepCopy()
	s.image.Status = imageStatus(s, p, failure)
	if !equality.Semantic.DeepEqual(before.Status, s.image.Status) {
		if err := r.Status().Update(ctx, s.image); err != nil {
			return unwritten(err)
		}
		r.statusChanged(before, s.image)
		r.lookFailed(before, s.image)
	}
	switch {
	case failure == nil && s.image.Spec.Suspend:
		return ctrl.Result{}, nil
	case failure == nil:
		return r.wake(s, &p), nil
	case pipeline.IsTerminal(failure):
		return ctrl.Result{RequeueAfter: resolveAgain}, nil
	default:
		return retry(failure)
	}
}

// unwritten is a status that could not be written. A conflict means that the cache was behind: nothing is wrong, and the
// next look sees more.
func unwritten(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return ctrl.Result{}, fmt.Errorf("writing the status: %w", err)
}

// retry comes back after the time that a fault asks for; else with the queue's backoff, or not at all for a Waiting.
func retry(failure error) (ctrl.Result, error) {
	if w, ok := errors.AsType[*pipeline.Waiting](failure); ok {
		return ctrl.Result{RequeueAfter: w.After}, nil
	}
	if t, ok := errors.AsType[*pipeline.Transient](failure); ok && t.After > 0 {
		return ctrl.Result{RequeueAfter: t.After}, nil
	}
	return ctrl.Result{}, failure
}

// imageStatus is the status that follows from a state. It is pure.
func imageStatus(s *state, p plan, failure error) v1alpha1.BaseImageStatus {
	status := *s.image.Status.DeepCopy()
	status.ObservedGeneration = s.image.Generation
	status.LatestBuild = s.last
	if promoted := newestPromoted(s.builds); promoted != nil {
		status.Image = promotedImage(promoted)
	}
	if p.schedule != "" {
		status.ObservedSchedule = p.schedule
	}
	status.NextBuild, status.NextBuildReason = "", ""
	switch {
	case s.image.Spec.Suspend:
	case p.has(v1alpha1.BuildReasonScheduled) && s.lastInputs().ScheduledFor != p.inputs.ScheduledFor:
		// Due, and something keeps it from starting: it stays announced until it has.
		status.NextBuild, status.NextBuildReason = p.inputs.ScheduledFor, v1alpha1.BuildReasonScheduled
	case !p.next.IsZero():
		status.NextBuild, status.NextBuildReason = timestamp(p.next), p.nextReason
	}
	if p.look != nil {
		meta.SetStatusCondition(&status.Conditions, p.look.condition(s.image.Generation))
	}
	v := judge(s, p, failure)
	v.set(&status.Conditions, v1alpha1.ConditionReady, s.image.Generation)
	return status
}

// condition says what the last look at source and upstreams found.
func (l *look) condition(generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionResolved, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded, ObservedGeneration: generation}
	switch {
	case l.failure != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonOf(l.failure), sentence(l.failure.Error())
	case l.upstreams == 1:
		c.Message = fmt.Sprintf("The source is at %s, with 1 upstream image", l.revision)
	default:
		c.Message = fmt.Sprintf("The source is at %s, with %d upstream images", l.revision, l.upstreams)
	}
	return c
}

// verdict is what the conditions say.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
	// reconciling and stalled are the abnormal conditions of kstatus; empty for absent.
	reconciling, stalled string
}

// judge says whether an image is ready, and why not.
func judge(s *state, p plan, failure error) verdict {
	running, newest := s.running(), s.newest()
	switch {
	case failure != nil:
		return failed(failure)
	case running != nil:
		return building(s, p, running)
	case len(p.reasons) > 0 && s.image.Spec.Suspend:
		return verdict{status: metav1.ConditionFalse, reason: v1alpha1.ReasonSuspended,
			message: "A build is due (" + reasonTypes(p.reasons) + "), but spec.suspend is true"}
	case newest != nil && newest.Status.Phase == v1alpha1.PhaseFailed:
		return lastFailed(s, newest)
	case s.deleted() && s.last.Phase == v1alpha1.PhaseFailed:
		return verdict{status: metav1.ConditionFalse, reason: v1alpha1.ReasonBuildFailed, stalled: v1alpha1.ReasonBuildFailed,
			message: fmt.Sprintf("Build %s failed and was deleted: change the spec, or request a build", s.last.Name)}
	case s.image.Status.Image == nil && newestPromoted(s.builds) == nil:
		return verdict{status: metav1.ConditionUnknown, reason: v1alpha1.ReasonPending, message: "No build has finished"}
	default:
		return ready(s)
	}
}

func failed(failure error) verdict {
	v := verdict{status: metav1.ConditionFalse, reason: reasonOf(failure), message: sentence(failure.Error())}
	if pipeline.IsTerminal(failure) {
		v.stalled = v.reason
		v.message += " (looked at again within 5 minutes, or at once if a build is requested)"
	} else {
		v.reconciling = v.reason
	}
	return v
}

// building keeps an image ready while it is only refreshed: its tags still point to what its spec asks for.
func building(s *state, p plan, build *v1alpha1.BaseImageBuild) verdict {
	v := verdict{
		status:      metav1.ConditionFalse,
		reason:      v1alpha1.ReasonBuilding,
		message:     fmt.Sprintf("Build %s (%s) is running%s", build.Name, build.Spec.Reason, whyNot(build)),
		reconciling: v1alpha1.ReasonBuilding,
	}
	if build.Status.Phase == v1alpha1.PhaseQueued {
		v.reason, v.reconciling = v1alpha1.ReasonQueued, v1alpha1.ReasonQueued
		v.message = fmt.Sprintf("Build %s (%s) waits%s", build.Name, build.Spec.Reason, whyNot(build))
	}
	if held := heldUpBy(build); held != nil && held.Reason != v1alpha1.ReasonQueued {
		v.reason, v.reconciling = held.Reason, held.Reason
	}
	wasReady := meta.IsStatusConditionTrue(s.image.Status.Conditions, v1alpha1.ConditionReady)
	if wasReady && !isEdited(p.reasons) && !isEdited(build.Spec.Reasons) {
		v.status, v.reason = metav1.ConditionTrue, v1alpha1.ReasonPromoted
	}
	return v
}

// isEdited reports whether something else is asked for than before: what the tags point to was not built, or not judged,
// as it is asked for now.
func isEdited(reasons []v1alpha1.BuildReason) bool {
	return slices.ContainsFunc(reasons, func(r v1alpha1.BuildReason) bool {
		return r.Type == v1alpha1.BuildReasonSpecChanged || r.Type == v1alpha1.BuildReasonPolicyChanged
	})
}

// heldUpBy is the condition that says what keeps a build that has not ended, if it is not just its Jobs.
func heldUpBy(build *v1alpha1.BaseImageBuild) *metav1.Condition {
	c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionReconciling)
	if c == nil || slices.Contains(underWay, c.Reason) {
		return nil
	}
	return c
}

// whyNot tells what keeps a running build, if it is not just its Jobs: a registry that is down, a Secret that is
// missing.
func whyNot(build *v1alpha1.BaseImageBuild) string {
	c := heldUpBy(build)
	if c == nil {
		return ""
	}
	if c.Reason == v1alpha1.ReasonQueued {
		return ": " + strings.ToLower(c.Message[:min(1, len(c.Message))]) + c.Message[min(1, len(c.Message)):]
	}
	return fmt.Sprintf("; it is held up by %s: %s", c.Reason, c.Message)
}

// lastFailed says why the newest build failed, and what comes next. It stalls only if nothing but a change helps.
func lastFailed(s *state, build *v1alpha1.BaseImageBuild) verdict {
	v := verdict{status: metav1.ConditionFalse, reason: v1alpha1.ReasonBuildFailed}
	if c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		v.reason = c.Reason
		v.message = fmt.Sprintf("Build %s failed: %s", build.Name, c.Message)
	}
	_, again := s.retryAt()
	switch {
	case again:
		v.reconciling = v.reason
		v.message += fmt.Sprintf(" (retry %d of %d follows)", build.Spec.Retry+1, s.set.retries)
	case build.Status.Retryable && build.Spec.Retry > 0:
		v.stalled = v.reason
		v.message += fmt.Sprintf(" (%d retries failed too: the schedule, a change or a request builds again)", build.Spec.Retry)
	default:
		v.stalled = v.reason
	}
	return v
}

func ready(s *state) verdict {
	img := s.image.Status.Image
	if promoted := newestPromoted(s.builds); promoted != nil {
		img = promotedImage(promoted)
	}
	return verdict{status: metav1.ConditionTrue, reason: v1alpha1.ReasonPromoted,
		message: fmt.Sprintf("%s:%s is %s, built from %s", img.Repository, tagList(img.Tags), img.Digest, img.Revision)}
}

func (v verdict) set(conditions *[]metav1.Condition, summary string, generation int64) {
	meta.SetStatusCondition(conditions, metav1.Condition{Type: summary, Status: v.status, Reason: v.reason, Message: v.message, ObservedGeneration: generation})
	for _, c := range []struct{ kind, reason string }{
		{v1alpha1.ConditionReconciling, v.reconciling}, {v1alpha1.ConditionStalled, v.stalled},
	} {
		if c.reason == "" {
			meta.RemoveStatusCondition(conditions, c.kind)
			continue
		}
		meta.SetStatusCondition(conditions, metav1.Condition{Type: c.kind, Status: metav1.ConditionTrue, Reason: c.reason, Message: v.message, ObservedGeneration: generation})
	}
}

// newestPromoted is the newest build that has moved the tags.
func newestPromoted(builds []v1alpha1.BaseImageBuild) *v1alpha1.BaseImageBuild {
	for i := len(builds) - 1; i >= 0; i-- {
		if builds[i].Status.Phase == v1alpha1.PhaseSucceeded {
			return &builds[i]
		}
	}
	return nil
}

func promotedImage(build *v1alpha1.BaseImageBuild) *v1alpha1.PromotedImage {
	st := build.Status
	img := &v1alpha1.PromotedImage{
		Reference:   build.Spec.Output.Repository + "@" + st.Digest,
		Digest:      st.Digest,
		ShortDigest: shortDigest(st.Digest),
		Repository:  build.Spec.Output.Repository,
		Tags:        build.Spec.Output.Tags,
		Platforms:   st.Platforms,
		Revision:    build.Spec.Inputs.Revision,
		Build:       build.Name,
		Signature:   st.Signature,
		BuiltAt:     st.CompletedAt,
	}
	if st.Scan != nil {
		img.Packages, img.Vulnerabilities, img.Reports = new(st.Scan.Packages), st.Scan.Vulnerabilities, st.Scan.Platforms
	}
	if st.Tests != nil {
		img.Tests = st.Tests.Summary
	}
	var architectures []string
	var largest int64
	for _, p := range st.Platforms {
		architectures = append(architectures, strings.TrimPrefix(p.Platform, "linux/"))
		largest = max(largest, p.Size)
	}
	img.Architectures, img.Size = strings.Join(architectures, ","), humanSize(largest)
	return img
}

func shortDigest(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return truncate(hex, 12)
}

// humanSize writes bytes in decimal units, as registries do.
func humanSize(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000*1000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000*1000*1000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
}

func tagList(tags []v1alpha1.Tag) string {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = string(t)
	}
	return strings.Join(names, ",")
}
