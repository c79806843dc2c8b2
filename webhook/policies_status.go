package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxCondition bounds messages of conditions, of which the API takes 32768 bytes.
	maxCondition = 4096
	// actionCompile is what the webhook was doing.
	actionCompile = "Compile"
)

// counter of a policy has what was not written yet.
type counter struct{ matched, denied atomic.Int64 }

// Count notes a request with an image that p is for. It waits for nothing. ClusterImagePolicies have no place for counts.
func (p *Policies) Count(policy *imagepolicy.Policy, denied bool) {
	if policy == nil || policy.Kind != imagepolicy.KindImageAdmissionPolicy {
		return
	}
	found, ok := p.counters.Load(policy.Name)
	if !ok {
		found, _ = p.counters.LoadOrStore(policy.Name, &counter{})
	}
	c := found.(*counter)
	c.matched.Add(1)
	if denied {
		c.denied.Add(1)
	}
}

// counted are the counts of a policy that were not written yet.
func (p *Policies) counted(name string) *counter {
	if found, ok := p.counters.Load(name); ok {
		return found.(*counter)
	}
	return &counter{}
}

// reportAll writes every status that is another one. flush adds the counts.
func (p *Policies) reportAll(ctx context.Context, flush bool) error {
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(p.native)) {
		if err := p.report(ctx, p.native[name], flush); err != nil {
			failed = append(failed, fmt.Errorf("writing the status of ImageAdmissionPolicy %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// report writes a status if it is another one. Replicas write the same; whoever comes second has a conflict, and finds it written in
// the next pass. Counts are added to what is there, so those of a write that has failed are added to the next.
func (p *Policies) report(ctx context.Context, n *native, flush bool) error {
	after := n.object.DeepCopy()
	p.describe(n, &after.Status)
	c := p.counted(after.Name)
	var matched, denied int64
	if flush {
		matched, denied = c.matched.Swap(0), c.denied.Swap(0)
	}
	after.Status.Matched += matched
	after.Status.Denied += denied
	if equality.Semantic.DeepEqual(n.object.Status, after.Status) {
		return nil
	}
	if err := p.writer.Status().Update(ctx, after); err != nil {
		c.matched.Add(matched)
		c.denied.Add(denied)
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	p.tell(n.object, ready(n.object.Status.Conditions), ready(after.Status.Conditions))
	n.object = after
	return nil
}

func ready(conditions []metav1.Condition) *metav1.Condition {
	return meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
}

// describe says what is in force. It depends on nothing that another replica does not see.
func (p *Policies) describe(n *native, status *v1alpha1.ImageAdmissionPolicyStatus) {
	status.ObservedGeneration, status.InForceGeneration, status.Warnings = n.object.Generation, 0, n.warnings
	if n.policy.NotReady == nil {
		status.InForceGeneration = n.policy.Generation
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonInForce, ObservedGeneration: n.object.Generation,
		Message: fmt.Sprintf("Generation %d is in force", n.policy.Generation), LastTransitionTime: metav1.NewTime(p.clock.Now()),
	}
	if n.fault != nil {
		c.Status, c.Reason = metav1.ConditionFalse, pipeline.ReasonOf(n.fault)
		c.Message = bound(plain(n.fault.Error()), maxCondition-100) + "; " + meanwhile(n.policy)
	}
	meta.SetStatusCondition(&status.Conditions, c)
}

func meanwhile(policy *imagepolicy.Policy) string {
	switch {
	case policy.NotReady == nil:
		return fmt.Sprintf("the last good version, of generation %d, stays in force", policy.Generation)
	case policy.Mode == v1alpha1.ModeEnforce:
		return "until then, what it is for is refused"
	}
	return fmt.Sprintf("until then, what it is for does not hold, with mode %s", policy.Mode)
}

// tell makes an event of a policy that is not ready, or is again.
func (p *Policies) tell(o runtime.Object, before, after *metav1.Condition) {
	switch {
	case after == nil || before != nil && before.Status == after.Status && before.Reason == after.Reason && before.Message == after.Message:
	case after.Status == metav1.ConditionFalse:
		p.events.Eventf(o, nil, corev1.EventTypeWarning, after.Reason, actionCompile, "%s", bound(after.Message, maxNote))
	case before != nil && before.Status == metav1.ConditionFalse:
		p.events.Eventf(o, nil, corev1.EventTypeNormal, after.Reason, actionCompile, "%s", bound(after.Message, maxNote))
	}
}
