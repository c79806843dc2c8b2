//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/upstream"
)

// writes counts the requests that change something.
type writes struct {
	next http.RoundTripper
	n    *atomic.Int64
}

func (w *writes) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		w.n.Add(1)
	}
	return w.next.RoundTrip(r)
}

// BenchmarkRestartAtScale starts the operator in a cluster with many images at rest, 5000 unless BASEWRIGHT_SCALE says
// otherwise, and measures what it takes until it has looked at each, and what it writes. Run it by make bench-scale.
func BenchmarkRestartAtScale(b *testing.B) {
	images := 5000
	if n, err := strconv.Atoi(os.Getenv("BASEWRIGHT_SCALE")); err == nil {
		images = n
	}
	namespace := newNamespace(b)
	populate(b, namespace, images)
	for b.Loop() {
		var written atomic.Int64
		done, stop := startAtScale(b, namespace, images, &written)
		start := time.Now()
		<-done
		took := time.Since(start)
		stop()
		b.ReportMetric(float64(written.Load()), "writes")
		b.ReportMetric(took.Seconds(), "s/restart")
		b.ReportMetric(residentMiB(b), "MiB-RSS")
	}
}

// populate makes images and has an operator make their builds, which end at once.
func populate(b *testing.B, namespace string, n int) {
	b.Helper()
	var ignored atomic.Int64
	_, stop := startAtScale(b, namespace, -1, &ignored)
	defer stop()
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			return k8s.Create(b.Context(), &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("image-%05d", i)},
				Spec: v1alpha1.BaseImageSpec{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images"}},
					Output: v1alpha1.Output{Repository: fmt.Sprintf("registry.example/base/%05d", i)}}})
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Minute)
	for ready := 0; ready < n; {
		if time.Now().After(deadline) {
			b.Fatalf("only %d of %d images are ready", ready, n)
		}
		ready = endBuilds(b, namespace)
	}
}

// endBuilds lets every build succeed, and returns how many images are ready.
func endBuilds(b *testing.B, namespace string) (ready int) {
	b.Helper()
	builds := &v1alpha1.BaseImageBuildList{}
	if err := k8s.List(b.Context(), builds, client.InNamespace(namespace)); err != nil {
		b.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(16)
	for i := range builds.Items {
		build := &builds.Items[i]
		if build.Status.Phase == v1alpha1.PhaseSucceeded {
			continue
		}
		build.Status.Phase, build.Status.Digest, build.Status.CompletedAt = v1alpha1.PhaseSucceeded, someDigest, new(metav1.Now())
		build.Status.QueuePosition = nil
		group.Go(func() error {
			err := k8s.Status().Update(b.Context(), build)
			if apierrors.IsConflict(err) {
				return nil // The operator has written it: another round follows.
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	list := &v1alpha1.BaseImageList{}
	if err := k8s.List(b.Context(), list, client.InNamespace(namespace)); err != nil {
		b.Fatal(err)
	}
	for i := range list.Items {
		if list.Items[i].Status.Image != nil {
			ready++
		}
	}
	return ready
}

// startAtScale starts an operator. done is closed once it has looked at so many images.
func startAtScale(b *testing.B, namespace string, images int, written *atomic.Int64) (done chan struct{}, stop func()) {
	b.Helper()
	counted := rest.CopyConfig(cfg)
	counted.QPS = -1
	counted.WrapTransport = func(next http.RoundTripper) http.RoundTripper { return &writes{next, written} }
	opts := controllers.CacheOptions()
	opts.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	skip := true
	mgr, err := ctrl.NewManager(counted, ctrl.Options{Scheme: scheme, Cache: opts, Metrics: metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0", Controller: ctrlconfig.Controller{SkipNameValidation: &skip}})
	if err != nil {
		b.Fatal(err)
	}
	reg, err := registry.New(registry.Config{})
	if err != nil {
		b.Fatal(err)
	}
	settings := config.Default()
	settings.Images = config.Images{
		Kaniko: "kaniko.example/kaniko@" + someDigest, Worker: "worker.example/worker@" + someDigest,
		Syft: "scanners.example/syft@" + someDigest, Trivy: "scanners.example/trivy@" + someDigest, Grype: "scanners.example/grype@" + someDigest,
	}
	settings.Builds.MaxConcurrent = 1
	seen := &lookCounter{PassiveClock: clock.RealClock{}, left: int64(images), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	if err := controllers.SetUp(ctx, mgr, controllers.Options{Config: settings, Registry: reg, Git: &fakeGit{commit: commitA}, Rules: rules.UnsafeHere{},
		Upstreams: upstream.Resolver{Registry: reg}, Clock: seen}); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = mgr.Start(ctx) }()
	return seen.done, func() { cancel(); <-ended }
}

// lookCounter is a clock that counts how often it is looked at: once at least for each pass over an image or a build.
type lookCounter struct {
	clock.PassiveClock
	left int64
	done chan struct{}
}

func (l *lookCounter) Now() time.Time {
	if atomic.AddInt64(&l.left, -1) == 0 {
		close(l.done)
	}
	return l.PassiveClock.Now()
}

func residentMiB(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}
