package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// record is a build that was made, by the true time and not by the apiserver's clock.
type record struct {
	v1alpha1.BaseImageBuild
	created time.Time
	// ended is far away while the build runs.
	ended time.Time
}

var farAway = newYear.AddDate(100, 0, 0)

func (r *record) has(reason string) bool {
	return slices.Contains(strings.Split(r.Spec.Reason, ","), reason)
}

// patience is how long a decision may take: the reconciler comes a second after a run, and watches are a little behind.
const patience = 10 * time.Second

// oracle says of one image which builds there have to be. It knows the calendar, what happened and when, and how long
// each build took; it knows nothing of how the operator decides.
type oracle struct {
	*life
	runs            []time.Time
	jitter, within  time.Duration
	away            []period // the operator is down, or the image is suspended
	suspended       []period
	end             time.Time
	problems        []problem
	onTime, late    int
	skipped, folded int
}

type problem struct {
	at   time.Time
	text string
}

func newOracle(l *life, ticks []time.Time, downs []period, end time.Time) *oracle {
	o := &oracle{life: l, jitter: 30 * time.Minute, within: 24 * time.Hour, end: end}
	if l.jitter != nil {
		o.jitter = *l.jitter
	}
	if l.deadline != nil {
		o.within = *l.deadline
	}
	for i, c := range l.sorted() {
		if c.kind == suspended {
			o.suspended = append(o.suspended, period{c.at, l.next(i, resumed)})
		}
	}
	o.away = slices.Concat(downs, o.suspended)
	o.learn(ticks)
	return o
}

func (l *life) sorted() []cause {
	slices.SortStableFunc(l.causes, func(a, b cause) int { return a.at.Compare(b.at) })
	return l.causes
}

func (l *life) next(i int, kind causeKind) time.Time {
	for _, c := range l.causes[i:] {
		if c.kind == kind {
			return c.at
		}
	}
	return farAway
}

// learn takes the image's share of the jitter from its first scheduled build. All others have to have the same.
func (o *oracle) learn(ticks []time.Time) {
	i := slices.IndexFunc(o.built, func(r *record) bool { return r.has("Scheduled") })
	if i < 0 {
		o.wrong(o.created, "the schedule never built")
		return
	}
	first := scheduledFor(o.built[i])
	after, _ := slices.BinarySearchFunc(ticks, first.Add(time.Second), time.Time.Compare)
	offset := first.Sub(ticks[after-1])
	if offset > 0 && offset >= o.jitter {
		o.wrong(first, "a run is %s after %s, the jitter is %s", offset, ticks[after-1], o.jitter)
	}
	for _, t := range ticks {
		if run := t.Add(offset); run.After(o.created) && run.Before(o.end) {
			o.runs = append(o.runs, run)
		}
	}
}

func scheduledFor(r *record) time.Time {
	t, err := time.Parse(time.RFC3339, r.Spec.Inputs.ScheduledFor)
	if err != nil {
		return time.Time{}
	}
	return t
}

func (o *oracle) wrong(at time.Time, format string, args ...any) {
	o.problems = append(o.problems, problem{at, fmt.Sprintf(format, args...)})
}

// check looks at each build for its reasons, and at each reason for its build.
func (o *oracle) check() {
	for k := range o.built {
		o.checkReasons(k)
		o.checkMoment(k)
	}
	for _, run := range o.runs {
		o.checkRun(run)
	}
	for _, c := range o.causes {
		o.checkCause(c)
	}
	slices.SortStableFunc(o.problems, func(a, b problem) int { return a.at.Compare(b.at) })
}

// checkReasons: a build tells exactly what has happened since the one before.
func (o *oracle) checkReasons(k int) {
	r := o.built[k]
	want, since := []string{}, o.created
	if k > 0 {
		since = o.built[k-1].created
	}
	for _, kind := range []causeKind{specEdited, requested, sourceMoved, upstreamMoved} {
		if o.count(kind, r.created) > o.count(kind, since) || (kind == specEdited && k == 0) {
			want = append(want, string(kind))
		}
	}
	if o.checkScheduledFor(k, since) {
		want = append(want, "Scheduled")
	}
	var retry int32
	if len(want) == 0 && k > 0 && o.again(o.built[k-1]) {
		want, retry = []string{"Retried"}, o.built[k-1].Spec.Retry+1
	}
	got := strings.Split(r.Spec.Reason, ",")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || r.Spec.Retry != retry || r.Spec.Attempt != int64(k+1) {
		o.wrong(r.created, "%s has the reasons %v as attempt %d, retry %d; want %v, %d, %d", r.Name, got, r.Spec.Attempt, r.Spec.Retry, want, k+1, retry)
	}
}

// checkScheduledFor: a build that the schedule asks for is for the last run, any other one remembers the run before.
func (o *oracle) checkScheduledFor(k int, since time.Time) bool {
	r, want := o.built[k], time.Time{}
	if k > 0 {
		want = scheduledFor(o.built[k-1])
	}
	run, due := o.due(since, r.created)
	if due {
		want = run
	}
	if !scheduledFor(r).Equal(want) {
		o.wrong(r.created, "%s is for the run of %q, want %s", r.Name, r.Spec.Inputs.ScheduledFor, timestamp(want))
	}
	return due
}

