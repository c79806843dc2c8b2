package controllers

import (
	"time"

	"github.com/robfig/cron/v3"
)

// wallClock runs a cron schedule on the wall clock of a place. What the clock shows decides, not how much time has
// passed: a time that comes twice when daylight saving ends is a run the first time, and a time that is left out
// when it begins is a run at the moment of the change. Cron expressions are asked in UTC, where neither happens.
type wallClock struct {
	cron     cron.Schedule
	location *time.Location
}

// next is the first run after t; zero for a schedule that never comes.
func (w wallClock) next(t time.Time) time.Time {
	shown := showing(t.In(w.location))
	for {
		shown = w.cron.Next(shown)
		if shown.IsZero() {
			return time.Time{}
		}
		// After the clock was set back it shows times that have been.
		if run := moment(shown, w.location); run.After(t) {
			return run
		}
	}
}

// showing is a time in UTC with the date and hour that t shows.
func showing(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when a clock in a place first shows a time, or leaves it out.
func moment(shown time.Time, location *time.Location) time.Time {
	at := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(), 0, location)
	begin, end := at.ZoneBounds()
	switch got := showing(at); {
	case got.After(shown): // Left out, and at is after the change.
		return begin
	case got.Before(shown): // Left out, and at is before the change.
		return end
	case begin.IsZero():
		return at
	}
	_, offset := begin.Add(-time.Second).Zone()
	if earlier := shown.Add(-time.Duration(offset) * time.Second); earlier.Before(begin) {
		return earlier.In(location) // Shown twice, and at is the second time.
	}
	return at
}
