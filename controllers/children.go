package controllers

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// children creates objects that belong to another one.
type children struct {
	client client.Client
	// live reads from the apiserver, not from a cache that may be behind.
	live client.Reader
}

// ensure creates child with a deterministic name, once: if it exists and is controlled by owner, it is read into
// child. An object of somebody else is a Terminal with reason NameConflict.
func (c children) ensure(ctx context.Context, owner, child client.Object) error {
	if err := controllerutil.SetControllerReference(owner, child, c.client.Scheme()); err != nil {
		return fmt.Errorf("setting the owner of %s: %w", child.GetName(), err)
	}
	err := c.client.Create(ctx, child)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := c.live.Get(ctx, client.ObjectKeyFromObject(child), child); err != nil {
		return fmt.Errorf("reading %s, which exists already: %w", child.GetName(), err)
	}
	if !metav1.IsControlledBy(child, owner) {
		return pipeline.Terminalf(v1alpha1.ReasonConflict, "%s %s/%s exists and does not belong to %s: delete it, and request a build by the annotation "+v1alpha1.BuildRequestedAtAnnotation, c.kind(child), child.GetNamespace(), child.GetName(), owner.GetName())
	}
	return nil
}

func (c children) kind(o client.Object) string {
	kinds, _, err := c.client.Scheme().ObjectKinds(o)
	if err != nil || len(kinds) == 0 {
		return "an object"
	}
	return kinds[0].Kind
}
