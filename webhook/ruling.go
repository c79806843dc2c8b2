package webhook

import (
	"cmp"
	"slices"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// finding is a reason not to admit an object.
type finding struct {
	// policy that does not hold; nil if it is not about one.
	policy *imagepolicy.Policy
	// mode says what becomes of it. The zero value is in no mode: it is made by violation and outage alone.
	mode v1alpha1.PolicyMode
	// unknown: nobody knows whether something is wrong, because something is away.
	unknown bool
	// reason is a reason of internal/pipeline; rule is that of a runtime rule.
	reason, rule string
	// field of the object, and the image there.
	field, image string
	// message says what was expected and what was found, fix what to do, command how to see it.
	message, fix, command string
}

// outage is what could not be found out. It refuses.
func outage(field string, err error) finding {
	return finding{mode: v1alpha1.ModeEnforce, unknown: true, reason: pipeline.ReasonOf(err), field: field, message: err.Error()}
}

// of puts f into the mode of policy.
func (f finding) of(policy *imagepolicy.Policy) finding {
	f.policy, f.mode = policy, policy.Mode
	return f
}

func (f finding) compare(other finding) int {
	return cmp.Or(cmp.Compare(order(f), order(other)), cmp.Compare(f.field, other.field), cmp.Compare(f.policyName(), other.policyName()),
		cmp.Compare(f.rule, other.rule), cmp.Compare(f.message, other.message))
}

// order has images before runtime rules, and what is known before what is not.
func order(f finding) int {
	switch {
	case f.unknown:
		return 2
	case f.rule != "":
		return 1
	}
	return 0
}

func (f finding) policyName() string {
	if f.policy == nil {
		return ""
	}
	return f.policy.Name
}

// ruling is what a review comes to. The zero value admits nothing.
type ruling struct {
	// complete: every image and every rule was looked at.
	complete bool
	// findings of all modes, sorted.
	findings []finding
	// pins are the references to write, by JSON pointer.
	pins map[string]string
	// policies that were asked, sorted.
	policies []*imagepolicy.Policy
}

// in are the findings of one mode.
func (r ruling) in(mode v1alpha1.PolicyMode) []finding {
	var out []finding
	for _, f := range r.findings {
		if f.mode == mode {
			out = append(out, f)
		}
	}
	return out
}

// decision is what becomes of a request.
type decision string

const (
	// allowed: every policy in force holds.
	allowed decision = "allowed"
	// warned: policies that only warn, or write to the audit log, do not hold.
	warned decision = "warned"
	// denied: something is wrong.
	denied decision = "denied"
	// failed: something is away.
	failed decision = "failed"
)

// decision denies what is wrong, and what nobody knows to be right.
func (r ruling) decision() decision {
	refusing := r.in(v1alpha1.ModeEnforce)
	switch {
	case slices.ContainsFunc(refusing, func(f finding) bool { return !f.unknown }):
		return denied
	case len(refusing) > 0 || !r.complete:
		return failed
	case len(r.findings) > 0:
		return warned
	}
	return allowed
}

// violated are the policies that do not hold. What nobody knows does not count.
func (r ruling) violated(p *imagepolicy.Policy) bool {
	return slices.ContainsFunc(r.findings, func(f finding) bool { return f.policy == p && !f.unknown })
}
