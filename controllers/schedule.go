package controllers

import (
	"errors"
	"hash/fnv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// timetable is a schedule moved by the jitter of one object.
type timetable struct {
	// name is the schedule and the time zone as the spec has them.
	name  string
	clock wallClock
	// offset is this object's share of the jitter. It is the same every time, so that
	// a thousand objects with one schedule spread out and each stays predictable.
	offset   time.Duration
	deadline time.Duration
}

// newTimetable reads spec.schedule and spec.timeZone. What can't be read is a Terminal with reason ScheduleInvalid.
func newTimetable(image *v1alpha1.BaseImage, set settings) (*timetable, error) {
	location, err := time.LoadLocation(image.Spec.TimeZone)
	if image.Spec.TimeZone == "Local" {
		err = errors.New("it would depend on where the operator runs")
	}
	if err != nil {
		return nil, pipeline.Terminalf(v1alpha1.ReasonScheduleInvalid, "spec.timeZone: %q is not a name of the IANA time zone database, such as Europe/Berlin: %w", image.Spec.TimeZone, err)
	}
	schedule, err := cron.ParseStandard(image.Spec.Schedule)
	if strings.HasPrefix(image.Spec.Schedule, "@every") {
		err = errors.New("@every counts from whenever the operator looks")
	}
	if err != nil {
		return nil, pipeline.Terminalf(v1alpha1.ReasonScheduleInvalid, "spec.schedule: %q must have five fields, such as \"0 0 * * 0\": %w", image.Spec.Schedule, err)
	}
	return &timetable{
		name:     image.Spec.Schedule + " " + image.Spec.TimeZone,
		clock:    wallClock{cron: schedule, location: location},
		offset:   share(string(image.UID), set.jitter),
		deadline: set.startingDeadline,
	}, nil
}

// share spreads ids evenly over [0, most), in whole seconds.
func share(id string, most time.Duration) time.Duration {
	seconds := uint64(most / time.Second)
	if seconds == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash.Hash never fails
	return time.Duration(h.Sum64()%seconds) * time.Second
}

// next is the first run after t. ok is false for a schedule that never comes, such as 30 February.
func (s *timetable) next(t time.Time) (run time.Time, ok bool) {
	tick := s.clock.next(t.Add(-s.offset))
	if tick.IsZero() {
		return time.Time{}, false
	}
	return tick.Add(s.offset), true
}

// due is the latest run in (since, now] that may still start. However many were missed, there
// is one.
func (s *timetable) due(since, now time.Time) (run time.Time, ok bool) {
	// Runs before this could not start any more: looking only at the rest bounds the search.
	if earliest := now.Add(-s.deadline - time.Second); since.Before(earliest) {
		since = earliest
	}
	for t, found := s.next(since); found && !t.After(now); t, found = s.next(t) {
		run, ok = t, true
	}
	return run, ok
}

// observed is a timetable as status.observedSchedule has it: "0 0 * * 0 UTC +28m8s".
type observed struct {
	name   string
	offset time.Duration
}

func (s *timetable) observed() observed { return observed{name: s.name, offset: s.offset} }

func (o observed) String() string { return o.name + " +" + o.offset.String() }

// parseObserved reads what String writes; ok is false for anything else.
func parseObserved(text string) (o observed, ok bool) {
	name, offset, found := cutLast(text, " +")
	duration, err := time.ParseDuration(offset)
	return observed{name: name, offset: duration}, found && err == nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
