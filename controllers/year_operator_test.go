package controllers

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// agenda is what comes next. Its clock jumps from one thing to the next.
type agenda struct {
	clock *clocktesting.FakePassiveClock
	items items
	added int
}

type item struct {
	at time.Time
	// number keeps the order of things at the same time.
	number int
	do     func()
}

type items []item

func (q items) Len() int      { return len(q) }
func (q items) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q items) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || (q[i].at.Equal(q[j].at) && q[i].number < q[j].number)
}
func (q *items) Push(x any) { *q = append(*q, x.(item)) }
func (q *items) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (a *agenda) now() time.Time { return a.clock.Now() }

func (a *agenda) at(t time.Time, do func()) {
	if t.Before(a.now()) {
		t = a.now()
	}
	a.added++
	heap.Push(&a.items, item{t, a.added, do})
}

func (a *agenda) run(until time.Time) {
	for len(a.items) > 0 && a.items[0].at.Before(until) {
		next := heap.Pop(&a.items).(item)
		a.clock.SetTime(next.at)
		next.do()
	}
}

// work is an item of the work queue of one of the two controllers.
type work struct {
	kind string
	key  types.NamespacedName
}

// process is the operator from a start to its end: reconcilers with an empty memory, and their work queues. It does
// what SetupWithManager asks of controller-runtime.
type process struct {
	*year
	images *BaseImageReconciler
	builds *BuildReconciler
	// wakes are the times of the requests in the queues. As there, each is in it once, at the earlier time.
	wakes   map[work]time.Time
	backoff workqueue.TypedRateLimiter[work]
}

// start makes a process whose cache has been filled, and that is told of every object once.
func (y *year) start() {
	cfg := config.Default()
	cfg.Builds.MaxConcurrent = slots
	cached, live, recorder := y.cluster.cacheClient(), y.cluster.liveClient(), &events.FakeRecorder{}
	p := &process{year: y, wakes: map[work]time.Time{},
		backoff: workqueue.NewTypedItemExponentialFailureRateLimiter[work](firstRetry, lastRetry),
		images:  &BaseImageReconciler{Client: cached, Live: live, Git: y, Upstreams: y, Config: cfg, Events: recorder, Clock: y.clock},
		builds:  &BuildReconciler{Client: cached, Live: live, Config: cfg, Events: recorder, Clock: y.clock, queue: &queue{slots: slots}, memory: newMemory()},
	}
	p.builds.played = p.played
	p.builds.wake = func(keys []types.NamespacedName) {
		for _, key := range keys {
			p.add(work{kindBuild, key}, 0)
		}
	}
	y.cluster.cached = newStore()
	y.operator, y.told = p, map[string]time.Time{}
	for _, o := range y.cluster.live.all() {
		y.cluster.cached.put(o)
		p.add(work{kindOf(o), nameOf(o)}, 0)
	}
}

// stop ends the process; what it was about to be told is lost.
func (y *year) stop() { y.operator = nil }

func (p *process) add(r work, after time.Duration) {
	at := p.now().Add(after)
	if earlier, ok := p.wakes[r]; ok && !earlier.After(at) {
		return
	}
	p.wakes[r] = at
	p.at(at, func() {
		if p.operator == p && p.wakes[r].Equal(at) {
			delete(p.wakes, r)
			p.reconcile(r)
		}
	})
}

func (p *process) reconcile(r work) {
	p.passes++
	result, err := p.look(ctrl.Request{NamespacedName: r.key}, r.kind)
	switch {
	case errors.Is(err, errCrashed):
		p.restart(time.Duration(p.random.IntN(60)) * time.Second)
	case err != nil:
		p.add(r, p.backoff.When(r))
	default:
		p.backoff.Forget(r)
		if result.RequeueAfter > 0 {
			p.add(r, result.RequeueAfter)
		}
	}
}

func (p *process) look(r ctrl.Request, kind string) (ctrl.Result, error) {
	if kind == kindImage {
		return p.images.Reconcile(p.context, r)
	}
	return p.reconcileBuild(p.context, r)
}

