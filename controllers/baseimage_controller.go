// Package controllers reconciles BaseImages, which decide whether to build, and BaseImageBuilds, each
// of which is one attempt.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/metrics"
)

// BaseImageReconciler decides whether a BaseImage is to be built, and starts one build at a time.
type BaseImageReconciler struct {
	client.Client
	// Live reads from the apiserver instead of the cache.
	Live      client.Reader
	Git       GitResolver
	Upstreams UpstreamResolver
	Config    *config.Operator
	Events    events.EventRecorder
	Clock     clock.PassiveClock
	Metrics   *metrics.Metrics
	Watchdog  *Watchdog

	polls polls
	lanes lanes
}

// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages,verbs=list;watch
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages/status,verbs=update
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimages/finalizers,verbs=update
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimagebuilds,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=configmaps;secrets,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager registers the reconciler.
func (r *BaseImageReconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("baseimage").
		For(&v1alpha1.BaseImage{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&v1alpha1.BaseImageBuild{}).
		// An image that is refused because of another one's tags may build once that has gone.
		Watches(&v1alpha1.BaseImage{}, handler.EnqueueRequestsFromMapFunc(r.sharingTags), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: imageWorkers, RateLimiter: backoff()}).
		Complete(r.Watchdog.watch("baseimage", r.Config.Limits.Build.ResolveTimeout.Std(), r))
	if err != nil {
		return fmt.Errorf("setting up the BaseImage controller: %w", err)
	}
	return nil
}

// imageWorkers look at images side by side. They mostly wait for git servers and registries, and one that is slow must
// not hold up the others; how much is read at a time is limited in internal/source.
const imageWorkers = 16

const (
	// namespaceWorkers may be busy with the images of one namespace: its slow servers are not to keep all of them.
	namespaceWorkers = imageWorkers / 2
	// busyAgain is when an image comes back for which there was no worker.
	busyAgain = 5 * time.Second
)

// lanes count the workers that are busy with each namespace.
type lanes struct {
	mu   sync.Mutex
	busy map[string]int
}

// enter takes a worker for a namespace, if it may have another.
func (l *lanes) enter(namespace string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[namespace] >= namespaceWorkers {
		return false
	}
	if l.busy == nil {
		l.busy = map[string]int{}
	}
	l.busy[namespace]++
	return true
}

func (l *lanes) leave(namespace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[namespace]--; l.busy[namespace] == 0 {
		delete(l.busy, namespace)
	}
}

// Reconcile observes, decides, acts, and reports in one status write.
func (r *BaseImageReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	image := &v1alpha1.BaseImage{}
	if err := r.Get(ctx, req.NamespacedName, image); err != nil || !image.DeletionTimestamp.IsZero() {
		r.polls.forget(req.NamespacedName)
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
	s := &state{image: image.DeepCopy(), builds: list.Items, last: image.Status.LatestBuild,
		set: newSettings(&image.Spec, &r.Config.Defaults), now: r.Clock.Now()}
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

// act removes old builds, looks whether inputs have changed, and starts a build if one is due and nothing forbids it.
func (r *BaseImageReconciler) act(ctx context.Context, s *state, p *plan) error {
	if err := r.prune(ctx, s); err != nil || s.image.Spec.Suspend {
		return err
	}
	if err := r.refuseSharedTags(ctx, s.image); err != nil {
		return err
	}
	if !r.lanes.enter(s.image.Namespace) {
		p.comeBack(s.now.Add(busyAgain))
		return nil
	}
	defer r.lanes.leave(s.image.Namespace)
	ctx, cancel := context.WithTimeout(ctx, r.Config.Limits.Build.ResolveTimeout.Std())
	defer cancel()
	if p.mayStart(s) {
		return r.resolveAndStart(ctx, s, p)
	}
	changed, err := r.newsOf(ctx, s, p)
	if err != nil || !changed {
		return err
	}
	err = r.resolveAndStart(ctx, s, p)
	if err != nil && p.look.failure != nil {
		// As with a look that fails: nothing is due, and what was promoted stays good.
		r.leaveAlone(s, p, err)
		return nil
	}
	return err
}

// newsOf reports whether there is a reason to build that the objects in the cluster don't tell. A look that failed is
// no failure of the image: it is noted in the plan.
func (r *BaseImageReconciler) newsOf(ctx context.Context, s *state, p *plan) (bool, error) {
	changed, err := r.pushSecretMended(ctx, s, p)
	if changed || err != nil {
		return changed, err
	}
	return r.inputsChanged(ctx, s, p), nil
}

func (r *BaseImageReconciler) resolveAndStart(ctx context.Context, s *state, p *plan) error {
	res, err := r.resolve(ctx, s.image)
	if err != nil {
		p.look = &look{failure: err}
		return err
	}
	p.look = &look{revision: res.revision.ID, upstreams: len(res.upstreams)}
	p.changedInputs(s.lastInputs(), res)
	if !p.mayStart(s) {
		if s.running() == nil { // It is as it was, after all.
			r.polls.done(s, true, true)
		}
		return nil
	}
	if p.hasNews() {
		p.retry = 0 // Other inputs are not another attempt.
	}
	if p.inputs.PushSecret, err = r.pushSecretVersion(ctx, s.image); err != nil {
		return err
	}
	if err := r.startBuild(ctx, s, p, res); err != nil {
		return err
	}
	r.polls.done(s, true, true)
	return nil
}

func (r *BaseImageReconciler) children() children {
	return children{client: r.Client, live: r.Live}
}

// wake says when to look at an image again if nothing happens before.
func (r *BaseImageReconciler) wake(s *state, p *plan) ctrl.Result {
	p.comeBack(p.next)
	if p.again.IsZero() {
		return ctrl.Result{}
	}
	// A second later: never so early that it is not due yet.
	return ctrl.Result{RequeueAfter: p.again.Sub(s.now) + time.Second}
}
