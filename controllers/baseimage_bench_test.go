package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
)

// What the operator does most of the time: it looks at an image that has nothing to do. That must be cheap, and must
// not write.
func BenchmarkReconcileAtRest(b *testing.B) {
	var writes int
	r, image := resting(b, &writes)
	request := ctrl.Request{NamespacedName: nameOf(image)}
	b.ReportAllocs()
	for b.Loop() {
		result, err := r.Reconcile(b.Context(), request)
		if err != nil || result.RequeueAfter <= 0 {
			b.Fatalf("Reconcile = %v, %v; want a time to come back", result, err)
		}
	}
	b.ReportMetric(float64(writes)/float64(b.N), "writes/op")
	if writes > 0 {
		b.Errorf("%d writes for an image that has nothing to do", writes)
	}
}

// resting is an image whose first build has succeeded, in a cluster that counts what is written from now on.
func resting(tb testing.TB, writes *int) (*BaseImageReconciler, *v1alpha1.BaseImage) {
	tb.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))
	image := scheduled("0 0 * * 0", "UTC", 30*time.Minute, 24*time.Hour)
	image.Namespace, image.Name, image.CreationTimestamp = "images", "one", metav1.NewTime(clock.Now())
	image.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "main"}
	image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
	image.Spec.Output = v1alpha1.Output{Repository: "registry.example/base/one", Tags: []v1alpha1.Tag{"latest"}}
	in := &inputs{commit: "c0ffee", digest: digestA, dockerfile: "FROM alpine:3\n"}
	cluster := countingClient(tb, image, writes)
	r := &BaseImageReconciler{Client: cluster, Live: cluster, Git: in, Upstreams: in, Config: config.Default(), Events: &events.FakeRecorder{}, Clock: clock}
	reconcileOnce(tb, r, image)
	succeed(tb, r, clock.Now())
	reconcileOnce(tb, r, image)
	*writes = 0
	return r, image
}

func reconcileOnce(tb testing.TB, r *BaseImageReconciler, image *v1alpha1.BaseImage) {
	tb.Helper()
	if _, err := r.Reconcile(tb.Context(), ctrl.Request{NamespacedName: nameOf(image)}); err != nil {
		tb.Fatal(err)
	}
}

// succeed ends the only build, as its own controller would.
func succeed(tb testing.TB, r *BaseImageReconciler, now time.Time) {
	tb.Helper()
	list := &v1alpha1.BaseImageBuildList{}
	if err := r.List(tb.Context(), list); err != nil || len(list.Items) != 1 {
		tb.Fatalf("%d builds (%v), want one", len(list.Items), err)
	}
	build := &list.Items[0]
	build.CreationTimestamp = metav1.NewTime(now)
	if err := r.Update(tb.Context(), build); err != nil {
		tb.Fatal(err)
	}
	build.Status.Phase, build.Status.Digest, build.Status.CompletedAt = v1alpha1.PhaseSucceeded, digestA, new(metav1.NewTime(now))
	if err := r.Status().Update(tb.Context(), build); err != nil {
		tb.Fatal(err)
	}
}

// countingClient is a cluster in memory that counts the requests which change something.
func countingClient(tb testing.TB, image *v1alpha1.BaseImage, writes *int) client.WithWatch {
	tb.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		tb.Fatal(err)
	}
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(image).WithStatusSubresource(&v1alpha1.BaseImage{}, &v1alpha1.BaseImageBuild{})
	for _, index := range fieldIndexes {
		b = b.WithIndex(index.object, index.field, index.values)
	}
	return b.WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			*writes++
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			*writes++
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			*writes++
			return c.Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			*writes++
			return c.Delete(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			*writes++
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			*writes++
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	}).Build()
}
