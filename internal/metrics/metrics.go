// Package metrics counts what the operator does, and reports what the cluster holds. Every label has a closed set of
// values, all of which are there from the start: no name of an object or host becomes one, however hostile its owner,
// and a rate is right from the first event.
package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
)

const namespace = "basewright"

// Metrics of one operator. They are a prometheus.Collector, which whoever makes them registers. Nil Metrics count nothing.
type Metrics struct {
	clock clock.PassiveClock
	// state is what the leader reports; nil while another process leads.
	state atomic.Pointer[State]

	builds, starts, polls, requests, trust *prometheus.CounterVec
	durations                              *prometheus.HistogramVec
	lag                                    prometheus.Histogram
}

// New makes Metrics that have counted nothing.
func New(c clock.PassiveClock) *Metrics {
	m := &Metrics{
		clock:    c,
		builds:   counter("builds_total", "Builds that have ended, by result and, for those that failed, the reason.", "result", "reason"),
		starts:   counter("build_starts_total", "Builds that were started, by reason. One that has two reasons counts under each.", "reason"),
		polls:    counter("polls_total", "Looks at a source or at upstream images for changes, by result.", "input", "result"),
		requests: counter("registry_requests_total", "HTTP requests of the operator to registries and their token services, by what they do and the class of the answer; redirects and repetitions count.", "operation", "result"),
		trust:    counter("trust_root_refreshes_total", "Looks at where the trust root of Sigstore comes from, by result.", "result"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "build_duration_seconds", Buckets: durationBuckets,
			Help: "How long the phases of builds took that have ended: those that were done, and the total of builds that succeeded."}, []string{"phase"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "schedule_lag_seconds", Buckets: lagBuckets,
			Help: "From the time of the schedule, jitter included, to the creation of the build for it."}),
	}
	m.fill()
	return m
}

var (
	durationBuckets = seconds(time.Second, 5*time.Second, 15*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute, 10*time.Minute,
		15*time.Minute, 30*time.Minute, time.Hour, 2*time.Hour, 6*time.Hour, 12*time.Hour, 24*time.Hour)
	// The last is the longest spec.startingDeadline.
	lagBuckets = seconds(5*time.Second, 15*time.Second, time.Minute, 5*time.Minute, 15*time.Minute, time.Hour, 6*time.Hour, 24*time.Hour, 7*24*time.Hour)
)

func seconds(durations ...time.Duration) []float64 {
	out := make([]float64, len(durations))
	for i, d := range durations {
		out[i] = d.Seconds()
	}
	return out
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// fill makes every series there is.
func (m *Metrics) fill() {
	m.builds.WithLabelValues(resultSucceeded, "")
	m.builds.WithLabelValues(resultSuperseded, "")
	for _, reason := range failureReasons {
		m.builds.WithLabelValues(resultFailed, reason)
	}
	for _, reason := range buildReasons {
		m.starts.WithLabelValues(reason)
	}
	for _, phase := range phases {
		m.durations.WithLabelValues(phase)
	}
	cross(m.polls, []string{string(Source), string(Upstream)}, []string{pollUnchanged, pollChanged, pollFailed})
	for _, result := range []string{pollUnchanged, pollChanged, pollFailed} {
		m.trust.WithLabelValues(result)
	}
	cross(m.requests, []string{operationRead, operationWrite}, answers)
}

func cross(c *prometheus.CounterVec, first, second []string) {
	for _, a := range first {
		for _, b := range second {
			c.WithLabelValues(a, b)
		}
	}
}

// Describe is of prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(to)
	}
	for _, d := range snapshotDescs {
		to <- d
	}
}

// Collect is of prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(to)
	}
	if state := m.state.Load(); state != nil {
		state.collect(m.clock.Now(), to)
	}
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.builds, m.starts, m.polls, m.requests, m.trust, m.durations, m.lag}
}

// Input is what polls look at.
type Input string

// Inputs of a build that change without notice.
const (
	Source   Input = "source"
	Upstream Input = "upstream"
)

const (
	pollUnchanged = "unchanged"
	pollChanged   = "changed"
	pollFailed    = "failed"
)

// Polled counts a look at an input.
func (m *Metrics) Polled(input Input, changed bool, failure error) {
	if m == nil {
		return
	}
	m.polls.WithLabelValues(string(input), pollResult(changed, failure)).Inc()
}

func pollResult(changed bool, failure error) string {
	switch {
	case failure != nil:
		return pollFailed
	case changed:
		return pollChanged
	}
	return pollUnchanged
}

// TrustRootRefreshed counts a look at where the trust root comes from.
func (m *Metrics) TrustRootRefreshed(changed bool, failure error) {
	if m == nil {
		return
	}
	m.trust.WithLabelValues(pollResult(changed, failure)).Inc()
}

const (
	operationRead  = "read"
	operationWrite = "write"

	answerThrottled = "429"
	answerNone      = "error"
)

var answers = []string{"2xx", "3xx", "4xx", answerThrottled, "5xx", answerNone}

// RegistryRequest counts a request to a registry. A status of 0 is no answer.
func (m *Metrics) RegistryRequest(method string, status int) {
	if m == nil {
		return
	}
	operation := operationWrite
	if method == http.MethodGet || method == http.MethodHead {
		operation = operationRead
	}
	m.requests.WithLabelValues(operation, answerClass(status)).Inc()
}

func answerClass(status int) string {
	if status == http.StatusTooManyRequests {
		return answerThrottled
	}
	if class := strconv.Itoa(status/100) + "xx"; slices.Contains(answers, class) {
		return class
	}
	return answerNone
}
