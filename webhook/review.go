// Package webhook decides which pods, and which objects that make pods, a cluster takes: those whose images policies vouch for,
// and which run as these policies ask. It never writes to what it judges but to pin a digest that was verified.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
	"github.com/ibshafique/base-images/internal/workload"
)

// maxImages of one object, each counted once. More are not looked at, but refused.
const maxImages = 64

// Judge says whether images are what policies ask for.
type Judge interface {
	verdict.Judge
	// Facts of an image that runtime rules ask for, whether or not anybody vouches for it.
	Facts(ctx context.Context, q verdict.Question) (rules.ImageFacts, error)
}

// policySource has the policies in force.
type policySource interface {
	Set() (*imagepolicy.Set, error)
	Count(p *imagepolicy.Policy, denied bool)
}

// clusterState is what the cluster is asked; informers answer.
type clusterState interface {
	Namespace(ctx context.Context, name string) (map[string]string, error)
	Access(ctx context.Context, namespace string, spec *corev1.PodSpec) (verdict.Access, error)
	Automount(namespace string, spec *corev1.PodSpec) *bool
	Platforms() []pipeline.Platform
	Version() string
}

// references reads image references as the cluster's nodes do.
type references interface {
	Parse(reference string) (name.Reference, error)
}

// Reviewer decides about pods and what makes pods.
type Reviewer struct {
	Policies   policySource
	Cluster    clusterState
	Judge      Judge
	References references
	// Unmatched is what becomes of an image that no policy is for; ModeEnforce if empty, and "" with AllowUnmatched.
	Unmatched v1alpha1.PolicyMode
	// AllowUnmatched admits images that no policy is for.
	AllowUnmatched bool
	// Budget of one request.
	Budget time.Duration
	Clock  clock.PassiveClock
}

// question is one request.
type question struct {
	// object as it would be, and as it is; nil if it is new.
	object, old *workload.Object
	namespace   string
	// imagesOnly leaves runtime rules out, unless images are refused already: the validating webhook comes next.
	imagesOnly bool
}

// review looks at everything, and ends in time. Whatever fails becomes an outage: nothing but a ruling that is complete
// admits anything.
func (r *Reviewer) review(ctx context.Context, q question) (out ruling) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Budget, fmt.Errorf("admission took longer than %s", r.Budget))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			logr.FromContextOrDiscard(ctx).Error(fmt.Errorf("%v", p), "Admission has a defect", "stack", string(debug.Stack()))
			out = ruling{findings: []finding{outage("", errors.New("the webhook has a defect, its log has more"))}}
		}
	}()
	rv := &reviewing{Reviewer: r, question: q}
	if err := rv.gather(ctx); err != nil {
		return ruling{findings: []finding{outage("", err)}}
	}
	rv.images(ctx)
	if !q.imagesOnly || rv.refused() {
		rv.runtime(ctx)
	}
	return rv.ruling()
}

// reviewing is a review under way.
type reviewing struct {
	*Reviewer
	question
	set    *imagepolicy.Set
	labels map[string]string
	access verdict.Access
	// candidates are the distinct references of the object.
	candidates []*candidate
	findings   []finding
}

// gather asks for what the whole request depends on. Without policies, or the labels by which they are selected, nothing is
// known.
func (rv *reviewing) gather(ctx context.Context) (err error) {
	if rv.set, err = rv.Policies.Set(); err != nil {
		return fmt.Errorf("looking for the policies: %w", err)
	}
	if rv.labels, err = rv.Cluster.Namespace(ctx, rv.namespace); err != nil {
		return fmt.Errorf("looking at namespace %s: %w", rv.namespace, err)
	}
	return nil
}

// refused reports whether what was found so far refuses the request.
func (rv *reviewing) refused() bool {
	for _, f := range rv.findings {
		if f.mode == v1alpha1.ModeEnforce {
			return true
		}
	}
	return false
}
