package controllers

import (
	"time"
)

// shape is a schedule as a person means it. It is the oracle's own: nothing of it goes through a cron parser.
type shape struct {
	cron  string
	shows func(calendar time.Time) bool
}

var shapes = func() map[string]shape {
	all := map[string]shape{}
	for cron, shows := range map[string]func(time.Time) bool{
		"0 0 * * 0":     func(c time.Time) bool { return shows(c, 0, 0) && c.Weekday() == time.Sunday },
		"30 2 * * 0":    func(c time.Time) bool { return shows(c, 2, 30) && c.Weekday() == time.Sunday },
		"30 1 * * 0":    func(c time.Time) bool { return shows(c, 1, 30) && c.Weekday() == time.Sunday },
		"15 2 * * 0":    func(c time.Time) bool { return shows(c, 2, 15) && c.Weekday() == time.Sunday },
		"45 1 * * 0":    func(c time.Time) bool { return shows(c, 1, 45) && c.Weekday() == time.Sunday },
		"0 5 * * 0":     func(c time.Time) bool { return shows(c, 5, 0) && c.Weekday() == time.Sunday },
		"30 2 * * *":    func(c time.Time) bool { return shows(c, 2, 30) },
		"30 1 * * *":    func(c time.Time) bool { return shows(c, 1, 30) },
		"30 23 * * *":   func(c time.Time) bool { return shows(c, 23, 30) },
		"15 2 * * *":    func(c time.Time) bool { return shows(c, 2, 15) },
		"45 1 * * *":    func(c time.Time) bool { return shows(c, 1, 45) },
		"15,45 2 * * *": func(c time.Time) bool { return shows(c, 2, 15) || shows(c, 2, 45) },
		"@daily":        func(c time.Time) bool { return shows(c, 0, 0) },
		"@monthly":      func(c time.Time) bool { return shows(c, 0, 0) && c.Day() == 1 },
		twiceADay: func(c time.Time) bool {
			return (shows(c, 6, 0) || shows(c, 18, 0)) && c.Weekday() != time.Saturday && c.Weekday() != time.Sunday
		},
	} {
		all[cron] = shape{cron, shows}
	}
	return all
}()

func shows(c time.Time, hour, minute int) bool { return c.Hour() == hour && c.Minute() == minute }

// quarter divides every time of a schedule above, and every change of a clock.
const quarter = 15 * time.Minute

// ticks are the runs of a schedule in the year and the days around it: the moments at which a clock on the wall first shows a time
// of the schedule, or has just skipped it. The clock is watched a quarter of an hour at a time. What it shows for the
// second time after it was set back is nothing new.
func ticks(s shape, zone *time.Location) (runs []time.Time, skipped, repeated int) {
	newest := reading(newYear.AddDate(0, 0, -35), zone)
	for t := newYear.AddDate(0, 0, -35); t.Before(newYear.AddDate(1, 0, 2)); t = t.Add(quarter) {
		now := reading(t, zone)
		if !now.After(newest) {
			if s.shows(now) {
				repeated++
			}
			continue
		}
		run := false
		for c := newest.Add(quarter); !c.After(now); c = c.Add(quarter) {
			if s.shows(c) {
				run = true
				if c.Before(now) {
					skipped++
				}
			}
		}
		if newest = now; run {
			runs = append(runs, t)
		}
	}
	return runs, skipped, repeated
}

// reading is what a clock in a place shows, as if it were a time in UTC.
func reading(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
