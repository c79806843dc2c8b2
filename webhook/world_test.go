package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/sigstoretest"
	"github.com/ibshafique/base-images/internal/verdict"
	"github.com/ibshafique/base-images/internal/verify"
)

const (
	issuer     = "https://cluster.example"
	signer     = "basewright-signer"
	shop       = "shop"
	provenance = "https://slsa.dev/provenance/v1"
)

// world has a registry, a Sigstore and the webhook; nothing is made up but the cluster.
type world struct {
	*cluster
	sigstore *sigstoretest.Sigstore
	host     string
	client   *registry.Client
	requests atomic.Int64
	// answer sees a request before the registry does, and returns whether it has answered.
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	judge  Judge
	clock  clock.PassiveClock

	policies  []*imagepolicy.Policy
	policyErr error
	mu        sync.Mutex
	matched   map[string]int
	denied    map[string]int
	log       strings.Builder
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{sigstore: sigstoretest.New(t), clock: clock.RealClock{}, matched: map[string]int{}, denied: map[string]int{}}
	store := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)), inmemory.WithReferrersSupport(true))
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		if answer := w.answer.Load(); answer == nil || !(*answer)(rw, r) {
			store.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(srv.Close)
	w.host = strings.TrimPrefix(srv.URL, "http://")
	var err error
	if w.client, err = registry.New(registry.Config{UnsafeLoopback: true, Limits: limits.Registry{Tries: 1}}); err != nil {
		t.Fatal(err)
	}
	w.cluster = &cluster{labels: map[string]map[string]string{shop: {"team": "shop"}}, access: verdict.Access{Client: w.client},
		platforms: []pipeline.Platform{{OS: "linux", Architecture: "amd64"}}, version: "1.37"}
	w.judge = w.newJudge(t)
	return w
}

func (w *world) newJudge(t testing.TB) Judge {
	t.Helper()
	judge, err := verdict.New(verdict.Options{Trust: func() (string, error) { return "1", nil }, Clock: clock.RealClock{}})
	if err != nil {
		t.Fatal(err)
	}
	return judge
}

// intercept until the returned function is called.
func (w *world) intercept(answer func(http.ResponseWriter, *http.Request) bool) (undo func()) {
	w.answer.Store(&answer)
	return func() { w.answer.Store(nil) }
}

// down answers everything with 503.
func down(rw http.ResponseWriter, _ *http.Request) bool {
	rw.WriteHeader(http.StatusServiceUnavailable)
	return true
}

// cluster is what informers would say.
type cluster struct {
	labels    map[string]map[string]string
	access    verdict.Access
	accessErr error
	platforms []pipeline.Platform
	version   string
}

func (c *cluster) Namespace(_ context.Context, name string) (map[string]string, error) {
	found, ok := c.labels[name]
	if !ok {
		return nil, fmt.Errorf("namespace %s is not there", name)
	}
	return found, nil
}

func (c *cluster) Access(context.Context, string, *corev1.PodSpec) (verdict.Access, error) {
	return c.access, c.accessErr
}
func (c *cluster) Automount(string, *corev1.PodSpec) *bool { return nil }
func (c *cluster) Platforms() []pipeline.Platform          { return c.platforms }
func (c *cluster) Version() string                         { return c.version }

// Set and Count are of policySource.
func (w *world) Set() (*imagepolicy.Set, error) {
	if w.policyErr != nil {
		return nil, w.policyErr
	}
	return imagepolicy.NewSet(w.policies), nil
}

func (w *world) Count(p *imagepolicy.Policy, denied bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.matched[p.Name]++
	if denied {
		w.denied[p.Name]++
	}
}

// config is that of a conforming image.
func conforming(c *v1.ConfigFile) {
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.User = "65532:65532"
	c.Config.Labels = map[string]string{"team": "shop"}
}

// push an image under a tag.
func (w *world) push(t testing.TB, repository, tag string, change ...func(*v1.ConfigFile)) name.Digest {
	t.Helper()
	return w.put(t, repository, tag, w.image(t, change...))
}

func (w *world) image(t testing.TB, change ...func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	for _, c := range append([]func(*v1.ConfigFile){conforming}, change...) {
		c(config)
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func (w *world) put(t testing.TB, repository, tag string, what remote.Taggable) name.Digest {
	t.Helper()
	ref, err := name.NewTag(w.host + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(ref, what); err != nil {
		t.Fatal(err)
	}
	found, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	return ref.Digest(found.Digest.String())
}

// index of one image for each architecture.
func (w *world) index(t testing.TB, architectures ...string) v1.ImageIndex {
	t.Helper()
	idx := v1.ImageIndex(empty.Index)
	for _, a := range architectures {
		img := w.image(t, func(c *v1.ConfigFile) { c.Architecture = a })
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: a}}})
	}
	return idx
}

