package limits

import (
	"cmp"
	"time"
)

// Admission bounds what the webhook remembers of images, and how many it looks at. It is the section "limits.admission" of
// the webhook's configuration; the operator has none of it. Zero fields have their defaults, see WithDefaults.
type Admission struct {
	// Verdicts that hold and are remembered: one for each image, policy and set of credentials. Default: 20000; at most 1000000.
	Verdicts int `json:"verdicts,omitzero"`
	// SuccessTTL is how long a verdict that holds is remembered. Default: 12h; at most 168h.
	SuccessTTL Duration `json:"successTTL,omitzero"`
	// FailureTTL is how long a violation is remembered; an outage, a tenth of it. Default: 10s; at most 10m.
	FailureTTL Duration `json:"failureTTL,omitzero"`
	// TagTTL is how long the digest of a tag is remembered. Default: 10s; at most 10m.
	TagTTL Duration `json:"tagTTL,omitzero"`
	// Timeout of everything about one request, which has to be shorter than what the API server grants. Default: 8s; at most 25s.
	Timeout Duration `json:"timeout,omitzero"`
	// Verifications of images that are not remembered, at the same time; of one registry, three quarters of them,
	// and for one namespace, a quarter. Default: 64; at most 1024.
	Verifications int `json:"verifications,omitzero"`
	// Attestations that are looked for at the same time. Each may take several times limits.signatures.statementBytes of
	// memory. For one namespace, a quarter of them. Default: 16; at most 256.
	Attestations int `json:"attestations,omitzero"`
	// BreakerFailures in a row, of connections, after which a registry is left alone, or of requests, after which a
	// repository is, for those who have the same credentials. Default: 5; at most 100.
	BreakerFailures int `json:"breakerFailures,omitzero"`
	// BreakerPause is how long it is left alone. Default: 10s; at most 10m.
	BreakerPause Duration `json:"breakerPause,omitzero"`
}

// WithDefaults fills in zero fields.
func (l Admission) WithDefaults() Admission {
	return Admission{
		Verdicts:        cmp.Or(l.Verdicts, 20_000),
		SuccessTTL:      cmp.Or(l.SuccessTTL, Duration(12*time.Hour)),
		FailureTTL:      cmp.Or(l.FailureTTL, Duration(10*time.Second)),
		TagTTL:          cmp.Or(l.TagTTL, Duration(10*time.Second)),
		Timeout:         cmp.Or(l.Timeout, Duration(8*time.Second)),
		Verifications:   cmp.Or(l.Verifications, 64),
		Attestations:    cmp.Or(l.Attestations, 16),
		BreakerFailures: cmp.Or(l.BreakerFailures, 5),
		BreakerPause:    cmp.Or(l.BreakerPause, Duration(10*time.Second)),
	}
}

// MaximumAdmission has the hard maximum of every limit of Admission.
func MaximumAdmission() Admission {
	return Admission{
		Verdicts: 1_000_000, SuccessTTL: Duration(168 * time.Hour), FailureTTL: Duration(10 * time.Minute), TagTTL: Duration(10 * time.Minute),
		Timeout: Duration(25 * time.Second), Verifications: 1024, Attestations: 256, BreakerFailures: 100, BreakerPause: Duration(10 * time.Minute),
	}
}

// Validate reports what Limits.Validate reports; the section is admission.
func (l Admission) Validate(report func(section, field, problem string)) {
	type sections struct {
		Admission Admission `json:"admission"`
	}
	validate(sections{l}, sections{MaximumAdmission()}, report)
}
