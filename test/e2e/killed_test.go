//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/hack/publish"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

// fuse ends an operator at one of its writes to the apiserver or the registry: before it is sent, or after it was
// answered and before the operator knows.
type fuse struct {
	// write is the kind of the write, see kindOf; at is its number among those of its kind, from 1.
	write string
	at    int
	after bool
	kill  func()

	mu     sync.Mutex
	writes []string
	blown  bool
}

func (f *fuse) String() string {
	return fmt.Sprintf("%s %s %d", map[bool]string{false: "before", true: "after"}[f.after], f.write, f.at)
}

var errKilled = errors.New("the operator was killed")

// wrap makes a transport that the fuse watches. After it has blown, nothing is sent any more.
func (f *fuse) wrap(next http.RoundTripper) http.RoundTripper { return &fused{f, next} }

type fused struct {
	fuse *fuse
	next http.RoundTripper
}

func (t *fused) RoundTrip(r *http.Request) (*http.Response, error) {
	last, err := t.fuse.count(kindOf(r))
	if err != nil {
		return nil, err
	}
	response, err := t.next.RoundTrip(r)
	if last && err == nil {
		_ = response.Body.Close()
		return nil, t.fuse.blow()
	}
	return response, err
}

// count reports whether the write is the last one, of which the operator won't hear.
func (f *fuse) count(write string) (last bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blown {
		return false, errKilled
	}
	if write == "" {
		return false, nil
	}
	f.writes = append(f.writes, write)
	if write != f.write || f.number(write) != f.at {
		return false, nil
	}
	if f.after {
		return true, nil
	}
	return false, f.end()
}

// number of the writes of a kind.
func (f *fuse) number(write string) (n int) {
	for _, w := range f.writes {
		if w == write {
			n++
		}
	}
	return n
}

func (f *fuse) blow() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.end()
}

func (f *fuse) end() error {
	f.blown = true
	f.kill()
	return errKilled
}

// kindOf names a write by its method and what is written; empty for what is none.
func kindOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		return ""
	case r.URL.Host == registryHost && strings.HasPrefix(parts[len(parts)-1], "sha256:"):
		return r.Method + " manifest"
	case r.URL.Host == registryHost:
		return r.Method + " tag"
	}
	// apis/<group>/<version>/namespaces/<namespace>/<resource>[/<name>[/<subresource>]]
	rest := parts[slices.Index(parts, "namespaces")+2:]
	if len(rest) > 2 {
		return r.Method + " " + rest[0] + "/" + rest[2]
	}
	return r.Method + " " + rest[0]
}