// as signs as a ServiceAccount.
func (w *world) as(t testing.TB, account string) *sign.Session {
	t.Helper()
	s, err := sign.New(sign.Options{
		FulcioURL: w.sigstore.Fulcio.URL, RekorURL: w.sigstore.Rekor.URL,
		HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Token: func(context.Context) (string, error) {
			return w.sigstore.Token(issuer, "basewright-system", account), nil
		},
		Material: w.sigstore.Material, Formats: []v1alpha1.SignatureFormat{v1alpha1.FormatLegacy, v1alpha1.FormatBundle},
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Options{Identities: []verify.Identity{{Issuer: issuer, Subject: identity(account)}}, Material: w.sigstore.Material})
	if err != nil {
		t.Fatal(err)
	}
	return s.Begin(v)
}

func identity(account string) string { return sigstoretest.Identity("basewright-system", account) }

func (w *world) sign(t testing.TB, ref name.Digest, account string) name.Digest {
	t.Helper()
	if err := w.as(t, account).Sign(t.Context(), w.client, w.parsed(t, ref)); err != nil {
		t.Fatal(err)
	}
	return ref
}

// parsed is ref with the scheme of the registry.
func (w *world) parsed(t testing.TB, ref name.Digest) name.Digest {
	t.Helper()
	out, err := w.client.Parse(ref.String())
	if err != nil {
		t.Fatal(err)
	}
	return out.(name.Digest)
}

func (w *world) attest(t testing.TB, ref name.Digest, account, predicateType, predicate string) {
	t.Helper()
	_, digest, _ := strings.Cut(ref.DigestStr(), ":")
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`, digest, predicateType, predicate)
	err := w.as(t, account).Attest(t.Context(), w.client, w.parsed(t, ref), []pipeline.Statement{{PredicateType: predicateType, Payload: []byte(statement)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// policy for all images of the registry that our signer has signed, without runtime rules unless change adds them.
func (w *world) policy(t testing.TB, policyName string, change ...func(*v1alpha1.ImageAdmissionPolicySpec)) *imagepolicy.Policy {
	t.Helper()
	object := &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: policyName, UID: types.UID(policyName), Generation: 1}}
	object.Spec = v1alpha1.ImageAdmissionPolicySpec{
		Images: []string{w.host + "/**"}, Mode: v1alpha1.ModeEnforce, Authority: v1alpha1.AuthorityKeyless, Digest: v1alpha1.DigestPin,
		Identities: []v1alpha1.SigningIdentity{{Issuer: issuer, Subject: identity(signer)}},
		Runtime:    v1alpha1.RuntimePolicy{Profile: v1alpha1.ProfileOff},
	}
	for _, c := range change {
		c(&object.Spec)
	}
	p, _, err := imagepolicy.Compile(imagepolicy.Input{Object: object, Trust: imagepolicy.Trust{Material: w.sigstore.Material}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	w.policies = append(w.policies, p)
	return p
}

func (w *world) reviewer() *Reviewer {
	return &Reviewer{Policies: w, Cluster: w.cluster, Judge: w.judge, References: w.client, Budget: 8 * time.Second, Clock: w.clock}
}

func (w *world) handler(mutating bool) *Handler {
	return &Handler{reviewer: w.reviewer(), mutating: mutating, recorder: &recorder{policies: w, metrics: metrics.NewAdmission(), every: 1}}
}

func (w *world) ctx(t testing.TB) context.Context {
	return logr.NewContext(t.Context(), funcr.NewJSON(func(line string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.log.WriteString(line + "\n")
	}, funcr.Options{}))
}

// pod with a container for each image.
func pod(images ...string) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "cart"}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

// safe makes a pod that the restricted profile takes.
func safe(p *corev1.Pod) *corev1.Pod {
	p.Spec.AutomountServiceAccountToken = new(false)
	p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	}
	return p
}

// request to make or to change an object.
func request(t testing.TB, object, old runtime.Object) admission.Request {
	t.Helper()
	gvk := object.GetObjectKind().GroupVersionKind()
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "1", Namespace: shop, Operation: admissionv1.Create, Kind: metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind},
		Object: runtime.RawExtension{Raw: encoded(t, object)},
	}}
	if old != nil {
		req.Operation, req.OldObject = admissionv1.Update, runtime.RawExtension{Raw: encoded(t, old)}
	}
	return req
}

func encoded(t testing.TB, object any) []byte {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// validate and mutate are what the apiserver asks.
func (w *world) validate(t testing.TB, object, old runtime.Object) admission.Response {
	t.Helper()
	return w.handler(false).Handle(w.ctx(t), request(t, object, old))
}

func (w *world) mutate(t testing.TB, object, old runtime.Object) admission.Response {
	t.Helper()
	return w.handler(true).Handle(w.ctx(t), request(t, object, old))
}

// wants is what an answer must be like.
type wants struct {
	// code: 200 admits.
	code int32
	// says: all of these are in the message.
	says []string
}

func (want wants) check(t testing.TB, got admission.Response) {
	t.Helper()
	code, message := int32(http.StatusOK), ""
	if got.Result != nil && !got.Allowed {
		code, message = got.Result.Code, got.Result.Message
	}
	if got.Allowed != (code == http.StatusOK) || code != want.code {
		t.Fatalf("got code %d, allowed %t, want %d: %s", code, got.Allowed, want.code, message)
	}
	for _, s := range want.says {
		if !strings.Contains(message, s) {
			t.Errorf("the message lacks %q:\n%s", s, message)
		}
	}
}

var (
	admitted = wants{code: http.StatusOK}
	errAway  = errors.New("somebody is away")
)
