package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/workload"
)

// Handler answers the apiserver.
type Handler struct {
	reviewer *Reviewer
	recorder *recorder
	// mutating pins digests; otherwise everything is looked at, and nothing changed.
	mutating bool
}

// Handle decides. What is no object with a pod is an error: the webhook is not configured for anything else.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	started := h.reviewer.Clock.Now()
	q, err := h.question(req)
	if err != nil {
		h.recorder.malformed(ctx, h.name(), req, err)
		return errored(http.StatusBadRequest, metav1.StatusReasonBadRequest, bound(plain(err.Error()), maxFinding))
	}
	r := h.reviewer.review(ctx, q)
	h.recorder.record(ctx, h.name(), req, q, r, h.reviewer.Clock.Since(started))
	return h.respond(q, r)
}

func (h *Handler) name() string {
	if h.mutating {
		return "mutate"
	}
	return "validate"
}

func (h *Handler) question(req admission.Request) (question, error) {
	if req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return question{}, fmt.Errorf("operation %s is not for this webhook", req.Operation)
	}
	object, err := workload.Decode(req.Kind, req.Object.Raw)
	if err != nil {
		return question{}, fmt.Errorf("reading the object: %w", err)
	}
	if h.mutating && !object.IsPod {
		return question{}, errors.New("only pods are changed")
	}
	q := question{object: object, namespace: req.Namespace, imagesOnly: h.mutating}
	if q.namespace == "" {
		return question{}, errors.New("the request has no namespace")
	}
	if req.Operation == admissionv1.Update {
		if q.old, err = workload.Decode(req.Kind, req.OldObject.Raw); err != nil {
			return question{}, fmt.Errorf("reading the object as it was: %w", err)
		}
	}
	return q, nil
}

// respond admits in one place alone.
func (h *Handler) respond(q question, r ruling) admission.Response {
	switch d := r.decision(); d {
	case allowed, warned:
		return h.admit(q, r)
	case denied:
		return h.annotated(errored(http.StatusForbidden, metav1.StatusReasonForbidden, told(describe(q), r.in(v1alpha1.ModeEnforce))), r)
	default:
		return h.annotated(errored(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, told(describe(q), unknowns(r))), r)
	}
}

// unknowns are never empty: a ruling that is not complete says so.
func unknowns(r ruling) []finding {
	if found := r.in(v1alpha1.ModeEnforce); len(found) > 0 {
		return found
	}
	return []finding{outage("", errors.New("the webhook has not looked at everything"))}
}

func (h *Handler) admit(q question, r ruling) admission.Response {
	resp := admission.Allowed("")
	if h.mutating {
		resp.Patches = q.object.Pin(r.pins)
		return resp
	}
	for _, f := range r.in(v1alpha1.ModeWarn) {
		resp.Warnings = append(resp.Warnings, bound(f.warning(), maxWarning))
		if len(resp.Warnings) == maxTold {
			break
		}
	}
	return h.annotated(resp, r)
}

const (
	// maxWarning of a warning, of which the apiserver passes 4096 characters on in all.
	maxWarning = 1000
	// maxAnnotation of what goes into the audit log.
	maxAnnotation = 4096
)

// annotated puts the decision into the audit log.
func (h *Handler) annotated(resp admission.Response, r ruling) admission.Response {
	resp.AuditAnnotations = map[string]string{"decision": string(r.decision())}
	if len(r.findings) > 0 {
		resp.AuditAnnotations["findings"] = bound(told("it", r.findings), maxAnnotation)
	}
	return resp
}

func errored(code int32, reason metav1.StatusReason, message string) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Result: &metav1.Status{Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message},
	}}
}

// describe names the object.
func describe(q question) string {
	return q.object.Kind + " " + nameOf(q.object)
}

// nameOf is what people know it by: those that controllers make have no name yet.
func nameOf(o *workload.Object) string {
	generated := ""
	if o.Owner.GenerateName != "" {
		generated = o.Owner.GenerateName + "…"
	}
	return clip(cmp.Or(o.Owner.Name, generated, "without a name"))
}

// logged is a logger for one request.
func logged(ctx context.Context) logr.Logger {
	return logr.FromContextOrDiscard(ctx).WithName("admission")
}

// slow is from when a decision is logged whatever it is.
const slow = 2 * time.Second
