//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
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
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

// fuse ends an operator at some of its writes to the apiserver or the registry: before they are sent, or after they were
// answered and before the operator knows. Each kills one process; the next one goes on with what is left of them.
type fuse struct {
	// points are the writes, see nameOf, and whether it is after them.
	points []point

	mu sync.Mutex
	// writes that were sent, in their order, by name.
	writes []string
	blown  bool
	kill   func()
}

type point struct {
	write string
	after bool
}

func (p point) String() string {
	return map[bool]string{false: "before ", true: "after "}[p.after] + p.write
}

var errKilled = errors.New("the operator was killed")

// wrap makes a transport that the fuse watches. After it has blown, nothing is sent any more.
func (f *fuse) wrap(next http.RoundTripper) http.RoundTripper { return &fused{f, next} }

type fused struct {
	fuse *fuse
	next http.RoundTripper
}

func (t *fused) RoundTrip(r *http.Request) (*http.Response, error) {
	last, err := t.fuse.watch(r)
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

// watch reports whether a request is the last one of this process, which won't hear of its answer.
func (f *fuse) watch(r *http.Request) (last bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blown {
		return false, errKilled
	}
	kind := kindOf(r)
	if kind == "" {
		return false, nil
	}
	write := f.nameOf(kind, r)
	i := slices.IndexFunc(f.points, func(p point) bool { return p.write == write })
	if i < 0 {
		f.writes = append(f.writes, write)
		return false, nil
	}
	after := f.points[i].after
	f.points = slices.Delete(f.points, i, i+1)
	if !after {
		return false, f.end()
	}
	f.writes = append(f.writes, write)
	return true, nil
}

// nameOf tells a write from others of its kind: by the object that it makes, or by its number.
func (f *fuse) nameOf(kind string, r *http.Request) string {
	if strings.HasPrefix(kind, "POST ") && kind != "POST events" {
		if name := nameOfBuild.FindStringSubmatch(bodyOf(r)); name != nil {
			return kind + " build" + name[1]
		}
	}
	number := 1
	for _, w := range f.writes {
		if strings.HasPrefix(w, kind+" #") {
			number++
		}
	}
	return fmt.Sprintf("%s #%d", kind, number)
}

// nameOfBuild is that of the first build of the image fuse, and of what belongs to it.
var nameOfBuild = regexp.MustCompile(`fuse-1-[0-9a-f]{6}([a-z0-9-]*)`)

func bodyOf(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	raw, _ := io.ReadAll(body)
	return string(raw)
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

// rearm lets another process write, if this one was killed.
func (f *fuse) rearm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.blown
	f.blown = false
	return was
}

func (f *fuse) look() (blown bool, writes []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blown, slices.Clone(f.writes)
}

// kindOf names a write by its method and what is written; empty for what is none.
func kindOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case r.Method == http.MethodGet, r.Method == http.MethodHead, strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		return ""
	case r.URL.Host == registryHost && slices.Contains(parts, "blobs"):
		return r.Method + " blob"
	case r.URL.Host == registryHost && strings.HasPrefix(last, "sha256:"):
		return r.Method + " manifest"
	case r.URL.Host == registryHost:
		return r.Method + " tag"
	case strings.HasSuffix(r.URL.Host, ".basewright.test") && slices.Contains(signers, r.URL.Host):
		return r.Method + " " + r.URL.Host
	}
	// apis/<group>/<version>/namespaces/<namespace>/<resource>[/<name>[/<subresource>]]
	rest := parts[slices.Index(parts, "namespaces")+2:]
	if len(rest) > 2 {
		return r.Method + " " + rest[0] + "/" + rest[2]
	}
	return r.Method + " " + rest[0]
}

// signers are the services that the operator signs with.
var signers = []string{"fulcio.basewright.test", "rekor.basewright.test", "timestamp.basewright.test"}

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
	f.mu.Lock()
	f.kill = cancel
	f.mu.Unlock()
	must(t, controllers.SetUp(ctx, mgr, controllers.Options{Config: settings, Registry: reg, Clock: clock.RealClock{},
		Git:       source.NewResolver(source.Config{Transport: reg.HTTPClient().Transport, Dial: reg.DialContext}),
		Upstreams: upstream.Resolver{Registry: reg}, Rules: rules.UnsafeHere{}, Signing: signing(t, mgr, settings, reg, f), Version: "v0.0.0-test"}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = mgr.Start(ctx) // Killed, it complains.
	}()
	return func() { cancel(); <-done }
}

