package controllers

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/job"
)

// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;create

// ensureNetwork makes the network policies of a build. They are there before each Job, so that no pod ever runs without.
func (run *buildRun) ensureNetwork(ctx context.Context, subject string) error {
	for _, policy := range job.NetworkPolicies(run.build) {
		if err := run.ensurePolicy(ctx, subject, policy); err != nil {
			return err
		}
	}
	return nil
}

func (run *buildRun) ensurePolicy(ctx context.Context, subject string, policy *networkingv1.NetworkPolicy) error {
	found := &networkingv1.NetworkPolicy{}
	if err := run.Live.Get(ctx, client.ObjectKeyFromObject(policy), found); err == nil && metav1.IsControlledBy(found, run.build) {
		return nil
	} else if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading NetworkPolicy %s: %w", policy.Name, err)
	}
	err := run.children().ensure(ctx, run.build, policy)
	if apierrors.IsForbidden(err) {
		return refused(subject, "NetworkPolicy "+policy.Name, err.Error())
	}
	if err != nil {
		return fmt.Errorf("creating NetworkPolicy %s: %w", policy.Name, err)
	}
	return nil
}
