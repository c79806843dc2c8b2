package controllers

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

func TestAWallClockRunsOnceWhateverDaylightSavingDoes(t *testing.T) {
	tests := map[string]struct {
		schedule, place, after string
		want                   []string
	}{
		"a time that the change leaves out runs at the change": {
			"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"several times that the change leaves out run once": {
			"*/15 2 * * *", "Europe/Berlin", "2026-03-29T00:59:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
		"a time that comes twice runs the first time": {
			"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"looked at between the two times, the next is tomorrow": {
			"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		"midnight that does not exist": {
			"0 0 * * 0", "America/Santiago", "2026-09-01T00:00:00Z", []string{"2026-09-06T04:00:00Z", "2026-09-13T03:00:00Z"}},
		"a change of half an hour": {
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		"UTC has no changes": {
			"0 0 * * 0", "UTC", "2026-11-23T00:00:00Z", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		"a day that a place left out": {
			"0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", []string{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"}},
		"a schedule that never comes": {
			"0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"0001-01-01T00:00:00Z"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			location, err := time.LoadLocation(tc.place)
			if err != nil {
				t.Fatal(err)
			}
			schedule, err := cron.ParseStandard(tc.schedule)
			if err != nil {
				t.Fatal(err)
			}
			clock := wallClock{cron: schedule, location: location}
			from := at(t, tc.after)
			for _, want := range tc.want {
				from = clock.next(from)
				if got := from.UTC().Format(time.RFC3339); got != want {
					t.Errorf("next run is %s, want %s", got, want)
				}
			}
		})
	}
}

func TestAWallClockMeetsEveryDayOfTheYearInEveryPlace(t *testing.T) {
	schedule, err := cron.ParseStandard("30 2 * * *")
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"Europe/London", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "Antarctica/Troll"} {
		location, err := time.LoadLocation(place)
		if err != nil {
			t.Fatal(err)
		}
		clock, run := wallClock{cron: schedule, location: location}, time.Date(2026, 1, 1, 0, 0, 0, 0, location)
		for day := range 365 {
			run = clock.next(run)
			if want := time.Date(2026, 1, 1+day, 12, 0, 0, 0, location); run.In(location).YearDay() != want.YearDay() {
				t.Fatalf("%s: run %d is at %s, want it on %s", place, day, run.In(location), want.Format(time.DateOnly))
			}
		}
	}
}
