package controllers

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/kaniko"
)

// indexOwner finds builds by the UID of the BaseImage that controls them.
const indexOwner = "metadata.controller.uid"

// CacheOptions keep Jobs and pods of others out of the operator's memory.
func CacheOptions() cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{kaniko.LabelManagedBy: kaniko.ManagedBy})}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&batchv1.Job{}: ours,
		&corev1.Pod{}:  ours,
	}}
}

// IndexFields adds the indexes that the reconcilers list by.
func IndexFields(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.BaseImageBuild{}, indexOwner, func(o client.Object) []string {
		if owner := metav1.GetControllerOf(o); owner != nil {
			return []string{string(owner.UID)}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing builds by owner: %w", err)
	}
	return nil
}

func isOwnedBy(o metav1.Object, uid types.UID) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.UID == uid
}
