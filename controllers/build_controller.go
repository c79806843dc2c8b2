package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// BuildReconciler takes a BaseImageBuild through its phases, see phases, once it is its turn. Each phase first looks
// for its durable evidence (a Job, a digest in the registry) and is done if it is there, so that a
// crash after any line loses nothing and repeats nothing.
type BuildReconciler struct {
	client.Client
	// Live reads from the apiserver instead of the cache.
	Live     client.Reader
	Registry *registry.Client
	Config   *config.Operator
	Events   events.EventRecorder
	Clock    clock.PassiveClock
	Metrics  *metrics.Metrics
	Watchdog *Watchdog
	Rules    RuleEvaluator
	Signing  Signing
	// Version of the operator, for provenance.
	Version string

	// inspected are the images that have passed inspection, by platform and digest.
	inspected *lru.Cache[string, inspect.Facts]
	// inspecting has a place for each image that is inspected at a time.
	inspecting chan struct{}
	// memory of the builds that run, by UID.
	memory *lru.Cache[types.UID, memory]
	queue  *queue
	images pinnedImages
	guards guards
	// played are phases that a test has in place of the real ones.
	played func(*buildRun) []phase
	// wake has builds looked at: their place in the queue has changed.
	wake func([]types.NamespacedName)
}

const (
	// maxInspected bounds what is remembered of images: some KiB each, 64 for what hostile ones can have.
	maxInspected = 256
	// maxInspecting images are inspected at a time: one can take 300 MiB.
	maxInspecting = 4
	// spareWorkers look after builds that wait or have ended, while all that run are being worked on.
	spareWorkers = 4
)

// +kubebuilder:rbac:groups=basewright.dev,resources=baseimagebuilds/status,verbs=update
// +kubebuilder:rbac:groups=basewright.dev,resources=baseimagebuilds/finalizers,verbs=update
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;create
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get
// +kubebuilder:rbac:groups="",resources=events,verbs=list

// SetupWithManager registers the reconciler.
func (r *BuildReconciler) SetupWithManager(mgr ctrl.Manager) error {
	inspected, err := lru.New[string, inspect.Facts](maxInspected)
	if err != nil {
		return fmt.Errorf("making the memory of inspected images: %w", err)
	}
	r.memory = newMemory()
	r.inspected, r.inspecting, r.queue = inspected, make(chan struct{}, maxInspecting), &queue{slots: r.Config.Builds.MaxConcurrent}
	err = ctrl.NewControllerManagedBy(mgr).
		Named("baseimagebuild").
		// The spec never changes: what a build waits for is told by its Jobs and pods, and its own status is no news.
		For(&v1alpha1.BaseImageBuild{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&batchv1.Job{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(buildOfPod)).
		Watches(&v1alpha1.BaseImageBuild{}, handler.EnqueueRequestsFromMapFunc(r.siblingsOf), builder.WithPredicates(comesOrGoes())).
		WatchesRawSource(source.Func(r.takeQueue)).
		// Each build that runs may wait for a slow registry, and the others must be looked after meanwhile.
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Config.Builds.MaxConcurrent + spareWorkers, RateLimiter: backoff()}).
		Complete(r.Watchdog.watch("baseimagebuild", r.Config.Limits.Build.PassTimeout.Std(), r))
	if err != nil {
		return fmt.Errorf("setting up the BaseImageBuild controller: %w", err)
	}
	return nil
}

// takeQueue keeps the controller's own queue, by which builds are woken.
func (r *BuildReconciler) takeQueue(_ context.Context, q workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
	r.wake = func(keys []types.NamespacedName) {
		for _, key := range keys {
			q.Add(ctrl.Request{NamespacedName: key})
		}
	}
	return nil
}

