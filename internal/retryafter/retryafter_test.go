package retryafter

import (
	"net/http"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for desc, tt := range map[string]struct {
		value string
		want  time.Duration
	}{
		"seconds":                         {"17", 17 * time.Second},
		"no seconds":                      {"0", 0},
		"a date":                          {now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		"a date in the form of RFC 850":   {now.Add(time.Minute).Format("Monday, 02-Jan-06 15:04:05 GMT"), time.Minute},
		"a day is cut":                    {"86400", time.Hour},
		"a date of next year is cut":      {now.AddDate(1, 0, 0).Format(http.TimeFormat), time.Hour},
		"a date that is very far is cut":  {now.AddDate(5000, 0, 0).Format(http.TimeFormat), time.Hour},
		"more seconds than can be is cut": {"99999999999999999999", time.Hour},
		"seconds in the past":             {"-3", 0},
		"very far in the past":            {"-99999999999999999999", 0},
		"a date in the past":              {now.Add(-time.Minute).Format(http.TimeFormat), 0},
		"nothing":                         {"", 0},
		"what is no time":                 {"soon", 0},
	} {
		t.Run(desc, func(t *testing.T) {
			if got := Parse(tt.value, now, time.Hour); got != tt.want {
				t.Errorf("%q means %s, want %s", tt.value, got, tt.want)
			}
		})
	}
}
