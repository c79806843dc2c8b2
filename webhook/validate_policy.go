package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
)

// policyWebhook refuses ImageAdmissionPolicies that would not be in force. What it lets through is compiled again when it is there.
func policyWebhook(scheme *runtime.Scheme, p *Policies) *admission.Webhook {
	w := admission.WithValidator(scheme, policyValidator{p})
	w.RecoverPanic = new(true)
	return w
}

type policyValidator struct{ policies *Policies }

func (v policyValidator) ValidateCreate(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy) (admission.Warnings, error) {
	return v.validate(ctx, o)
}

// ValidateUpdate lets through what leaves the spec as it is: somebody may want to label or delete a policy that has become bad.
func (v policyValidator) ValidateUpdate(ctx context.Context, before, after *v1alpha1.ImageAdmissionPolicy) (admission.Warnings, error) {
	if equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil, nil
	}
	return v.validate(ctx, after)
}

func (policyValidator) ValidateDelete(context.Context, *v1alpha1.ImageAdmissionPolicy) (admission.Warnings, error) {
	return nil, nil
}

// validate warns of references to what is not there yet: who applies a directory has no say in the order.
func (v policyValidator) validate(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy) (admission.Warnings, error) {
	refers, err := v.policies.references(ctx, &o.Spec)
	if err != nil {
		return nil, apierrors.NewServiceUnavailable(fmt.Sprintf("reading what the policy refers to: %v", err))
	}
	warnings, problems := imagepolicy.Validate(imagepolicy.Input{
		Object: o, Rules: refers.rules, PublicKey: refers.key, Trust: v.policies.trust, Now: v.policies.clock.Now(),
	})
	for _, missing := range refers.missing {
		warnings = append(warnings, missing.Error()+"; until then the policy is not ready")
	}
	if len(problems) > 0 {
		return warnings, apierrors.NewInvalid(v1alpha1.SchemeGroupVersion.WithKind(imagepolicy.KindImageAdmissionPolicy).GroupKind(), o.Name, problems)
	}
	return warnings, nil
}
