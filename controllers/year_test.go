package controllers

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

// watchDelay is how far the operator's cache is behind at most.
const watchDelay = 600 * time.Millisecond

// year is the simulation: a cluster, an operator that comes and goes, and what happens to a hundred images.
type year struct {
	*agenda
	context  context.Context
	random   *rand.Rand
	cluster  *cluster
	operator *process // nil while it is down
	told     map[string]time.Time
	lives    []*life
	byName   map[string]*life
	jobs     map[string]playedJob
	load     int // most Jobs at a time
	passes   int
	downs    []period
}

// A year of a hundred images: every run of every schedule is met, nothing else builds, and nothing is lost, whatever
// happens to the operator.
func TestAYearOfAHundredImages(t *testing.T) {
	y := simulate(t)
	totals := map[string]int{}
	calendar := calendars(t, y.lives, totals)
	failed := 0
	for _, l := range y.lives {
		o := newOracle(l, calendar[l.schedule.cron+l.zone], y.downs, y.now())
		o.check()
		if kept := len(y.cluster.live.byField[indexOwner+"="+string(y.uidOf(l))]); kept > 7 {
			t.Errorf("%s keeps %d builds, want three that succeeded, three that did not, and the newest", l.name, kept)
		}
		if len(o.problems) > 0 {
			if failed++; failed <= 3 {
				t.Errorf("%s (%q in %s): %s, and %d more\n%s", l.name, l.schedule.cron, l.zone, o.problems[0].text, len(o.problems)-1, o.timeline())
			}
		}
		o.tally(totals)
	}
	if y.load > slots {
		t.Errorf("%d builds ran at a time, want at most %d", y.load, slots)
	}
	for _, what := range []string{"on time", "late", "missed", "folded", "skipped by the clock", "shown twice", "Superseded", "Succeeded", "Failed",
		"SpecChanged", "SourceChanged", "UpstreamChanged", "Requested", "Retried", "Scheduled"} {
		if totals[what] == 0 {
			t.Errorf("the year had nothing that is %q: it does not test that", what)
		}
	}
	t.Logf("%d passes, %d writes, %d restarts, at most %d Jobs, %d images wrong: %v", y.passes, y.cluster.writes, len(y.downs), y.load, failed, totals)
}

// calendars are the ticks of all schedules that are used.
func calendars(t *testing.T, lives []*life, totals map[string]int) map[string][]time.Time {
	t.Helper()
	found := map[string][]time.Time{}
	for _, l := range lives {
		key := l.schedule.cron + l.zone
		if _, ok := found[key]; ok {
			continue
		}
		zone, err := time.LoadLocation(l.zone)
		if err != nil {
			t.Fatal(err)
		}
		runs, skipped, repeated := ticks(l.schedule, zone)
		found[key] = runs
		totals["skipped by the clock"] += skipped
		totals["shown twice"] += repeated
	}
	return found
}

func simulate(t *testing.T) *year {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(2026, 100))
	y := &year{agenda: &agenda{clock: clocktesting.NewFakePassiveClock(newYear)}, context: t.Context(), random: random,
		lives: hundred(random), byName: map[string]*life{}, jobs: map[string]playedJob{}}
	y.cluster = newCluster(scheme, y.now, y.changed)
	for _, l := range y.lives {
		y.byName[l.name] = l
		y.plan(l)
	}
	y.disturb()
	y.start()
	end := newYear.AddDate(1, 0, 0)
	y.run(end)
	y.clock.SetTime(end)
	return y
}

func (y *year) uidOf(l *life) types.UID {
	return y.cluster.live.objects[objectKey{kindImage, types.NamespacedName{Namespace: "images", Name: l.name}}].GetUID()
}

// plan puts what people do to an image on the agenda. Sources and upstreams need no event: they are asked.
func (y *year) plan(l *life) {
	y.at(l.created, func() {
		if err := y.cluster.create(l.object()); err != nil {
			panic(err)
		}
	})
	key := types.NamespacedName{Namespace: "images", Name: l.name}
	for _, c := range l.causes {
		y.at(c.at, func() { y.cluster.edit(key, func(image *v1alpha1.BaseImage) { l.edit(image, c) }) })
	}
}

func (l *life) edit(image *v1alpha1.BaseImage, c cause) {
	switch c.kind {
	case specEdited:
		image.Spec.BuildArgs = []v1alpha1.BuildArg{{Name: "EDITED", Value: timestamp(c.at)}}
	case requested:
		image.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: timestamp(c.at)}
	case suspended, resumed:
		image.Spec.Suspend = c.kind == suspended
	}
}

