package controllers

import (
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// causeKind is what can happen to an image in its year.
type causeKind string

// The first four are also the reasons of the builds that they lead to.
const (
	specEdited    = causeKind(v1alpha1.BuildReasonSpecChanged)
	requested     = causeKind(v1alpha1.BuildReasonRequested)
	sourceMoved   = causeKind(v1alpha1.BuildReasonSourceChanged)
	upstreamMoved = causeKind(v1alpha1.BuildReasonUpstreamChanged)
	suspended     = causeKind("suspended")
	resumed       = causeKind("resumed")
)

// cause is something that happens to an image at a time which is known before.
type cause struct {
	at   time.Time
	kind causeKind
}

// outcome of a Job.
type outcome int

const (
	well outcome = iota
	mayPass
	forGood
)

// trouble makes every Job fail that starts in its time.
type trouble struct {
	period
	outcome outcome
}

// life is an image with all that happens to it in the year, and what came of it.
type life struct {
	name     string
	schedule shape
	zone     string
	// jitter, deadline and retries are the operator's defaults where they are nil.
	jitter, deadline         *time.Duration
	retries                  *int32
	pollSource, pollUpstream time.Duration
	inline                   bool
	created                  time.Time
	takes                    time.Duration // to build it
	causes                   []cause
	troubles                 []trouble
	// flaky builds fail one time in four for causes that may pass.
	flaky bool
	// shortMemory keeps one build of each kind instead of three.
	shortMemory bool

	built []*record
}

func (l *life) outcomeOf(start time.Time, attempt int64) outcome {
	for _, t := range l.troubles {
		if t.has(start) {
			return t.outcome
		}
	}
	if l.flaky && share(fmt.Sprint(l.name, attempt), 4*time.Second) == 0 {
		return mayPass
	}
	return well
}

// count is how many causes of a kind there have been.
func (l *life) count(kind causeKind, now time.Time) int {
	n := 0
	for _, c := range l.causes {
		if c.kind == kind && !c.at.After(now) {
			n++
		}
	}
	return n
}

// object is the image as a person would first apply it.
func (l *life) object() *v1alpha1.BaseImage {
	image := &v1alpha1.BaseImage{}
	image.Namespace, image.Name = "images", l.name
	image.Spec = v1alpha1.BaseImageSpec{
		Dockerfile: "Dockerfile", Schedule: l.schedule.cron, TimeZone: l.zone,
		Source:    v1alpha1.Source{Git: &v1alpha1.GitSource{URL: l.gitURL(), Ref: "main"}, PollInterval: &metav1.Duration{Duration: l.pollSource}},
		Platforms: []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}},
		Output:    v1alpha1.Output{Repository: "registry.example/base/" + l.name, Tags: []v1alpha1.Tag{"latest"}},
		Upstream:  v1alpha1.UpstreamPolicy{Refresh: v1alpha1.RefreshAlways, PollInterval: &metav1.Duration{Duration: l.pollUpstream}},
		Jitter:    spelled(l.jitter), StartingDeadline: spelled(l.deadline), Retries: l.retries,
	}
	if l.shortMemory {
		image.Spec.History = v1alpha1.History{Successful: new(int32(1)), Failed: new(int32(1))}
	}
	if l.inline {
		image.Spec.Source = v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: string(l.dockerfile())}}
	}
	return image
}

func spelled(d *time.Duration) *metav1.Duration {
	if d == nil {
		return nil
	}
	return &metav1.Duration{Duration: *d}
}

func (l *life) gitURL() string      { return "https://git.example/" + l.name }
func (l *life) upstreamRef() string { return "registry.example/upstream/" + l.name + ":1" }
func (l *life) dockerfile() []byte  { return []byte("FROM " + l.upstreamRef() + "\n") }

// slots are how many builds may run side by side: few enough that there is a queue on Sundays.
const slots = 6

// A hundred images: six in ten are rebuilt weekly in places of all kinds, the others by the month, by the day or more often.
func hundred(random *rand.Rand) []*life {
	lives := make([]*life, 100)
	for i := range lives {
		l := &life{name: fmt.Sprintf("image-%02d", i), created: newYear.Add(time.Duration(i)*11*time.Minute + time.Duration(i)*time.Second),
			takes: time.Duration(4+i*7%23) * time.Minute, inline: i%10 == 9, flaky: i%16 == 6, shortMemory: i%3 > 0}
		l.schedule, l.zone = placeOf(i)
		jitters := []*time.Duration{new(time.Duration(0)), nil, new(2 * time.Hour), new(24 * time.Hour), new(45 * time.Minute), nil, new(7 * time.Minute)}
		l.jitter = jitters[i%len(jitters)]
		if l.schedule.cron == twiceADay {
			l.jitter = new(time.Hour) // More would hide which of the two runs is meant.
		}
		deadlines := []*time.Duration{nil, new(time.Hour), new(168 * time.Hour), nil, new(10 * time.Minute)}
		l.deadline = deadlines[i/10%len(deadlines)]
		l.live(i, random)
		if i == 95 {
			l.hurry()
		}
		lives[i] = l
	}
	return lives
}

const twiceADay = "0 6,18 * * 1-5"