func buildOfPod(_ context.Context, pod client.Object) []ctrl.Request {
	name := pod.GetLabels()[job.LabelBuild]
	if name == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

// Reconcile runs the phases up to the first that is not done, and reports in one status write. The Jobs of a build that
// has failed are ended after that is written: ended before, they would be made again by the next pass if it is not.
func (r *BuildReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	build, err := r.read(ctx, req.NamespacedName)
	if err != nil || !build.DeletionTimestamp.IsZero() {
		if client.IgnoreNotFound(err) == nil {
			r.wake(r.queue.leave(req.NamespacedName))
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	run := &buildRun{BuildReconciler: r, build: build.DeepCopy(), observed: build.Status}
	if finished(build) {
		if err := run.end(ctx); err != nil {
			return ctrl.Result{}, err
		}
		return r.upload(ctx, run)
	}
	done, failure := run.advance(ctx)
	result, err := r.report(ctx, run, done, failure)
	if err != nil || !finished(run.build) {
		return result, err
	}
	if _, due := run.uploadDue(); due {
		result.RequeueAfter = time.Second // The next pass does.
	}
	return result, run.end(ctx)
}

// buildRun is one pass over a build with what its phases have found.
type buildRun struct {
	*BuildReconciler
	build *v1alpha1.BaseImageBuild
	// observed is the status before this pass.
	observed v1alpha1.BaseImageBuildStatus
	// digests that the Jobs report, by platform.
	digests map[string]string
	// built and scanned are what the Jobs of these phases tell.
	built, scanned evidence
	// attested are the statements that were signed.
	attested []v1alpha1.AttestationReference
	// verified is when all of that was read back last.
	verified time.Time
	signing  *signing
	// superseded says that a newer build takes this one's place. A pod that claims it is not believed.
	superseded bool
	// suspended says that a Job is held back, by Kueue for example: the time does not count.
	suspended bool
	// active Jobs run, or are about to.
	active int
	// resumed is when the last Job that was held back was let run; zero for none.
	resumed time.Time
}

// phases in their order, each with the condition that says that it is done.
func (run *buildRun) phases() []phase {
	if run.played != nil {
		return run.played(run)
	}
	return []phase{
		{v1alpha1.ConditionDockerfilePolicyPassed, v1alpha1.PhaseChecking, run.checkPolicy},
		{v1alpha1.ConditionBuilt, v1alpha1.PhaseBuilding, run.buildPlatforms},
		{v1alpha1.ConditionIndexed, v1alpha1.PhaseIndexing, run.index},
		{v1alpha1.ConditionInspected, v1alpha1.PhaseInspecting, run.inspect},
		{v1alpha1.ConditionScanPassed, v1alpha1.PhaseScanning, run.scan},
		{v1alpha1.ConditionTestsPassed, v1alpha1.PhaseTesting, run.test},
		{v1alpha1.ConditionAttested, v1alpha1.PhaseAttesting, run.attest},
		{v1alpha1.ConditionSigned, v1alpha1.PhaseSigning, run.sign},
		{v1alpha1.ConditionVerified, v1alpha1.PhaseVerifying, run.verify},
		{v1alpha1.ConditionPromoted, v1alpha1.PhasePromoting, run.promote},
	}
}

type phase struct {
	condition string
	name      v1alpha1.BuildPhase
	// do returns what was done, or a pipeline fault.
	do func(context.Context) (done, error)
}

// done is a phase that the next one may follow.
type done struct {
	// message is what was done in a sentence.
	message string
	// reason of the condition. Default: Succeeded.
	reason string
	// unknown says that the condition is not True, although nothing is wrong.
	unknown bool
	at      time.Time
}

// advance returns the phases that are done, and why the next one is not.
func (run *buildRun) advance(ctx context.Context) ([]done, error) {
	ctx, cancel := context.WithTimeout(ctx, run.Config.Limits.Build.PassTimeout.Std())
	defer cancel()
	if err := run.turn(ctx); err != nil {
		return nil, err
	}
	return run.proceed(ctx)
}

// proceed goes on after the phases that this process has seen done.
func (run *buildRun) proceed(ctx context.Context) ([]done, error) {
	all := run.recall()
	phases := run.phases()
	for _, p := range phases[len(all):] {
		d, err := p.do(ctx)
		if err != nil {
			return all, run.inTime(err)
		}
		d.at = run.Clock.Now()
		all = append(all, d)
		run.remember(all)
	}
	return all, nil
}

// inTime makes anything that is not done a Terminal once the build's time is over. What was kept from running, by a
// registry that is away or a cluster without room, may be tried again.
func (run *buildRun) inTime(failure error) error {
	if run.suspended || run.Clock.Now().Before(run.deadline()) || pipeline.IsTerminal(failure) {
		return failure
	}
	return &pipeline.Terminal{Reason: v1alpha1.ReasonTimedOut, Retryable: !slices.Contains(underWay, reasonOf(failure)),
		Err: fmt.Errorf("spec.timeout of %s has passed: raise it, or mend what kept the build: %w", run.build.Spec.Timeout.Duration, plain{failure})}
}

// plain keeps the message of a fault and hides its type: it has become another fault.
type plain struct{ err error }

func (p plain) Error() string { return p.err.Error() }

// deadline counts from when the build left the queue, or from when Kueue let its last Job run.
func (run *buildRun) deadline() time.Time {
	start := run.build.Status.StartedAt.Time
	if run.resumed.After(start) {
		start = run.resumed
	}
	return start.Add(run.build.Spec.Timeout.Duration)
}

// next says when to come back for a failure that is not final.
func (run *buildRun) next(failure error) (ctrl.Result, error) {
	if run.build.Status.StartedAt == nil || run.suspended {
		return retry(failure)
	}
	left := max(run.deadline().Sub(run.Clock.Now()), 0) + time.Second
	w, waiting := errors.AsType[*pipeline.Waiting](failure)
	if waiting {
		return ctrl.Result{RequeueAfter: min(left, cmp.Or(w.After, left))}, nil
	}
	result, err := retry(failure)
	// A registry may ask for more patience than the build has.
	result.RequeueAfter = min(result.RequeueAfter, left)
	return result, err
}
