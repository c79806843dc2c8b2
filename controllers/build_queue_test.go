package controllers

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func place(name string, urgent bool, created int) ticket {
	return ticket{key: types.NamespacedName{Namespace: "images", Name: name}, urgent: urgent, created: time.Unix(int64(created), 0)}
}

// enter is a build's place alone.
func enter(q *queue, t ticket) int {
	place, _ := q.enter(t)
	return place
}

func newQueue(slots int, running ...types.NamespacedName) *queue {
	q := &queue{slots: slots}
	q.seed(running)
	return q
}

func TestTheQueueLetsUrgentBuildsPassAndKeepsTheirOrder(t *testing.T) {
	q := newQueue(1)
	if got := enter(q, place("first", false, 1)); got != 0 {
		t.Fatalf("place of the first = %d, want a slot", got)
	}
	tickets := []ticket{place("scheduled, later", false, 5), place("scheduled", false, 2), place("requested", true, 4), place("changed", true, 3)}
	for _, p := range tickets {
		if enter(q, p) == 0 {
			t.Fatalf("%s has a slot while another one runs", p.key.Name)
		}
	}
	var order []string
	running := "first"
	for range tickets {
		q.leave(types.NamespacedName{Namespace: "images", Name: running})
		// They look in any order.
		running = ""
		for _, p := range tickets {
			if !slices.Contains(order, p.key.Name) && enter(q, p) == 0 {
				running = p.key.Name
			}
		}
		order = append(order, running)
	}
	if want := []string{"changed", "requested", "scheduled", "scheduled, later"}; !slices.Equal(order, want) {
		t.Errorf("order = %v, want %v", order, want)
	}
}

func TestASlotIsKeptUntilItIsGivenBack(t *testing.T) {
	q := newQueue(2)
	a, b, c := place("a", true, 1), place("b", true, 2), place("c", true, 3)
	for _, p := range []ticket{a, b, a, b} {
		if got := enter(q, p); got != 0 {
			t.Fatalf("place of %s = %d, want a slot", p.key.Name, got)
		}
	}
	if got := enter(q, c); got != 1 {
		t.Fatalf("place of the third = %d, want 1", got)
	}
	if told := q.leave(a.key); !slices.Equal(told, []types.NamespacedName{c.key}) {
		t.Errorf("told %v, want the third", told)
	}
	if told := q.leave(a.key); len(told) != 0 {
		t.Errorf("leaving twice told %v", told)
	}
	if got := enter(q, c); got != 0 {
		t.Errorf("place of the third = %d, want the slot that is free", got)
	}
}

func TestBuildsThatRanBeforeTheOperatorKeepTheirSlots(t *testing.T) {
	before := place("before", false, 9)
	q := newQueue(1, before.key)
	if got := enter(q, place("urgent", true, 1)); got != 1 {
		t.Errorf("place of a new build = %d, want 1", got)
	}
	if got := enter(q, before); got != 0 {
		t.Errorf("place of the build that runs = %d, want its slot", got)
	}
	q.seed(nil) // Only the first counts.
	if got := enter(q, before); got != 0 {
		t.Errorf("place of the build that runs = %d after another seed", got)
	}
}

func TestABuildThatHasStartedNeverWaits(t *testing.T) {
	q := newQueue(1)
	enter(q, place("running", true, 1))
	late := place("late", false, 2)
	if got := enter(q, late); got != 1 {
		t.Fatalf("place = %d, want 1", got)
	}
	behind := place("behind", false, 3)
	enter(q, behind)
	late.started = true // The cache was behind, and another operator had given it a slot.
	if got, told := q.enter(late); got != 0 || !slices.Equal(told, []types.NamespacedName{behind.key}) {
		t.Errorf("place = %d, told %v; want a slot, and the one behind", got, told)
	}
	if told := q.leave(late.key); len(told) != 0 {
		t.Errorf("told %v, where one still runs in the only slot", told)
	}
	if told := q.leave(place("running", true, 1).key); !slices.Equal(told, []types.NamespacedName{behind.key}) {
		t.Errorf("told %v, want the one that may run", told)
	}
}