func placeOf(i int) (shape, string) {
	weekly := []struct{ cron, zone string }{
		{"0 0 * * 0", "UTC"},
		{"30 2 * * 0", "Europe/Berlin"},       // Left out on 29 March, twice on 25 October.
		{"0 0 * * 0", "America/Santiago"},     // Left out on 6 September.
		{"30 1 * * 0", "America/New_York"},    // Twice on 1 November.
		{"15 2 * * 0", "Australia/Lord_Howe"}, // Left out on 4 October.
		{"45 1 * * 0", "Australia/Lord_Howe"}, // Twice on 5 April.
		{"0 5 * * 0", "Asia/Kolkata"},
	}
	often := []struct{ cron, zone string }{
		{"30 2 * * *", "Europe/Berlin"}, {"30 2 * * *", "America/New_York"}, {"30 1 * * *", "America/New_York"},
		{"30 23 * * *", "America/Santiago"}, {"@daily", "America/Santiago"}, {"15 2 * * *", "Australia/Lord_Howe"},
		{"45 1 * * *", "Australia/Lord_Howe"}, {"@daily", "UTC"}, {twiceADay, "Asia/Kolkata"}, {"15,45 2 * * *", "Europe/Berlin"},
	}
	monthly := []string{"UTC", "Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"}
	switch i % 10 {
	case 8:
		return shapes[often[i/10].cron], often[i/10].zone
	case 7:
		return shapes["@monthly"], monthly[i/10%len(monthly)]
	}
	return shapes[weekly[i%len(weekly)].cron], weekly[i%len(weekly)].zone
}

// live plans a year.
func (l *life) live(i int, random *rand.Rand) {
	l.poll(i)
	switch i % 10 {
	case 1, 3:
		l.some(8, sourceMoved, random)
	case 2:
		l.some(4, sourceMoved, random) // Nobody looks: the schedule finds them.
	case 4:
		l.some(4, specEdited, random)
		l.both(requested, specEdited, 3*time.Minute, random)
		l.both(specEdited, specEdited, 2*time.Minute, random)
	case 6:
		l.some(6, requested, random)
		l.both(requested, requested, 2*time.Minute, random)
	}
	if l.pollUpstream > 0 {
		l.some(5, upstreamMoved, random)
	}
	if i%9 == 4 {
		l.rest(i)
	}
	l.fail(i)
}

func (l *life) poll(i int) {
	switch {
	case i%10 == 1:
		l.pollSource, l.pollUpstream = 24*time.Hour, 24*time.Hour
	case i%20 == 3:
		l.pollSource, l.pollUpstream = 6*time.Hour, 12*time.Hour
	case i%20 == 13:
		l.pollSource = 6 * time.Hour
	case i%20 == 5:
		l.pollUpstream = 168 * time.Hour
	}
}

// some causes of a kind at random moments.
func (l *life) some(n int, kind causeKind, random *rand.Rand) {
	for range n {
		l.causes = append(l.causes, cause{sometime(random), kind})
	}
}

// both has a cause follow another one before its build can have ended.
func (l *life) both(first, second causeKind, pause time.Duration, random *rand.Rand) {
	at := sometime(random)
	l.causes = append(l.causes, cause{at, first}, cause{at.Add(pause), second})
}

func sometime(random *rand.Rand) time.Time {
	return newYear.AddDate(0, 0, 10+random.IntN(340)).Add(time.Duration(random.IntN(86400)) * time.Second)
}

// rest suspends an image twice, each time until some hours after its Sunday's run; a request and a commit have to wait.
func (l *life) rest(i int) {
	spring := on(time.March, 20, 12)
	l.causes = append(l.causes, cause{spring, suspended}, cause{on(time.April, 12, 9), resumed},
		cause{on(time.September, 4, i%24), suspended}, cause{on(time.September, 6, 20), resumed},
		cause{spring.AddDate(0, 0, 3), requested})
	if !l.inline {
		l.causes = append(l.causes, cause{spring.AddDate(0, 0, 4), sourceMoved})
	}
}

// hurry makes an image that is polled every five minutes, for a month only because it takes so many passes. Its commits come
// faster than it is built: the first two builds of each day are cancelled or wait, and the last commit must not be lost.
func (l *life) hurry() {
	l.created, l.pollSource, l.takes = on(time.December, 1, 0), 5*time.Minute, 25*time.Minute
	for day := 2; day < 30; day += 3 {
		for _, minute := range []time.Duration{0, 11, 22} {
			l.causes = append(l.causes, cause{on(time.December, day, 7).Add(minute*time.Minute + 7*time.Second), sourceMoved})
		}
	}
}

// fail breaks some images for a day, an hour and a half, or a week: one kind of failure passes, the other one does not.
func (l *life) fail(i int) {
	switch i % 8 {
	case 2:
		l.troubles = []trouble{{period{on(time.May, 3, 0), on(time.May, 4, 12)}, mayPass}, {period{on(time.June, 7, 0), on(time.June, 7, 2)}, mayPass},
			{period{on(time.November, 8, 3), on(time.November, 8, 5)}, mayPass}}
		l.retries = []*int32{new(int32(0)), nil, new(int32(10))}[i/8%3]
	case 5:
		l.troubles = []trouble{{period{on(time.June, 14, 0), on(time.June, 22, 0)}, forGood}}
	}
}

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func on(month time.Month, day, hour int) time.Time {
	return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
}

// period is from its first moment to before its last one.
type period struct{ from, to time.Time }

func (p period) has(t time.Time) bool { return !t.Before(p.from) && t.Before(p.to) }