// newOperatorProcess starts the operator in this process, for one namespace, as cmd/operator does it.
func newOperatorProcess(t *testing.T, namespace string, f *fuse) (stop func()) {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(checkout, ".sandbox", "kubeconfig"))
	must(t, err)
	cfg.WrapTransport = f.wrap
	cfg.QPS = -1 // As ctrl.GetConfig has it.
	skip := true
	opts := controllers.CacheOptions()
	opts.DefaultNamespaces = map[string]cache.Config{namespace: {}}
	mgr, err := ctrl.NewManager(rest.AddUserAgent(cfg, "basewright-operator"), ctrl.Options{Scheme: k8s.Scheme(), Cache: opts,
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: ctrlconfig.Controller{SkipNameValidation: &skip}})
	must(t, err)
	settings := operatorConfig(t)
	reg, err := registry.New(registry.Config{CABundle: []byte(settings.Registries.CABundle), PrivateHosts: settings.Registries.Private(),
		Mirrors: mirrors(settings), Limits: settings.Limits.Registry, Wrap: f.wrap})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	f.kill = cancel
	must(t, controllers.SetUp(ctx, mgr, controllers.Options{Config: settings, Registry: reg, Clock: clock.RealClock{},
		Git:       source.NewResolver(source.Config{Transport: reg.HTTPClient().Transport, Dial: reg.DialContext}),
		Upstreams: upstream.Resolver{Registry: reg}}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = mgr.Start(ctx) // Killed, it complains.
	}()
	return func() { cancel(); <-done }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// operatorConfig is the configuration of the operator that is installed.
func operatorConfig(t *testing.T) *config.Operator {
	t.Helper()
	list := &corev1.ConfigMapList{}
	must(t, k8s.List(t.Context(), list, client.InNamespace("basewright-system")))
	for _, cm := range list.Items {
		if content, ok := cm.Data["config.yaml"]; ok {
			settings, err := config.Parse([]byte(content))
			must(t, err)
			return settings
		}
	}
	t.Fatal("the operator has no configuration")
	return nil
}

func mirrors(settings *config.Operator) []registry.Mirror {
	var out []registry.Mirror
	for _, m := range settings.Registries.Mirrors {
		out = append(out, registry.Mirror{Prefix: m.Prefix, Endpoint: m.Endpoint})
	}
	return out
}

// pauseInstalledOperator has the cluster's own operator stand back until the test is over.
func pauseInstalledOperator(t *testing.T) {
	t.Helper()
	scale := func(replicas string) (string, error) {
		return runIn(checkout, kubectl, "--namespace=basewright-system", "scale", "deployment/basewright-operator", "--replicas="+replicas)
	}
	t.Cleanup(func() {
		out, err := scale("1")
		if err == nil {
			out, err = runIn(checkout, kubectl, "--namespace=basewright-system", "rollout", "status", "deployment/basewright-operator", "--timeout=5m")
		}
		if err != nil {
			t.Errorf("starting the operator again: %v\n%s", err, out)
		}
	})
	if out, err := scale("0"); err != nil {
		t.Fatalf("pausing the operator: %v\n%s", err, out)
	}
	run(t, nil, kubectl, "--namespace=basewright-system", "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=operator", "--timeout=2m")
}

// TestOperatorKilledAtEveryWrite kills the operator before and after each of its writes of a whole build, and starts
// another: the result is that of an undisturbed build, with the same Jobs.
func TestOperatorKilledAtEveryWrite(t *testing.T) {
	pauseInstalledOperator(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\nUSER 65532:65532\n"), fs.FileMode(0o644)))
	url, _, err := publish.FS(t.Context(), checkout, "e2e-fuse", "context", dir)
	must(t, err)
	undisturbed := &fuse{}
	want := killedAt(t, url, undisturbed)
	for _, write := range []string{"POST baseimagebuilds", "PUT baseimages/status", "PUT baseimagebuilds/status", "POST configmaps", "POST jobs", "PUT manifest", "PUT tag", "POST events"} {
		if undisturbed.number(write) == 0 {
			t.Errorf("a build has no %s: its writes are %q", write, undisturbed.writes)
		}
	}
	seen := map[string]int{}
	for _, write := range undisturbed.writes {
		seen[write]++
		for _, after := range []bool{false, true} {
			f := &fuse{write: write, at: seen[write], after: after}
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				if got := killedAt(t, url, f); got != want {
					t.Errorf("digest %s, undisturbed %s", got, want)
				}
				// How often a status is written, and which events are sent together, depends on what is seen of the pods.
				if !f.blown && !strings.HasSuffix(f.write, "/status") && !strings.HasSuffix(f.write, " events") {
					t.Errorf("the operator was not killed: its writes were %q", f.writes)
				}
			})
		}
	}
}

// killedAt builds an image with an operator that has a fuse, then with another that has none, and returns the digest.
func killedAt(t *testing.T, url string, f *fuse) string {
	ns := newNamespace(t)
	image := inline(ns, "fuse", "")
	image.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: url, Ref: "main", Path: "context"}}
	create(t, image)
	stop := newOperatorProcess(t, ns, f)
	eventually(t, buildTimeout, fmt.Sprintf("the operator to be killed %s, or the image to be ready", f), func(ctx context.Context) (bool, string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		err := k8s.Get(ctx, client.ObjectKeyFromObject(image), image)
		return f.blown || err == nil && isReady(image), fmt.Sprint(err, f.writes)
	})
	stop()
	before := uids(jobsOf(t.Context(), t, image))
	stop = newOperatorProcess(t, ns, &fuse{})
	defer stop()
	ready := awaitReady(t, image)
	if ready.Status.LatestBuild.Attempt != 1 {
		t.Errorf("it took %d builds, want 1", ready.Status.LatestBuild.Attempt)
	}
	after := uids(jobsOf(t.Context(), t, image))
	if len(after) != 2 || slices.ContainsFunc(before, func(uid types.UID) bool { return !slices.Contains(after, uid) }) {
		t.Errorf("Jobs = %v, when the operator was killed they were %v", after, before)
	}
	return ready.Status.Image.Digest
}

func isReady(i *v1alpha1.BaseImage) bool {
	return meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionReady) &&
		!meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionReconciling)
}
