package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestRetryAfter(t *testing.T) {
	clock := newFakeTime()
	tests := map[string]struct {
		status int
		header string
		want   time.Duration
	}{
		"429 with seconds":                   {429, "17", 17 * time.Second},
		"429 with a date":                    {429, clock.at.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		"503 with seconds":                   {503, "5", 5 * time.Second},
		"a pause of a day is cut":            {429, "86400", time.Hour},
		"a date of next year is cut":         {429, clock.at.AddDate(1, 0, 0).Format(http.TimeFormat), time.Hour},
		"no time":                            {429, "", 0},
		"a time in the past":                 {429, "-3", 0},
		"a date in the past":                 {429, clock.at.Add(-time.Minute).Format(http.TimeFormat), 0},
		"what is no time":                    {429, "soon", 0},
		"a time with an answer that is none": {502, "60", 0},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			a := &answers{limits: limits.Registry{RetryAfter: limits.Duration(time.Hour)}, timing: clock.timing()}
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.header}}}
			if got := a.retryAfter(resp); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// refusing answers as told until it is asked more than times, and counts.
type refusing struct {
	next     http.Handler
	method   string
	status   int
	header   string
	times    int32
	requests atomic.Int32
}

func (f *refusing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v2/" || f.method != "" && r.Method != f.method {
		f.next.ServeHTTP(w, r)
		return
	}
	if f.requests.Add(1) > f.times {
		f.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", f.header)
	w.WriteHeader(f.status)
}

func TestThrottling(t *testing.T) {
	tests := map[string]struct {
		status   int
		header   string
		times    int32
		limits   limits.Registry
		deadline time.Duration
		want     string
		after    time.Duration
		pauses   []time.Duration
		requests int32
	}{
		"a short pause is waited":             {status: 429, header: "7", times: 1, want: "", pauses: []time.Duration{7 * time.Second}, requests: 2},
		"503 may ask for a pause as well":     {status: 503, header: "1", times: 2, want: "", pauses: []time.Duration{time.Second, time.Second}, requests: 3},
		"it is tried three times":             {status: 429, header: "1", times: 9, want: "Transient RegistryThrottled", after: time.Second, pauses: []time.Duration{time.Second, time.Second}, requests: 3},
		"or as often as configured":           {status: 429, header: "1", times: 9, limits: limits.Registry{Tries: 1}, want: "Transient RegistryThrottled", after: time.Second, requests: 1},
		"503 that stays is an outage":         {status: 503, header: "1", times: 9, want: "Transient RegistryUnavailable", after: time.Second, pauses: []time.Duration{time.Second, time.Second}, requests: 3},
		"a pause of eleven seconds is not":    {status: 429, header: "11", times: 1, want: "Transient RegistryThrottled", after: 11 * time.Second, requests: 1},
		"nor one that outlasts the operation": {status: 429, header: "5", times: 1, deadline: 4 * time.Second, want: "Transient RegistryThrottled", after: 5 * time.Second, requests: 1},
		"one that just fits is":               {status: 429, header: "3", times: 1, deadline: 4 * time.Second, want: "", pauses: []time.Duration{3 * time.Second}, requests: 2},
		"a long pause is cut as configured":   {status: 429, header: "86400", times: 1, limits: limits.Registry{RetryAfter: limits.Duration(time.Minute)}, want: "Transient RegistryThrottled", after: time.Minute, requests: 1},
		"429 without a time has its own":      {status: 429, times: 9, want: "Transient RegistryThrottled", requests: 3},
		"502 never asks for a pause":          {status: 502, header: "1", times: 9, want: "Transient RegistryUnavailable", requests: 3},
		"502 is tried as often as configured": {status: 502, times: 9, limits: limits.Registry{Tries: 2}, want: "Transient RegistryUnavailable", requests: 2},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			clock := newFakeTime()
			clock.at = time.Now() // contexts have real deadlines
			server := &refusing{next: inMemory(), status: tt.status, header: tt.header}
			host := serve(t, server)
			c := timed(t, Config{Limits: tt.limits}, clock)
			repo := must(c.Repository(host + "/x"))
			ref := must(c.PushImage(t.Context(), repo, randomImage(t)))
			server.requests.Store(0)
			server.times = tt.times
			ctx := t.Context()
			if tt.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, clock.at.Add(tt.deadline))
				defer cancel()
			}
			_, err := c.Manifest(ctx, ref)
			if got := fault(err); got != tt.want {
				t.Fatalf("got %s: %v", got, err)
			}
			if f, ok := errors.AsType[*pipeline.Transient](err); ok && f.After != tt.after {
				t.Errorf("After = %s", f.After)
			}
			if diff := cmp.Diff(tt.pauses, clock.pauses); diff != "" || server.requests.Load() != tt.requests {
				t.Errorf("%d requests, pauses: %s", server.requests.Load(), diff)
			}
		})
	}
}

func TestAPauseThatOutlastsOurOwnTimeOutIsTheRegistrys(t *testing.T) {
	for desc, tt := range map[string]struct {
		ended error
		want  string
	}{
		"our time-out":          {errSlow, "Transient RegistryThrottled"},
		"the caller's deadline": {context.DeadlineExceeded, "Transient RegistryTimeout"},
		"the caller leaves":     {context.Canceled, "plain"},
	} {
		t.Run(desc, func(t *testing.T) {
			clock := newFakeTime()
			clock.ended = tt.ended
			a := &answers{timing: clock.timing(), limits: limits.Registry{}.WithDefaults()}
			req, _ := http.NewRequest(http.MethodGet, "https://registry.example/", nil)
			_, err := a.again(req, &ThrottledError{Status: 429, After: time.Second}, 1)
			if got := fault(Classify("reading", err)); got != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatCanBeSentAgain(t *testing.T) {
	text := func() io.Reader { return strings.NewReader("body") }
	once := func() io.Reader { return io.NopCloser(text()) }
	tests := map[string]struct {
		method string
		body   func() io.Reader
		again  bool
	}{
		"a GET":                        {method: http.MethodGet, again: true},
		"a POST that starts an upload": {method: http.MethodPost, again: true},
		"a manifest":                   {method: http.MethodPut, body: text, again: true},
		"a body that is gone":          {method: http.MethodPut, body: once},
		"a part of an upload":          {method: http.MethodPatch, body: text},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var bodies []string
			server := &refusing{status: 429, header: "1", times: 1, next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				bodies = append(bodies, r.Method+string(got))
			})}
			clock := newFakeTime()
			c := timed(t, Config{}, clock)
			a := &answers{next: c.guard, limits: c.limits, credentials: newCredentials(nil, nil), timing: c.timing}
			var body io.Reader
			want := tt.method
			if tt.body != nil {
				body, want = tt.body(), tt.method+"body"
			}
			req, _ := http.NewRequestWithContext(t.Context(), tt.method, "http://"+serve(t, server)+"/v2/x/y/", body)
			resp, err := a.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if (err == nil) != tt.again || slices.Equal(bodies, []string{want}) != tt.again {
				t.Errorf("the server got %q: %v", bodies, err)
			}
		})
	}
}
