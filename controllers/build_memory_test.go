package controllers

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// remembering is a reconciler whose builds have two phases: one that finds an image, and one that waits.
func remembering(t *testing.T, found map[types.UID]int) *BuildReconciler {
	r := &BuildReconciler{Config: config.Default(), Clock: clocktesting.NewFakePassiveClock(at(t, "2026-11-23T10:00:00Z")), memory: newMemory()}
	r.played = func(run *buildRun) []phase {
		return []phase{
			{v1alpha1.ConditionIndexed, v1alpha1.PhaseIndexing, func(context.Context) (done, error) {
				found[run.build.UID]++
				run.digests = map[string]string{"linux/amd64": digestA}
				run.build.Status.Digest = digestA
				return done{message: "found"}, nil
			}},
			{v1alpha1.ConditionScanPassed, v1alpha1.PhaseScanning, func(context.Context) (done, error) {
				return done{}, pipeline.Waitingf(v1alpha1.ReasonScanning, "a Job runs")
			}},
		}
	}
	return r
}

// passOver is one over a build whose status is as the cache has it: without what the pass before has found.
func passOver(t *testing.T, r *BuildReconciler, uid types.UID) (*buildRun, []done) {
	t.Helper()
	build := attempt(1, v1alpha1.PhaseIndexing, "SpecChanged")
	build.UID = uid
	build.Status.StartedAt = &build.CreationTimestamp
	run := &buildRun{BuildReconciler: r, build: &build}
	all, err := run.proceed(t.Context())
	if err == nil {
		t.Fatal("the second phase waits")
	}
	return run, all
}

func TestAPhaseThatIsDoneIsNotLookedAtAgain(t *testing.T) {
	found := map[types.UID]int{}
	r := remembering(t, found)
	for range 3 {
		run, all := passOver(t, r, "one")
		if len(all) != 1 || all[0].message != "found" || run.build.Status.Digest != digestA || run.digests["linux/amd64"] != digestA {
			t.Errorf("a pass has %+v, %q and %v", all, run.build.Status.Digest, run.digests)
		}
	}
	// One that was deleted and made again under the same name is another build.
	passOver(t, r, "other")
	if found["one"] != 1 || found["other"] != 1 {
		t.Errorf("looked %v times, want once for each build", found)
	}
	// Another process believes nobody.
	passOver(t, remembering(t, found), "one")
	if found["one"] != 2 {
		t.Error("another process has not looked for itself")
	}
}

// ending is a reconciler whose builds fail, on a cluster with one build that the cache knows; passes counts their passes.
func ending(t *testing.T, passes *int) (*BuildReconciler, *v1alpha1.BaseImageBuild) {
	t.Helper()
	r := remembering(t, nil)
	c := newCluster(nil, r.Clock.Now, func(change) {})
	build := attempt(1, "", "SpecChanged")
	build.OwnerReferences = []metav1.OwnerReference{{Kind: "BaseImage", Name: "one", UID: "image", Controller: new(true)}}
	if err := c.create(&build); err != nil {
		t.Fatal(err)
	}
	c.cached.put(build.DeepCopy())
	r.Client, r.Live, r.Events = c.cacheClient(), c.liveClient(), events.NewFakeRecorder(10)
	r.queue, r.wake = &queue{slots: 1, seeded: true, running: map[types.NamespacedName]bool{}}, func([]types.NamespacedName) {}
	r.played = func(*buildRun) []phase {
		return []phase{{v1alpha1.ConditionBuilt, v1alpha1.PhaseBuilding, func(context.Context) (done, error) {
			*passes++
			return done{}, pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "an instruction failed")
		}}}
	}
	return r, &build
}

func TestABuildThatHasEndedIsLeftAloneByACacheThatIsBehind(t *testing.T) {
	passes := 0
	r, build := ending(t, &passes)
	for range 3 {
		if result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: nameOf(build)}); err != nil || result.RequeueAfter != 0 {
			t.Errorf("a pass asks for another one after %s: %v", result.RequeueAfter, err)
		}
	}
	now := &v1alpha1.BaseImageBuild{}
	if err := r.Live.Get(t.Context(), nameOf(build), now); err != nil || now.Status.Phase != v1alpha1.PhaseFailed || passes != 1 {
		t.Errorf("after %d passes the build is %s: %v", passes, now.Status.Phase, err)
	}
	if running, _, _ := r.queue.length(); running != 0 {
		t.Errorf("%d builds have a slot", running)
	}
}

func TestABuildWhoseEndWasNotWrittenIsLookedAtAgain(t *testing.T) {
	passes := 0
	r, build := ending(t, &passes)
	r.Client.(view).crash = true
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: nameOf(build)}); !errors.Is(err, errCrashed) {
		t.Fatalf("the pass ends with %v", err)
	}
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: nameOf(build)}); err != nil || passes != 2 {
		t.Errorf("after %d passes: %v", passes, err)
	}
}
