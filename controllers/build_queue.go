package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// queue lets a number of builds run at the same time: those that somebody waits for before those of the schedule, and
// the older before the newer. It lives in memory; who has a slot is told by the builds themselves.
type queue struct {
	mu     sync.Mutex
	slots  int
	seeded bool
	// left are the builds that have ended before the queue was seeded.
	left    []types.NamespacedName
	running map[types.NamespacedName]bool
	// waiting in order.
	waiting []ticket
}

// ticket is a build's place in the order.
type ticket struct {
	key types.NamespacedName
	// urgent builds were requested, or have changed inputs.
	urgent  bool
	created time.Time
	// started builds have a slot, whatever the queue knows of them: another operator gave it to them.
	started bool
}

func ticketOf(build *v1alpha1.BaseImageBuild) ticket {
	return ticket{key: nameOf(build), urgent: isUrgent(build), created: build.CreationTimestamp.Time, started: build.Status.StartedAt != nil}
}

// isUrgent says of a build that it is more than a repetition: by the schedule, or of an attempt that failed.
func isUrgent(build *v1alpha1.BaseImageBuild) bool {
	return slices.ContainsFunc(build.Spec.Reasons, func(r v1alpha1.BuildReason) bool {
		return r.Type != v1alpha1.BuildReasonScheduled && r.Type != v1alpha1.BuildReasonRetried && r.Type != v1alpha1.BuildReasonCredentialsChanged
	})
}

func (t ticket) compare(other ticket) int {
	if t.urgent != other.urgent {
		if t.urgent {
			return -1
		}
		return 1
	}
	return cmp.Or(t.created.Compare(other.created), cmp.Compare(t.key.Namespace, other.key.Namespace), cmp.Compare(t.key.Name, other.key.Name))
}

// seed takes in the builds that ran before this process was there.
func (q *queue) seed(running []types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.seeded {
		return
	}
	q.seeded, q.running = true, map[types.NamespacedName]bool{}
	for _, key := range running {
		q.running[key] = true
	}
	for _, key := range q.left {
		delete(q.running, key)
	}
	q.left = nil
}

func (q *queue) isSeeded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.seeded
}

// enter returns a build's place in the queue, from 1, or 0 once it has a slot, which it keeps until it leaves; and the
// builds whose place it has changed.
func (q *queue) enter(t ticket) (int, []types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[t.key] {
		return 0, nil
	}
	was := slices.IndexFunc(q.waiting, func(w ticket) bool { return w.key == t.key })
	if was >= 0 && !t.started && q.waiting[was] == t {
		return was + 1, nil
	}
	var told []types.NamespacedName
	if was >= 0 { // It has started, or was made again under the same name.
		q.waiting = slices.Delete(q.waiting, was, was+1)
		told = q.moved(was, 1)
	}
	if t.started || len(q.running) < q.slots { // Where there is a slot, nobody waits.
		q.running[t.key] = true
		return 0, told
	}
	i, _ := slices.BinarySearchFunc(q.waiting, t, ticket.compare)
	q.waiting = slices.Insert(q.waiting, i, t)
	return i + 1, slices.Concat(told, q.moved(i+1, -1))
}

// leave gives a slot or a place back, and returns the builds that have to be told: those that have a slot now, and those
// whose place has changed.
func (q *queue) leave(key types.NamespacedName) []types.NamespacedName {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.IndexFunc(q.waiting, func(t ticket) bool { return t.key == key }); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return q.moved(i, 1)
	}
	if !q.seeded {
		q.left = append(q.left, key)
	}
	delete(q.running, key)
	var told []types.NamespacedName
	for len(q.waiting) > 0 && len(q.running) < q.slots {
		q.running[q.waiting[0].key] = true
		told = append(told, q.waiting[0].key)
		q.waiting = q.waiting[1:]
	}
	return slices.Concat(told, q.moved(0, len(told)))
}

// moved are the waiting builds from index i whose shown place was another one before they moved up by some places.
func (q *queue) moved(i, by int) []types.NamespacedName {
	var keys []types.NamespacedName
	for ; i < len(q.waiting) && by != 0; i++ {
		if shownPlace(i+1) != shownPlace(i+1+by) {
			keys = append(keys, q.waiting[i].key)
		}
	}
	return keys
}

// length returns how many builds run, and how many wait, with and without urgency.
func (q *queue) length() (running, urgent, scheduled int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.waiting {
		if t.urgent {
			urgent++
		} else {
			scheduled++
		}
	}
	return len(q.running), urgent, scheduled
}

