package webhook

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/metrics"
)

// Paths of the handlers.
const (
	MutatePath         = "/mutate"
	ValidatePath       = "/validate"
	ValidatePolicyPath = "/validate-policy"
)

// Options of admission.
type Options struct {
	Policies   policySource
	Cluster    clusterState
	Judge      Judge
	References references
	// Unmatched is what becomes of an image that no policy is for. Default: ModeEnforce.
	Unmatched v1alpha1.PolicyMode
	// AllowUnmatched admits such images.
	AllowUnmatched bool
	// LogAllowed is of how many requests that are admitted one is logged; 0: none is.
	LogAllowed int
	// Budget of one request. It has to be less than timeoutSeconds of the webhook configurations: the apiserver's own message
	// at its end would name no step.
	Budget  time.Duration
	Metrics *metrics.Admission
	Clock   clock.PassiveClock
}

// SetUp registers the handlers for pods, and for what makes pods, with the manager's webhook server.
func SetUp(mgr ctrl.Manager, o Options) error {
	if o.Policies == nil || o.Cluster == nil || o.Judge == nil || o.References == nil || o.Clock == nil || o.Budget <= 0 {
		return errors.New("setting up admission: something that it depends on is missing")
	}
	told := newOwners(mgr.GetAPIReader(), mgr.GetEventRecorder("basewright-webhook"), ctrl.Log.WithName("owners"))
	if err := mgr.Add(told); err != nil {
		return fmt.Errorf("adding what tells owners: %w", err)
	}
	reviewer := &Reviewer{Policies: o.Policies, Cluster: o.Cluster, Judge: o.Judge, References: o.References,
		Unmatched: o.Unmatched, AllowUnmatched: o.AllowUnmatched, Budget: o.Budget, Clock: o.Clock}
	rec := &recorder{policies: o.Policies, metrics: o.Metrics, owners: told, every: uint64(max(o.LogAllowed, 0))}
	server := mgr.GetWebhookServer()
	g := newGate()
	server.Register(MutatePath, serve(&Handler{reviewer: reviewer, recorder: rec, mutating: true}, g))
	server.Register(ValidatePath, serve(&Handler{reviewer: reviewer, recorder: rec}, g))
	return nil
}
