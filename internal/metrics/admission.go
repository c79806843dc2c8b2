package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Admission counts what the webhook does. It is a prometheus.Collector. A nil Admission counts nothing.
type Admission struct {
	decisions, findings, verdicts, requests, trust *prometheus.CounterVec
	pauses                                         prometheus.Counter
	durations                                      *prometheus.HistogramVec
}

var (
	webhooks  = []string{"mutate", "validate"}
	kinds     = []string{"Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", other}
	decisions = []string{"allowed", "warned", "denied", "failed"}
	modes     = []string{string(v1alpha1.ModeEnforce), string(v1alpha1.ModeWarn), string(v1alpha1.ModeAudit)}
	// Verdicts are where an answer about an image came from.
	verdicts = []string{"remembered", "joined", "found", "failed"}

	// admissionReasons are why an object is not admitted.
	admissionReasons = []string{
		pipeline.ReasonNoPolicy, pipeline.ReasonTooManyImages, pipeline.ReasonTagRefused, pipeline.ReasonRuntimeRule, pipeline.ReasonPolicyNotReady,
		pipeline.ReasonAdmissionTimeout, pipeline.ReasonInternalError,
		pipeline.ReasonSignatureMissing, pipeline.ReasonSignatureInvalid, pipeline.ReasonIdentityMismatch, pipeline.ReasonAttestationMissing,
		pipeline.ReasonTrustRootUnavailable, pipeline.ReasonTrustRootInvalid,
		pipeline.ReasonRegistryUnauthorized, pipeline.ReasonRegistryDenied, pipeline.ReasonRepositoryNotFound,
		pipeline.ReasonRegistryThrottled, pipeline.ReasonRegistryUnavailable, pipeline.ReasonRegistryTimeout, pipeline.ReasonRegistryTooSlow,
		pipeline.ReasonRegistryAddress, pipeline.ReasonImageNotFound, pipeline.ReasonImageTooLarge, pipeline.ReasonImageInvalid,
		pipeline.ReasonRegistryCredentials, pipeline.ReasonCloudCredentials, pipeline.ReasonClusterUnavailable,
		pipeline.ReasonAttestationRejected, pipeline.ReasonImageRefused, pipeline.ReasonPlatformMissing, pipeline.ReasonAdmissionBusy,
		pipeline.ReasonPoliciesNotLoaded, pipeline.ReasonPolicyInvalid, pipeline.ReasonPolicyBudgetExceeded, pipeline.ReasonPolicyUnsupported,
		pipeline.ReasonPolicyKeyNotFound, pipeline.ReasonPolicyNotFound, other,
	}

	admissionBuckets = seconds(500*time.Microsecond, time.Millisecond, 2*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond, 25*time.Millisecond,
		50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond, time.Second, 2*time.Second, 4*time.Second, 8*time.Second)
)

// NewAdmission makes an Admission that has counted nothing.
func NewAdmission() *Admission {
	a := &Admission{
		decisions: counter("admission_decisions_total", "Requests that the webhook has answered, by what became of them.", "webhook", "kind", "decision"),
		findings:  counter("admission_findings_total", "Reasons not to admit an object, by the mode of the policy that has them.", "reason", "mode"),
		verdicts:  counter("admission_verdicts_total", "Answers about images, by where they came from.", "result"),
		requests:  counter("registry_requests_total", "HTTP requests to registries and their token services, by what they do and the class of the answer; redirects and repetitions count.", "operation", "result"),
		trust:     counter("trust_root_refreshes_total", "Looks at where the trust root of Sigstore comes from, by result.", "result"),
		pauses: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "admission_registry_pauses_total",
			Help: "How often a registry was not asked for a while because it had failed several times."}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "admission_duration_seconds", Buckets: admissionBuckets,
			Help: "How long answers of the webhook took."}, []string{"webhook"}),
	}
	a.fill()
	return a
}

func (a *Admission) fill() {
	for _, w := range webhooks {
		a.durations.WithLabelValues(w)
		for _, k := range kinds {
			for _, d := range decisions {
				a.decisions.WithLabelValues(w, k, d)
			}
		}
	}
	cross(a.findings, admissionReasons, modes)
	cross(a.requests, []string{operationRead, operationWrite}, answers)
	for _, v := range verdicts {
		a.verdicts.WithLabelValues(v)
	}
	for _, result := range []string{pollUnchanged, pollChanged, pollFailed} {
		a.trust.WithLabelValues(result)
	}
}

// Describe is of prometheus.Collector.
func (a *Admission) Describe(to chan<- *prometheus.Desc) {
	for _, c := range a.collectors() {
		c.Describe(to)
	}
}

// Collect is of prometheus.Collector.
func (a *Admission) Collect(to chan<- prometheus.Metric) {
	for _, c := range a.collectors() {
		c.Collect(to)
	}
}

func (a *Admission) collectors() []prometheus.Collector {
	return []prometheus.Collector{a.decisions, a.findings, a.verdicts, a.requests, a.trust, a.pauses, a.durations}
}

// Decided counts an answer of the webhook "mutate" or "validate" about an object of a kind.
func (a *Admission) Decided(webhook, kind, decision string, took time.Duration) {
	if a == nil {
		return
	}
	a.decisions.WithLabelValues(webhook, closed(kinds, kind), decision).Inc()
	a.durations.WithLabelValues(webhook).Observe(took.Seconds())
}

// Found counts a reason not to admit an object.
func (a *Admission) Found(reason, mode string) {
	if a == nil {
		return
	}
	a.findings.WithLabelValues(closed(admissionReasons, reason), mode).Inc()
}

// Verdict counts an answer about an image: remembered, joined (somebody else was asking), found (from evidence) or failed.
func (a *Admission) Verdict(result string) {
	if a == nil {
		return
	}
	a.verdicts.WithLabelValues(closed(verdicts, result)).Inc()
}

// RegistryPaused counts a registry that is not asked for a while.
func (a *Admission) RegistryPaused() {
	if a == nil {
		return
	}
	a.pauses.Inc()
}

// TrustRootRefreshed counts a look at where the trust root comes from.
func (a *Admission) TrustRootRefreshed(changed bool, failure error) {
	if a == nil {
		return
	}
	a.trust.WithLabelValues(pollResult(changed, failure)).Inc()
}

// RegistryRequest counts a request to a registry. A status of 0 is no answer.
func (a *Admission) RegistryRequest(method string, status int) {
	if a == nil {
		return
	}
	operation := operationWrite
	if method == http.MethodGet || method == http.MethodHead {
		operation = operationRead
	}
	a.requests.WithLabelValues(operation, answerClass(status)).Inc()
}