// shownPlace is a place as the status has it: exact up to the tenth, then rounded up, so that a long queue is not
// written anew whenever a build ends.
func shownPlace(place int) int32 {
	step := 1
	for place > 10*step {
		step *= 10
	}
	return int32((place + step - 1) / step * step)
}

// turn waits until the build may run: it is the newest of its image, the one before has ended, and there is a slot.
func (run *buildRun) turn(ctx context.Context) error {
	siblings, err := run.siblings(ctx)
	if err != nil {
		return err
	}
	for i := range siblings {
		if other := &siblings[i]; other.Spec.Attempt > run.build.Spec.Attempt {
			run.superseded = true
			return pipeline.Terminalf(v1alpha1.ReasonSuperseded, "build %s has newer inputs (%s)", other.Name, describeReasons(other.Spec.Reasons))
		}
	}
	for i := range siblings {
		if other := &siblings[i]; other.Spec.Attempt < run.build.Spec.Attempt && !over(other) {
			return pipeline.Waitingf(v1alpha1.ReasonQueued, "build %s, whose place it takes, is being cancelled", other.Name)
		}
	}
	if err := run.seedQueue(ctx); err != nil {
		return err
	}
	place, moved := run.queue.enter(ticketOf(run.build))
	run.wake(moved)
	run.build.Status.QueuePosition = nil
	if place > 0 {
		run.build.Status.QueuePosition = new(shownPlace(place))
		return pipeline.Waitingf(v1alpha1.ReasonQueued, "it is number %d in the queue of builds, of which %d run at the same time (builds.maxConcurrent of the operator's configuration)", shownPlace(place), run.queue.slots)
	}
	if run.build.Status.StartedAt == nil {
		run.build.Status.StartedAt = new(metav1.NewTime(run.Clock.Now()))
	}
	return nil
}

// siblings are the builds of the same image, this one included. One that belongs to no image is refused: nobody would
// know which one's tags it moves.
func (run *buildRun) siblings(ctx context.Context) ([]v1alpha1.BaseImageBuild, error) {
	owner := metav1.GetControllerOf(run.build)
	if owner == nil || owner.Kind != "BaseImage" {
		return nil, pipeline.Terminalf(v1alpha1.ReasonConflict, "BaseImageBuild %s belongs to no BaseImage: builds are made by the operator; delete it, and annotate the BaseImage with %s", run.build.Name, v1alpha1.BuildRequestedAtAnnotation)
	}
	list := &v1alpha1.BaseImageBuildList{}
	if err := run.List(ctx, list, client.InNamespace(run.build.Namespace), client.MatchingFields{indexOwner: string(owner.UID)}); err != nil {
		return nil, fmt.Errorf("listing the builds of %s: %w", owner.Name, err)
	}
	return list.Items, nil
}

// seedQueue tells the queue, once, which builds run already: they have started, or have a Job.
func (run *buildRun) seedQueue(ctx context.Context) error {
	if run.queue.isSeeded() {
		return nil
	}
	jobs := &batchv1.JobList{}
	if err := run.List(ctx, jobs, client.MatchingLabels{job.LabelManagedBy: job.ManagedBy}); err != nil {
		return fmt.Errorf("listing Jobs: %w", err)
	}
	started := map[types.UID]bool{}
	for i := range jobs.Items {
		if owner := metav1.GetControllerOf(&jobs.Items[i]); owner != nil {
			started[owner.UID] = true
		}
	}
	builds := &v1alpha1.BaseImageBuildList{}
	if err := run.List(ctx, builds); err != nil {
		return fmt.Errorf("listing builds: %w", err)
	}
	var running []types.NamespacedName
	for i := range builds.Items {
		build := &builds.Items[i]
		if !over(build) && (build.Status.StartedAt != nil || started[build.UID]) {
			running = append(running, nameOf(build))
		}
	}
	run.queue.seed(running)
	return nil
}

// siblingsOf are the builds that a change of another one concerns: those of the same image that have not ended.
func (r *BuildReconciler) siblingsOf(ctx context.Context, o client.Object) []ctrl.Request {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return nil
	}
	list := &v1alpha1.BaseImageBuildList{}
	if err := r.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{indexOwner: string(owner.UID)}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the builds of an image", "baseImage", owner.Name)
		return nil
	}
	var requests []ctrl.Request
	for i := range list.Items {
		if other := &list.Items[i]; other.UID != o.GetUID() && !over(other) {
			requests = append(requests, ctrl.Request{NamespacedName: nameOf(other)})
		}
	}
	return requests
}

// comesOrGoes are the events of a build that concern other builds: it is new, has ended or was deleted.
func comesOrGoes() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.BaseImageBuild)
			after, same := e.ObjectNew.(*v1alpha1.BaseImageBuild)
			return ok && same && over(before) != over(after)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