// due is the last run after one time and up to another one that is not too old.
func (o *oracle) due(since, now time.Time) (time.Time, bool) {
	for _, run := range slices.Backward(o.runs) {
		if !run.After(now) {
			return run, run.After(since) && now.Sub(run) <= o.within
		}
	}
	return time.Time{}, false
}

// again says whether a build's failure asks for another attempt.
func (o *oracle) again(r *record) bool {
	limit := int32(3)
	if o.retries != nil {
		limit = *o.retries
	}
	return r.Status.Phase == v1alpha1.PhaseFailed && r.Status.Retryable && r.Spec.Retry < limit
}

// checkMoment: a build starts when it may, and ends.
func (o *oracle) checkMoment(k int) {
	r := o.built[k]
	for _, p := range o.suspended {
		if p.has(r.created) && r.created.After(p.from.Add(patience)) {
			o.wrong(r.created, "%s was made while the image was suspended", r.Name)
		}
	}
	if k > 0 && r.created.Before(o.built[k-1].ended) {
		inputs := r.has("SourceChanged") || r.has("UpstreamChanged")
		if !r.has("SpecChanged") && (!inputs || o.built[k-1].Spec.Supersedes != "") {
			o.wrong(r.created, "%s was made while %s ran", r.Name, o.built[k-1].Name)
		}
	}
	if r.ended.Equal(farAway) && r.created.Before(o.end.AddDate(0, 0, -1)) {
		o.wrong(r.created, "%s has not ended for a day", r.Name)
	}
	o.checkRetry(k)
}

// checkRetry: after a failure that may pass, another attempt follows in its time, neither before nor later.
func (o *oracle) checkRetry(k int) {
	r := o.built[k]
	pause := []time.Duration{time.Minute, 4 * time.Minute, 16 * time.Minute, time.Hour}[min(r.Spec.Retry, 3)]
	if !o.again(r) {
		return
	}
	if k+1 < len(o.built) && o.built[k+1].has("Retried") && o.built[k+1].created.Before(r.ended.Add(pause-time.Second)) {
		o.wrong(r.ended, "%s failed, and was tried again before %s had passed", r.Name, pause)
	}
	o.follows(r.ended, o.able(r.ended.Add(pause+pause/4), farAway), "a retry")
}

// checkRun: a run of the schedule has a build as soon as there may be one, if that is not too late.
func (o *oracle) checkRun(run time.Time) {
	able := o.able(run, run)
	switch next, _ := slices.BinarySearchFunc(o.runs, run.Add(time.Second), time.Time.Compare); {
	case able.Add(patience).Sub(run) > o.within:
		o.skipped++ // checkReasons sees that no build is for it.
		return
	case next < len(o.runs) && !o.runs[next].After(able):
		o.folded++
	case able.Equal(run):
		o.onTime++
	default:
		o.late++
	}
	o.follows(run, able, "a run of the schedule")
}

// checkCause: what somebody changed has a build as soon as there may be one, or once it is looked for.
func (o *oracle) checkCause(c cause) {
	switch c.kind {
	case specEdited:
		o.follows(c.at, o.able(c.at, newYear), "an edited spec")
	case requested:
		o.follows(c.at, o.able(c.at, c.at), "a request")
	case sourceMoved:
		o.isSeen(c.at, o.pollSource, "a commit")
	case upstreamMoved:
		o.isSeen(c.at, o.pollUpstream, "an upstream image")
	}
}

// able is the first moment, from t on, at which the operator is there, the image is not suspended, and no build that
// was made before a time runs.
func (o *oracle) able(t, madeBefore time.Time) time.Time {
	for before := (time.Time{}); !t.Equal(before); {
		before = t
		for _, p := range o.away {
			if p.has(t) {
				t = p.to
			}
		}
		for _, r := range o.built {
			if r.created.Before(madeBefore) && (period{r.created, r.ended}).has(t) {
				t = r.ended
			}
		}
	}
	return t
}

// isSeen: what nobody tells of is found by the next poll. A poll that falls into a time in which the operator can't act
// on it is not made up for.
func (o *oracle) isSeen(at time.Time, interval time.Duration, what string) {
	if interval == 0 {
		return
	}
	t := at
	for i := 0; i < len(o.away); i++ {
		if p := o.away[i]; p.to.After(t) && p.from.Before(t.Add(interval+patience)) {
			t, i = p.to, -1
		}
	}
	// A build that has itself taken the place of another one runs to its end first.
	o.follows(at, o.able(t.Add(interval), at), what)
}

// follows: the first build after a time is there soon after another time.
func (o *oracle) follows(at, able time.Time, what string) {
	if able.Add(patience).After(o.end) {
		return
	}
	i := slices.IndexFunc(o.built, func(r *record) bool { return !r.created.Before(at) })
	if i < 0 || o.built[i].created.After(able.Add(patience)) {
		o.wrong(at, "%s at %s has no build, want one soon after %s", what, timestamp(at), timestamp(able))
	}
}
