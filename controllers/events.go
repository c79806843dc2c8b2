package controllers

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// maxNote is the limit of an event's note (events.k8s.io/v1).
const maxNote = 1000

// Actions of events: what the operator was doing.
const (
	actionBuild   = "Build"
	actionResolve = "Resolve"
	actionUpload  = "Upload"
)

func (r *BaseImageReconciler) buildCreated(image *v1alpha1.BaseImage, build *v1alpha1.BaseImageBuild) {
	r.Events.Eventf(image, build, corev1.EventTypeNormal, v1alpha1.ReasonBuildCreated, actionBuild,
		"Started build %s: %s", build.Name, truncate(describeReasons(build.Spec.Reasons), maxNote-100))
}

var (
	// underWay are reasons of builds whose pods run.
	underWay = []string{v1alpha1.ReasonBuilding, v1alpha1.ReasonScanning, v1alpha1.ReasonTesting}
	// ordinary are reasons for not being ready that ask nothing of anybody.
	ordinary = append([]string{v1alpha1.ReasonQueued, v1alpha1.ReasonSuspended}, underWay...)
)

// lookFailed tells that source or upstreams can't be seen, which leaves a ready image as it is.
func (r *BaseImageReconciler) lookFailed(before, after *v1alpha1.BaseImage) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionResolved)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionResolved)
	if is == nil || is.Status != metav1.ConditionFalse || was != nil && was.Reason == is.Reason ||
		!meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReady) {
		return
	}
	r.Events.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, actionResolve, "%s", truncate(is.Message, maxNote))
}

// statusChanged tells of a change of Ready.
func (r *BaseImageReconciler) statusChanged(before, after *v1alpha1.BaseImage) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	promoted := buildOfImage(before) != buildOfImage(after)
	// Events of one object and reason are counted together, whatever they say: the build tells them apart.
	build := &v1alpha1.BaseImageBuild{}
	if last := after.Status.LatestBuild; last != nil {
		build.Namespace, build.Name = after.Namespace, last.Name
	}
	if is == nil || (!promoted && was != nil && was.Reason == is.Reason && was.Message == is.Message) {
		return
	}
	switch {
	case promoted && is.Status == metav1.ConditionTrue:
		r.Events.Eventf(after, build, corev1.EventTypeNormal, v1alpha1.ReasonPromoted, actionBuild, "%s", truncate(is.Message, maxNote))
	case is.Status == metav1.ConditionFalse && !slices.Contains(ordinary, is.Reason):
		r.Events.Eventf(after, build, corev1.EventTypeWarning, is.Reason, actionResolve, "%s", truncate(is.Message, maxNote))
	}
}

// buildOfImage names the build that was promoted: another one may have the same digest, and other tags.
func buildOfImage(image *v1alpha1.BaseImage) string {
	if image.Status.Image == nil {
		return ""
	}
	return image.Status.Image.Build
}

// describeReasons says what changed, in words.
func describeReasons(reasons []v1alpha1.BuildReason) string {
	var text strings.Builder
	for i, reason := range reasons {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(string(reason.Type) + ": ")
		switch {
		case reason.New == "":
			text.WriteString(shorten(reason.Old))
		case reason.Old == "" && reason.Type == v1alpha1.BuildReasonSpecChanged:
			text.WriteString("the first build")
		case reason.Type == v1alpha1.BuildReasonSpecChanged:
			text.WriteString("the spec was edited") // Its digests say nothing to anybody.
		case reason.Type == v1alpha1.BuildReasonPolicyChanged:
			text.WriteString("what a build is judged by was edited")
		case reason.Type == v1alpha1.BuildReasonUpstreamChanged:
			text.WriteString("an upstream image has another digest")
		case reason.Type == v1alpha1.BuildReasonCredentialsChanged:
			text.WriteString("the push Secret is another one")
		case reason.Old == "":
			text.WriteString(shorten(reason.New))
		default:
			text.WriteString(shorten(reason.Old) + " is now " + shorten(reason.New))
		}
	}
	return text.String()
}

// shorten leaves twelve digits of a digest or commit, as people quote them.
func shorten(value string) string {
	if hex, ok := strings.CutPrefix(value, "sha256:"); ok {
		return truncate(hex, 12)
	}
	if len(value) == 40 && strings.Trim(value, "0123456789abcdef") == "" {
		return value[:12]
	}
	return value
}

// phaseEvents tells of conditions of a build that have become true, of what holds it up, and of its failure.
func (r *BuildReconciler) phaseEvents(before, after *v1alpha1.BaseImageBuild) {
	for _, c := range after.Status.Conditions {
		was := meta.FindStatusCondition(before.Status.Conditions, c.Type)
		if was != nil && was.Status == c.Status && was.Reason == c.Reason {
			continue
		}
		if kind, reason := eventOf(c); kind != "" {
			r.Events.Eventf(after, nil, kind, reason, actionBuild, "%s", truncate(c.Message, maxNote))
		}
	}
}

// eventOf is the type and the reason of the event about a condition; empty for none.
func eventOf(c metav1.Condition) (kind, reason string) {
	switch {
	case c.Type == v1alpha1.ConditionStalled, c.Type == v1alpha1.ConditionReconciling && slices.Contains(ordinary, c.Reason):
		return "", ""
	case c.Type == v1alpha1.ConditionReconciling: // Something holds it up.
		return corev1.EventTypeWarning, c.Reason
	case c.Status == metav1.ConditionTrue:
		return corev1.EventTypeNormal, c.Type
	case c.Type != v1alpha1.ConditionSucceeded || c.Status != metav1.ConditionFalse:
		return "", ""
	case c.Reason == v1alpha1.ReasonSuperseded:
		return corev1.EventTypeNormal, c.Reason
	}
	return corev1.EventTypeWarning, c.Reason
}
