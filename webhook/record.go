package webhook

import (
	"context"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/metrics"
)

// recorder tells of decisions: in the log, in metrics, in the status of policies, and to the owner of what was refused.
type recorder struct {
	policies policySource
	metrics  *metrics.Admission
	owners   *owners
	// every one of so many decisions that admit is logged; 0: none.
	every   uint64
	allowed atomic.Uint64
}

// record is told of every decision once: the mutating webhook tells of what it refuses alone, the validating one of the rest.
func (r *recorder) record(ctx context.Context, webhook string, req admission.Request, q question, ruling ruling, took time.Duration) {
	d := ruling.decision()
	r.metrics.Decided(webhook, req.Kind.Kind, string(d), took)
	if q.imagesOnly && d != denied && d != failed {
		return
	}
	for _, f := range ruling.findings {
		r.metrics.Found(f.reason, string(f.mode))
	}
	r.log(ctx, webhook, req, q, ruling, d, took)
	if req.DryRun != nil && *req.DryRun {
		return
	}
	for _, p := range ruling.policies {
		r.policies.Count(p, ruling.violated(p))
	}
	if req.Operation == admissionv1.Create && (d == denied || d == failed) {
		r.owners.tell(req.Namespace, eventReasons[d], q.object, told(describe(q), ruling.in(v1alpha1.ModeEnforce)))
	}
}

func (r *recorder) malformed(ctx context.Context, webhook string, req admission.Request, err error) {
	r.metrics.Decided(webhook, req.Kind.Kind, string(failed), 0)
	logged(ctx).Info("Refused a request that can't be read", "webhook", webhook, "uid", req.UID, "why", bound(plain(err.Error()), maxFinding))
}

// log is one line for each denial, and for some of the rest.
func (r *recorder) log(ctx context.Context, webhook string, req admission.Request, q question, ruling ruling, d decision, took time.Duration) {
	if d == allowed && took < slow && !r.sampled() {
		return
	}
	logged(ctx).Info("Decided", "webhook", webhook, "decision", d, "uid", req.UID, "operation", req.Operation, "kind", req.Kind.Kind,
		"namespace", req.Namespace, "name", nameOf(q.object), "subResource", req.SubResource, "user", clip(req.UserInfo.Username),
		"dryRun", req.DryRun != nil && *req.DryRun, "policies", names(ruling), "findings", logLines(ruling), "milliseconds", took.Milliseconds())
}

func (r *recorder) sampled() bool { return r.every > 0 && r.allowed.Add(1)%r.every == 1%r.every }

func names(r ruling) []string {
	out := []string{}
	for _, p := range r.policies {
		out = append(out, p.Name)
	}
	return out
}

// logLine is a finding for machines.
type logLine struct {
	Policy  string              `json:"policy,omitempty"`
	Mode    v1alpha1.PolicyMode `json:"mode"`
	Reason  string              `json:"reason"`
	Rule    string              `json:"rule,omitempty"`
	Field   string              `json:"field,omitempty"`
	Image   string              `json:"image,omitempty"`
	Message string              `json:"message"`
}

func logLines(r ruling) []logLine {
	out := []logLine{}
	for _, f := range r.findings {
		if len(out) == maxTold {
			break
		}
		out = append(out, logLine{Policy: f.policyName(), Mode: f.mode, Reason: f.reason, Rule: f.rule, Field: f.field, Image: clip(f.image),
			Message: bound(plain(f.message), maxWarning)})
	}
	return out
}

// eventReasons tell a violation from an outage in the events of owners.
var eventReasons = map[decision]string{denied: "AdmissionRefused", failed: "AdmissionFailed"}
