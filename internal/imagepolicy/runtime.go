package imagepolicy

import (
	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/rules"
)

// nonroot is the user of hardened images, by custom.
const nonroot = 65532

func (c *compiler) runtime() {
	r := c.spec.Runtime
	if r.Profile == v1alpha1.ProfileOff {
		if r.Parameters != nil {
			c.forbidden(specPath.Child("runtime", "parameters"), "leave them out if profile is Off")
		}
		if r.ExtraRules != nil {
			c.forbidden(extraPath, "leave it out if profile is Off")
		}
		return
	}
	if r.ExtraRules != nil && len(c.in.Rules) == 0 && !c.lenient {
		c.required(extraPath, "ConfigMap %s has no key that ends in .rego: add one, or leave extraRules out", r.ExtraRules.Name)
	}
	if p := r.Parameters; p != nil && p.ImageMaxAge != nil && c.undated {
		c.forbidden(specPath.Child("runtime", "parameters", "imageMaxAge"), "nobody says when a key has signed without the transparency log: set spec.key.transparencyLog to Required, or leave imageMaxAge out")
	}
	compiled, err := rules.CompilePods(c.in.Rules)
	if err != nil {
		c.invalid(extraPath, "ConfigMap "+extraName(r), "%s", without(extraPath, err))
	}
	c.policy.Runtime = &Runtime{Profile: r.Profile, Parameters: parametersOf(r), Rules: compiled}
}

// parametersOf has what is left out by default with Restricted; Baseline does not look at it.
func parametersOf(r v1alpha1.RuntimePolicy) rules.PodParameters {
	p := v1alpha1.RuntimeParameters{}
	if r.Parameters != nil {
		p = *r.Parameters.DeepCopy()
	}
	if r.Profile == v1alpha1.ProfileRestricted {
		if len(p.Users) == 0 {
			p.Users = []v1alpha1.UserRange{{Min: nonroot}}
		}
		set(&p.WritableRootFilesystem, v1alpha1.Forbid)
		set(&p.ServiceAccountToken, v1alpha1.TokenExplicit)
	}
	out := rules.PodParameters{
		ReadOnlyRootFilesystem: p.WritableRootFilesystem == v1alpha1.Forbid,
		ServiceAccountToken:    string(p.ServiceAccountToken),
		RequiredLimits:         p.RequiredLimits,
		NoImageShells:          p.ImageShells == v1alpha1.Forbid,
		ImageLabels:            p.ImageLabels,
	}
	if p.ImageMaxAge != nil {
		out.ImageMaxAge = p.ImageMaxAge.Duration
	}
	for _, u := range p.Users {
		last := u.Min
		if u.Max != nil {
			last = *u.Max
		}
		out.Users = append(out.Users, rules.UserRange{Min: u.Min, Max: last})
	}
	return out
}

// extraName is that of the ConfigMap with added rules.
func extraName(r v1alpha1.RuntimePolicy) string {
	if r.ExtraRules == nil {
		return ""
	}
	return r.ExtraRules.Name
}
