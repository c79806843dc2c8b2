package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func at(t *testing.T, value string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, value)
	if err != nil {
		t.Fatalf("parsing %q: %v", value, err)
	}
	return parsed
}

func scheduled(schedule, zone string, jitter, deadline time.Duration) *v1alpha1.BaseImage {
	return &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID("8a6d3c1e-0000-4000-8000-000000000001")},
		Spec: v1alpha1.BaseImageSpec{Schedule: schedule, TimeZone: zone,
			Jitter: &metav1.Duration{Duration: jitter}, StartingDeadline: &metav1.Duration{Duration: deadline}},
	}
}

func timetableOf(image *v1alpha1.BaseImage) (*timetable, error) {
	return newTimetable(image, standard(image))
}

func TestTimetableDue(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		schedule, zone string
		deadline       time.Duration
		since, now     string
		want           string // empty: nothing is due
	}{
		"nothing is due before the first run": {
			schedule: "0 0 * * 0", zone: "UTC", deadline: day,
			since: "2026-11-23T10:00:00Z", now: "2026-11-28T23:59:59Z"},
		"a run is due at its very second": {
			schedule: "0 0 * * 0", zone: "UTC", deadline: day,
			since: "2026-11-23T10:00:00Z", now: "2026-11-29T00:00:00Z", want: "2026-11-29T00:00:00Z"},
		"a run that was started is not due again": {
			schedule: "0 0 * * 0", zone: "UTC", deadline: day,
			since: "2026-11-29T00:00:00Z", now: "2026-11-29T00:00:05Z"},
		"a run that was missed is made up for within the deadline": {
			schedule: "0 0 * * 0", zone: "UTC", deadline: day,
			since: "2026-11-23T10:00:00Z", now: "2026-11-29T23:59:00Z", want: "2026-11-29T00:00:00Z"},
		"a run that was missed for longer is left out": {
			schedule: "0 0 * * 0", zone: "UTC", deadline: day,
			since: "2026-11-23T10:00:00Z", now: "2026-11-30T00:00:02Z"},
		"of many missed runs the latest is made up for": {
			schedule: "*/5 * * * *", zone: "UTC", deadline: day,
			since: "2026-01-01T00:00:00Z", now: "2026-11-23T10:07:00Z", want: "2026-11-23T10:05:00Z"},
		"a year of missed minutes is not searched run by run": {
			schedule: "* * * * *", zone: "UTC", deadline: time.Minute,
			since: "2025-11-23T10:00:00Z", now: "2026-11-23T10:00:30Z", want: "2026-11-23T10:00:00Z"},
		"the time zone decides when midnight is": {
			schedule: "0 0 * * *", zone: "Asia/Tokyo", deadline: day,
			since: "2026-11-23T10:00:00Z", now: "2026-11-23T15:00:00Z", want: "2026-11-23T15:00:00Z"},
		"a schedule that never comes is never due": {
			schedule: "0 0 30 2 *", zone: "UTC", deadline: day,
			since: "2026-01-01T00:00:00Z", now: "2026-11-23T10:00:00Z"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			table, err := timetableOf(scheduled(tc.schedule, tc.zone, 0, tc.deadline))
			if err != nil {
				t.Fatalf("newTimetable: %v", err)
			}
			run, ok := table.due(at(t, tc.since), at(t, tc.now))
			if got := ""; ok != (tc.want != "") || (ok && timestamp(run) != tc.want) {
				if ok {
					got = timestamp(run)
				}
				t.Errorf("due = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestTimetableJitterIsTheSameEveryTimeAndBelowItsLimit(t *testing.T) {
	limit := 30 * time.Minute
	seen := map[time.Duration]bool{}
	for i := range 200 {
		id := string(rune('a'+i%26)) + time.Duration(i).String()
		first, second := share(id, limit), share(id, limit)
		if first != second || first < 0 || first >= limit {
			t.Fatalf("share(%q) = %v, then %v: want the same below %v", id, first, second, limit)
		}
		seen[first] = true
	}
	if len(seen) < 150 {
		t.Errorf("200 objects have only %d different delays: they would start together", len(seen))
	}
	table, err := timetableOf(scheduled("0 0 * * 0", "UTC", limit, 24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	next, ok := table.next(at(t, "2026-11-23T10:00:00Z"))
	if sunday := at(t, "2026-11-29T00:00:00Z"); !ok || next.Sub(sunday) != table.offset {
		t.Errorf("next = %v, want %v after %v", next, table.offset, sunday)
	}
}

func TestTimetableRefusesWhatItCannotRead(t *testing.T) {
	tests := map[string]*v1alpha1.BaseImage{
		"a schedule with four fields":   scheduled("0 0 * *", "UTC", 0, time.Hour),
		"a minute that does not exist":  scheduled("61 0 * * *", "UTC", 0, time.Hour),
		"the time zone of the machine":  scheduled("0 0 * * 0", "Local", 0, time.Hour),
		"an interval instead of times":  scheduled("@every 1h", "UTC", 0, time.Hour),
		"a time zone that is not known": scheduled("0 0 * * 0", "Mars/Olympus", 0, time.Hour),
	}
	for name, image := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := timetableOf(image)
			if !pipeline.IsTerminal(err) || reasonOf(err) != v1alpha1.ReasonScheduleInvalid {
				t.Errorf("newTimetable = %v, want a Terminal with reason ScheduleInvalid", err)
			}
		})
	}
}
