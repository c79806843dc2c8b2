package controllers

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/registry"
)

// indexOwner finds builds by the UID of the BaseImage that controls them.
const indexOwner = "metadata.controller.uid"

// Options are what the controllers are made of.
type Options struct {
	Config    *config.Operator
	Registry  *registry.Client
	Git       GitResolver
	Upstreams UpstreamResolver
	// Rules evaluates the Dockerfile policy.
	Rules RuleEvaluator
	// Signing is who signs, and how.
	Signing Signing
	// Version of the operator, for provenance.
	Version string
	Clock   clock.PassiveClock
	// Metrics count what happens. Whoever gives them registers them. Default: nothing is counted.
	Metrics *metrics.Metrics
	// Watchdog knows the passes that are under way. Default: nobody watches them.
	Watchdog *Watchdog
}

// SetUp registers both controllers, and the indexes that they list by.
func SetUp(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := indexFields(ctx, mgr); err != nil {
		return err
	}
	recorder := mgr.GetEventRecorder("basewright")
	images := &BaseImageReconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Git: o.Git, Upstreams: o.Upstreams, Config: o.Config, Events: recorder, Clock: o.Clock, Metrics: o.Metrics, Watchdog: o.Watchdog}
	if err := images.SetupWithManager(mgr); err != nil {
		return err
	}
	builds := &BuildReconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Registry: o.Registry, Config: o.Config, Events: recorder, Clock: o.Clock, Metrics: o.Metrics, Watchdog: o.Watchdog, Rules: o.Rules, Signing: o.Signing, Version: o.Version}
	if err := builds.SetupWithManager(mgr); err != nil {
		return err
	}
	return reportState(mgr, o.Metrics, builds.queue)
}

// CacheOptions keep Jobs and pods of others out of the operator's memory, and of nodes all but their labels.
func CacheOptions() cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{job.LabelManagedBy: job.ManagedBy})}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&batchv1.Job{}: ours,
		&corev1.Pod{}:  ours,
		nodeMetadata(): {Transform: onlyLabels},
	}}
}

func nodeMetadata() *metav1.PartialObjectMetadata {
	node := &metav1.PartialObjectMetadata{}
	node.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Node"))
	return node
}

func onlyLabels(o any) (any, error) {
	if node, ok := o.(*metav1.PartialObjectMetadata); ok {
		node.Annotations, node.ManagedFields = nil, nil
	}
	return o, nil
}

// fieldIndexes are what lists are answered by. A test's client needs the same ones.
var fieldIndexes = []struct {
	object client.Object
	field  string
	values client.IndexerFunc
}{
	{&v1alpha1.BaseImageBuild{}, indexOwner, controllerUID},
	{&v1alpha1.BaseImage{}, indexTags, tagsOfObject},
}

func controllerUID(o client.Object) []string {
	if owner := metav1.GetControllerOf(o); owner != nil {
		return []string{string(owner.UID)}
	}
	return nil
}

func tagsOfObject(o client.Object) []string {
	if image, ok := o.(*v1alpha1.BaseImage); ok {
		return tagsOf(image)
	}
	return nil
}

func indexFields(ctx context.Context, mgr ctrl.Manager) error {
	for _, index := range fieldIndexes {
		if err := mgr.GetFieldIndexer().IndexField(ctx, index.object, index.field, index.values); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", index.object, index.field, err)
		}
	}
	return nil
}

func isOwnedBy(o metav1.Object, uid types.UID) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.UID == uid
}