// disturb has the operator end fifty times and start again within a minute, often while builds run and some times in the
// middle of a pass; and it is down for hours twice, and for three days.
func (y *year) disturb() {
	outages := []period{{on(time.February, 14, 20), on(time.February, 15, 6)}, {on(time.July, 5, 1), on(time.July, 5, 4)}, {on(time.August, 28, 12), on(time.August, 31, 12)}}
	for _, p := range outages {
		y.at(p.from, func() { y.restart(p.to.Sub(p.from)) })
	}
	sunday := on(time.January, 4, 0)
	for i := range 50 {
		at := sometime(y.random)
		if i%2 == 0 {
			at = sunday.AddDate(0, 0, 7*(i+1)).Add(time.Duration(y.random.IntN(4*3600)) * time.Second)
		}
		y.at(at, func() {
			if y.cluster.crash = i%3 == 0; !y.cluster.crash {
				y.restart(time.Duration(y.random.IntN(60)) * time.Second)
			}
		})
	}
	// Between the two times that a clock shows what it shows twice.
	for _, at := range []time.Time{on(time.October, 25, 1), on(time.November, 1, 6), on(time.April, 4, 15), on(time.April, 5, 3)} {
		y.at(at, func() { y.restart(time.Second) })
	}
}

// restart ends the operator, and starts it after a while.
func (y *year) restart(after time.Duration) {
	if y.operator == nil {
		return
	}
	y.downs = append(y.downs, period{y.now(), y.now().Add(after)})
	y.stop()
	y.at(y.now().Add(after), y.start)
}

// changed notes the builds, and has the operator told.
func (y *year) changed(c change) {
	after, isBuild := c.after.(*v1alpha1.BaseImageBuild)
	if isBuild {
		l := y.byName[after.Spec.BaseImage]
		if c.before == nil {
			l.built = append(l.built, &record{created: y.now(), ended: farAway})
		}
		r := l.built[after.Spec.Attempt-1]
		if r.BaseImageBuild = *after; finished(after) && r.ended.Equal(farAway) {
			r.ended = y.now()
		}
	}
	if y.operator != nil {
		y.operator.watch(c)
	}
}

// ResolveGit, Resolve and Poll answer for git servers and registries.
func (y *year) ResolveGit(_ context.Context, git source.Git, _ string) (pipeline.Revision, error) {
	l := y.byName[strings.TrimPrefix(git.URL, "https://git.example/")]
	return pipeline.Revision{ID: fmt.Sprintf("%040x", l.count(sourceMoved, y.now())), Time: newYear, Dockerfile: l.dockerfile()}, nil
}

func (y *year) Resolve(_ context.Context, requests []upstream.Request, _ upstream.Refresh) ([]pipeline.Upstream, error) {
	var found []pipeline.Upstream
	for _, r := range requests {
		l := y.byName[strings.TrimSuffix(strings.TrimPrefix(r.Ref, "registry.example/upstream/"), ":1")]
		digest := fmt.Sprintf("sha256:%064x", l.count(upstreamMoved, y.now()))
		found = append(found, pipeline.Upstream{Ref: r.Ref, Name: r.Ref, Digest: digest, Pull: r.Ref + "@" + digest})
	}
	return found, nil
}

func (y *year) Poll(ctx context.Context, requests []upstream.Request, refresh upstream.Refresh) ([]pipeline.Upstream, error) {
	return y.Resolve(ctx, requests, refresh)
}

// tally counts what the year had in it.
func (o *oracle) tally(totals map[string]int) {
	maps.Copy(totals, map[string]int{"on time": totals["on time"] + o.onTime, "late": totals["late"] + o.late,
		"missed": totals["missed"] + o.skipped, "folded": totals["folded"] + o.folded})
	for _, r := range o.built {
		totals[string(r.Status.Phase)]++
		for reason := range strings.SplitSeq(r.Spec.Reason, ",") {
			totals[reason]++
		}
	}
}

// timeline is what happened around the first problem.
func (o *oracle) timeline() string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	note := func(at time.Time, format string, args ...any) {
		if first := o.problems[0].at; at.After(first.AddDate(0, 0, -8)) && at.Before(first.AddDate(0, 0, 8)) {
			lines = append(lines, line{at, fmt.Sprintf(format, args...)})
		}
	}
	for _, p := range o.problems {
		note(p.at, "!!! %s", p.text)
	}
	for _, run := range o.runs {
		note(run, "a run of the schedule")
	}
	for _, c := range o.causes {
		note(c.at, "%s", c.kind)
	}
	for _, p := range o.away {
		note(p.from, "away until %s", p.to.Format(time.DateTime))
	}
	for _, r := range o.built {
		note(r.created, "%s is made: %s, for %s", r.Name, r.Spec.Reason, r.Spec.Inputs.ScheduledFor)
		note(r.ended, "%s has ended: %s", r.Name, r.Status.Phase)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "  %s  %s\n", l.at.UTC().Format("Mon 2006-01-02 15:04:05"), l.text)
	}
	return text.String()
}
