package controllers

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

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