func TestABuildThatIsMadeAgainUnderItsNameLeavesNothingBehind(t *testing.T) {
	q := newQueue(1)
	a, next := place("a", true, 1), place("next", true, 10)
	enter(q, a)
	enter(q, place("b", true, 2))
	if got := enter(q, place("b", true, 9)); got != 1 { // kubectl replace --force
		t.Fatalf("place = %d, want 1", got)
	}
	enter(q, next)
	q.leave(a.key)
	q.leave(place("b", true, 9).key)
	if got := enter(q, next); got != 0 {
		t.Errorf("place of the next = %d, want the slot", got)
	}
}

func TestABuildThatEndsBeforeTheSeedTakesNoSlot(t *testing.T) {
	q := &queue{slots: 1}
	ended := place("ended", true, 1)
	q.leave(ended.key)
	q.seed([]types.NamespacedName{ended.key})
	if got := enter(q, place("next", true, 2)); got != 0 {
		t.Errorf("place of the next = %d, want the slot", got)
	}
}

func TestABuildThatGoesAwayWhileItWaitsMakesRoom(t *testing.T) {
	q := newQueue(1)
	a, b, c := place("a", true, 1), place("b", true, 2), place("c", true, 3)
	enter(q, a)
	enter(q, b)
	enter(q, c)
	if told := q.leave(b.key); !slices.Equal(told, []types.NamespacedName{c.key}) {
		t.Errorf("told %v, want the one behind", told)
	}
	if got := enter(q, c); got != 1 {
		t.Errorf("place = %d, want 1", got)
	}
}

func TestALongQueueIsNotWrittenAnewForEachBuild(t *testing.T) {
	const waiting = 5000
	q := newQueue(1)
	for i := range waiting + 1 {
		enter(q, place(fmt.Sprintf("%05d", i), false, i))
	}
	told := q.leave(types.NamespacedName{Namespace: "images", Name: "00000"})
	if len(told) > 100 {
		t.Errorf("%d builds are told that one has ended", len(told))
	}
	for p, want := range map[int]int32{1: 1, 10: 10, 11: 20, 20: 20, 99: 100, 100: 100, 101: 200, 4999: 5000} {
		if got := shownPlace(p); got != want {
			t.Errorf("place %d reads %d, want %d", p, got, want)
		}
	}
}

func TestTheQueueNeverLetsMoreRunThanItHasSlots(t *testing.T) {
	q := newQueue(3)
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				p := place(fmt.Sprintf("%d-%d", worker, i), i%3 == 0, i)
				for enter(q, p) > 0 {
					runtime.Gosched()
				}
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				mu.Lock()
				running--
				done++
				mu.Unlock()
				q.leave(p.key)
			}
		})
	}
	wg.Wait()
	if most > 3 || done != 8*200 {
		t.Errorf("%d ran side by side, %d in all; want at most 3, 1600", most, done)
	}
}

func TestThoseBehindAnUrgentBuildAreTold(t *testing.T) {
	q := newQueue(1)
	a, b := place("a", false, 1), place("b", false, 2)
	for _, p := range []ticket{place("running", false, 0), a, b} {
		enter(q, p)
	}
	if got, told := q.enter(place("urgent", true, 9)); got != 1 || !slices.Equal(told, []types.NamespacedName{a.key, b.key}) {
		t.Errorf("place = %d, told %v; want the first, and both that are behind", got, told)
	}
	if got := enter(q, b); got != 3 {
		t.Errorf("place of the last = %d, want 3", got)
	}
}

func TestWhatIsUrgent(t *testing.T) {
	for reasons, want := range map[string]bool{
		"Scheduled": false, "Retried": false, "Requested": true, "SpecChanged": true,
		"Scheduled,UpstreamChanged": true, "Scheduled,SourceChanged": true, "CredentialsChanged": false, "BuildDeleted": true,
	} {
		build := &v1alpha1.BaseImageBuild{}
		for _, r := range splitReasons(reasons) {
			build.Spec.Reasons = append(build.Spec.Reasons, v1alpha1.BuildReason{Type: r})
		}
		if got := isUrgent(build); got != want {
			t.Errorf("%s is urgent: %t, want %t", reasons, got, want)
		}
	}
}

func splitReasons(s string) []v1alpha1.BuildReasonType {
	var out []v1alpha1.BuildReasonType
	for part := range strings.SplitSeq(s, ",") {
		out = append(out, v1alpha1.BuildReasonType(part))
	}
	return out
}