// signing signs with the sandbox's Sigstore.
func signing(t *testing.T, mgr ctrl.Manager, settings *config.Operator, reg *registry.Client, f *fuse) controllers.Signing {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "trusted_root.json"))
	must(t, err)
	trusted, err := root.NewTrustedRootFromJSON(raw)
	must(t, err)
	material := func() (root.TrustedMaterial, error) { return trusted, nil }
	account := settings.Sigstore.ServiceAccount
	identity := controllers.NewSignerIdentity(mgr.GetClient(), types.NamespacedName{Namespace: account.Namespace, Name: account.Name}, settings.Sigstore.Audience, clock.RealClock{})
	signer, err := sign.New(sign.Options{FulcioURL: settings.Sigstore.FulcioURL, RekorURL: settings.Sigstore.RekorURL, TimestampURL: settings.Sigstore.TimestampURL,
		HTTP: &http.Client{Transport: f.wrap(reg.HTTPClient().Transport)}, Token: identity.Token, Material: material, Formats: settings.Sigstore.Formats})
	must(t, err)
	return controllers.Signing{Signer: signer, Identity: identity, TrustRoot: material}
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

// killings is how many builds share the writes at which the operator is killed.
const killings = 6

// TestOperatorKilledAtEveryWrite kills the operator before and after each of its writes of a whole build, and starts
// another: the result is that of an undisturbed build, with the same Jobs.
func TestOperatorKilledAtEveryWrite(t *testing.T) {
	pauseInstalledOperator(t)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\n"+conforming), fs.FileMode(0o644)))
	must(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd), fs.FileMode(0o644)))
	url, _, err := publish.FS(t.Context(), checkout, "e2e-fuse", "context", dir)
	must(t, err)
	undisturbed := &fuse{}
	want, jobs := killedAt(t, url, undisturbed)
	t.Logf("%d writes: %q", len(undisturbed.writes), undisturbed.writes)
	for _, write := range []string{"POST baseimagebuilds build", "PUT baseimages/status #1", "PUT baseimagebuilds/status #1", "POST configmaps build-input",
		"POST networkpolicies build-network", "POST networkpolicies build-test-network",
		"POST jobs build-amd64", "POST jobs build-arm64", "PUT manifest #1", "POST configmaps build-scan-input", "POST jobs build-scan",
		"POST jobs build-test-amd64", "PUT tag #1", "POST events #1"} {
		if !slices.Contains(undisturbed.writes, write) {
			t.Errorf("a build has no %s", write)
		}
	}
	for _, after := range []bool{false, true} {
		for n := range killings {
			f := &fuse{}
			for i := n; i < len(undisturbed.writes); i += killings {
				f.points = append(f.points, point{undisturbed.writes[i], after})
			}
			t.Run(fmt.Sprint(f.points), func(t *testing.T) {
				t.Parallel()
				got, made := killedAt(t, url, f)
				if got != want || made != jobs {
					t.Errorf("digest %s and %d Jobs, undisturbed %s and %d", got, made, want, jobs)
				}
				for _, p := range f.points {
					// How often a status is written, and which events are sent together, depends on what is seen of the pods.
					if !strings.Contains(p.write, "/status ") && !strings.Contains(p.write, " events ") {
						t.Errorf("the operator was not killed %s: its writes were %q", p, f.writes)
					}
				}
			})
		}
	}
}

// killedAt builds an image with one operator after the other, as each is killed, and returns the digest and how many Jobs
// there were.
func killedAt(t *testing.T, url string, f *fuse) (digest string, jobs int) {
	ns := newNamespace(t)
	image := inline(ns, "fuse", "")
	image.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: url, Ref: "main", Path: "context"}}
	create(t, image)
	var before []types.UID
	for killed := true; killed; killed = f.rearm() {
		stop := newOperatorProcess(t, ns, f)
		eventually(t, buildTimeout, "the operator to be killed, or the image to be ready", func(ctx context.Context) (bool, string) {
			blown, writes := f.look()
			err := k8s.Get(ctx, client.ObjectKeyFromObject(image), image)
			return blown || err == nil && isReady(image), fmt.Sprint(err, writes)
		})
		stop()
		after := uids(jobsOf(t.Context(), t, image))
		if slices.ContainsFunc(before, func(uid types.UID) bool { return !slices.Contains(after, uid) }) {
			t.Errorf("Jobs = %v, before they were %v", after, before)
		}
		before = after
	}
	ready := awaitReady(t, image)
	if ready.Status.LatestBuild.Attempt != 1 {
		t.Errorf("it took %d builds, want 1", ready.Status.LatestBuild.Attempt)
	}
	checkSignedOnce(t, ready)
	checkAttestedOnce(t, ready)
	return ready.Status.Image.Digest, len(before)
}

func isReady(i *v1alpha1.BaseImage) bool {
	return meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionReady) &&
		!meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionReconciling)
}
