// Package retryafter reads how long a server asks to wait.
package retryafter

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// Parse reads the value of a Retry-After field, which is a number of seconds or a date (RFC 9110, section 10.2.3). It is at
// most most, and zero if the value is neither, or in the past.
func Parse(value string, now time.Time, most time.Duration) time.Duration {
	return max(0, min(parse(value, now), most))
}

func parse(value string, now time.Time) time.Duration {
	// 32 bits: as nanoseconds, more seconds would not fit into a Duration. So many are far above any limit.
	seconds, err := strconv.ParseInt(value, 10, 32)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return date.Sub(now)
	}
	return 0
}