// watch tells the process of a change, some time later and in the order of the changes of a kind.
func (p *process) watch(c change) {
	kind := kindOf(c.object())
	at := p.now().Add(time.Duration(p.random.IntN(int(watchDelay))))
	if p.told[kind].After(at) {
		at = p.told[kind]
	}
	p.told[kind] = at
	p.at(at, func() {
		if p.operator == p {
			p.take(c)
		}
	})
}

// take has the cache know of a change, and the controllers.
func (p *process) take(c change) {
	if c.after == nil {
		p.cluster.cached.remove(keyOf(c.before))
	} else {
		p.cluster.cached.put(c.after)
	}
	o := c.object()
	update := event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.after}
	news := c.before == nil || c.after == nil
	if kindOf(o) == kindImage {
		if news || c.before.GetGeneration() != c.after.GetGeneration() || !maps.Equal(c.before.GetAnnotations(), c.after.GetAnnotations()) {
			p.add(work{kindImage, nameOf(o)}, 0)
		}
		return
	}
	p.add(work{kindImage, types.NamespacedName{Namespace: o.GetNamespace(), Name: metav1.GetControllerOf(o).Name}}, 0)
	if news {
		p.add(work{kindBuild, nameOf(o)}, 0)
	}
	if news || comesOrGoes().Update(update) {
		for _, sibling := range p.builds.siblingsOf(p.context, o) {
			p.add(work{kindBuild, sibling.NamespacedName}, 0)
		}
	}
}

// reconcileBuild also forgets the Job of a build that has ended: it was cancelled.
func (p *process) reconcileBuild(ctx context.Context, r ctrl.Request) (ctrl.Result, error) {
	result, err := p.builds.Reconcile(ctx, r)
	build := &v1alpha1.BaseImageBuild{}
	if p.builds.Live.Get(ctx, r.NamespacedName, build) == nil && finished(build) {
		delete(p.jobs, build.Name)
	}
	return result, err
}

// played are the phases of a build: all of it is the Job's work.
func (p *process) played(run *buildRun) []phase {
	nothing := func(context.Context) (done, error) { return done{message: "done"}, nil }
	return []phase{
		{v1alpha1.ConditionBuilt, v1alpha1.PhaseBuilding, func(context.Context) (done, error) { return p.build(run) }},
		{v1alpha1.ConditionIndexed, v1alpha1.PhaseIndexing, nothing},
		{v1alpha1.ConditionPromoted, v1alpha1.PhasePromoting, nothing},
	}
}

func (p *process) build(run *buildRun) (done, error) {
	j := p.jobOf(run.build)
	if j.ends.After(p.now()) {
		return done{}, pipeline.Waitingf(v1alpha1.ReasonBuilding, "a Job runs")
	}
	switch j.outcome {
	case mayPass:
		return done{}, pipeline.Retryablef(pipeline.ReasonPodEvicted, "the pod was evicted")
	case forGood:
		return done{}, pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "an instruction failed")
	}
	run.build.Status.Digest = digestA
	return done{message: "built"}, nil
}

// playedJob is a Job of a build. The operator may be away when it ends.
type playedJob struct {
	ends    time.Time
	outcome outcome
}

func (y *year) jobOf(build *v1alpha1.BaseImageBuild) playedJob {
	if j, ok := y.jobs[build.Name]; ok {
		return j
	}
	image := y.byName[build.Spec.BaseImage]
	j := playedJob{ends: y.now().Add(image.takes), outcome: image.outcomeOf(y.now(), build.Spec.Attempt)}
	y.jobs[build.Name] = j
	y.noteLoad()
	key := nameOf(build)
	y.at(j.ends, func() {
		if p := y.operator; p != nil {
			p.add(work{kindBuild, key}, time.Duration(y.random.IntN(int(watchDelay))))
		}
	})
	return j
}

// noteLoad counts the Jobs that run side by side.
func (y *year) noteLoad() {
	running := 0
	for _, j := range y.jobs {
		if j.ends.After(y.now()) {
			running++
		}
	}
	y.load = max(y.load, running)
}
