// Package controllers reconciles BaseImages, which decide whether to build, and BaseImageBuilds, each
// of which is one attempt.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// BaseImageReconciler decides whether a BaseImage is to be built, and starts one build at a time.
type BaseImageReconciler struct {
	client.Client
	// Live reads from the apiserver instead of the cache.
	Live      client.Reader
	Git       GitResolver
	Upstreams UpstreamResolver
	Events    events.EventRecorder
	Clock     clock.PassiveClock
}

// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages,verbs=list;watch
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages/status,verbs=update
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages/finalizers,verbs=update
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimagebuilds,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *BaseImageReconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("baseimage").
		For(&v1alpha1.BaseImage{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&v1alpha1.BaseImageBuild{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: backoff()}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the BaseImage controller: %w", err)
	}
	return nil
}

// Reconcile observes, decides, acts, and reports in one status write.
func (r *BaseImageReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	image := &v1alpha1.BaseImage{}
	if err := r.Get(ctx, req.NamespacedName, image); err != nil || !image.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	s, err := r.observe(ctx, image)
	if err != nil {
		return ctrl.Result{}, err
	}
	p, failure := decide(s)
	if failure == nil {
		failure = r.act(ctx, s, &p)
	}
	return r.report(ctx, s, p, failure)
}

// observe reads the builds of an image.
func (r *BaseImageReconciler) observe(ctx context.Context, image *v1alpha1.BaseImage) (*state, error) {
	list := &v1alpha1.BaseImageBuildList{}
	if err := r.List(ctx, list, client.InNamespace(image.Namespace), client.MatchingFields{indexOwner: string(image.UID)}); err != nil {
		return nil, fmt.Errorf("listing builds: %w", err)
	}
	s := &state{image: image.DeepCopy(), builds: list.Items, last: image.Status.LatestBuild, now: r.Clock.Now()}
	slices.SortFunc(s.builds, func(a, b v1alpha1.BaseImageBuild) int { return cmp.Compare(a.Spec.Attempt, b.Spec.Attempt) })
	if newest := s.newest(); newest != nil && (s.last == nil || newest.Spec.Attempt >= s.last.Attempt) {
		s.last = summary(newest)
		return s, nil
	}
	return s, r.observeUncached(ctx, s)
}

// observeUncached reads the newest build that the status knows of, if the cache does not have it: the cache is
// behind, or somebody has deleted the build.
func (r *BaseImageReconciler) observeUncached(ctx context.Context, s *state) error {
	if s.last == nil {
		return nil
	}
	build := &v1alpha1.BaseImageBuild{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: s.image.Namespace, Name: s.last.Name}, build)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("reading build %s: %w", s.last.Name, err)
	case isOwnedBy(build, s.image.UID):
		s.builds = append(s.builds, *build)
	}
	return nil
}

// act starts a build if one is due, none runs and nothing forbids it, and removes old ones.
func (r *BaseImageReconciler) act(ctx context.Context, s *state, p *plan) error {
	if err := r.prune(ctx, s); err != nil {
		return err
	}
	if len(p.reasons) == 0 || s.running() != nil || s.image.Spec.Suspend {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	res, err := r.resolve(ctx, s.image)
	if err != nil {
		return err
	}
	p.changedInputs(s.lastInputs(), res)
	return r.startBuild(ctx, s, p, res)
}

func (r *BaseImageReconciler) children() children {
	return children{client: r.Client, live: r.Live}
}

func (r *BaseImageReconciler) requeueAt(s *state, t time.Time) ctrl.Result {
	if t.IsZero() {
		return ctrl.Result{}
	}
	// A second later: never so early that the run is not due yet.
	return ctrl.Result{RequeueAfter: t.Sub(s.now) + time.Second}
}
