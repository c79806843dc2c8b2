package controllers

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/metrics"
)

// reportState has the metrics report the cluster and the queue while this process leads: what says nothing about leaders
// runs only in the one.
func reportState(mgr ctrl.Manager, m *metrics.Metrics, q *queue) error {
	log := mgr.GetLogger().WithName("metrics")
	state := &metrics.State{
		Images: imagesForMetrics(mgr.GetClient()),
		Queue:  q.length,
		Failed: func(err error) { log.Error(err, "Leaving the images out of the metrics") },
	}
	err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		m.Report(state)
		defer m.Report(nil)
		<-ctx.Done()
		return nil
	}))
	if err != nil {
		return fmt.Errorf("adding the metrics of the cluster: %w", err)
	}
	return nil
}

// imagesForMetrics reads the cache without copying it: a scrape only looks.
func imagesForMetrics(reader client.Reader) func(context.Context) ([]v1alpha1.BaseImage, error) {
	return func(ctx context.Context) ([]v1alpha1.BaseImage, error) {
		list := &v1alpha1.BaseImageList{}
		if err := reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing BaseImages: %w", err)
		}
		return list.Items, nil
	}
}
