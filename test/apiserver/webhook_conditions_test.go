//go:build apiserver

package apiserver

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// asked is what apiservers ask a webhook that admits everything.
type asked struct {
	server *httptest.Server
	mu     sync.Mutex
	all    []string
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	a := &asked{}
	a.server = httptest.NewTLSServer(http.HandlerFunc(a.admit))
	t.Cleanup(a.server.Close)
	return a
}

func (a *asked) admit(w http.ResponseWriter, r *http.Request) {
	var review admissionreview.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := review.Request
	a.mu.Lock()
	a.all = append(a.all, strings.TrimSpace(strings.Join([]string{r.URL.Path, req.Kind.Kind, string(req.Operation), req.SubResource}, " ")))
	a.mu.Unlock()
	review.Response, review.Request = &admissionreview.AdmissionResponse{UID: req.UID, Allowed: true}, nil
	_ = json.NewEncoder(w).Encode(review)
}

// taken is what was asked since the last time, each once: an apiserver whose cache was behind asks again.
func (a *asked) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.all)
	a.all = nil
	slices.Sort(all)
	return slices.Compact(all)
}

// configurations of config/webhook.
func configurations(t *testing.T) (*admissionv1.MutatingWebhookConfiguration, *admissionv1.ValidatingWebhookConfiguration) {
	t.Helper()
	file, err := os.Open("../../config/webhook/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	mutating, validating := &admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(file))
	for _, into := range []any{mutating, validating} {
		one, err := documents.Read()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.UnmarshalStrict(one, into); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := documents.Read(); !errors.Is(err, io.EOF) {
		t.Fatalf("there is more: %v", err)
	}
	return mutating, validating
}

// installWebhooks has the apiserver ask a, by the rules and conditions that are installed, until the test ends.
func (a *asked) installWebhooks(t *testing.T, namespace string) {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw})
	there := func(c *admissionv1.WebhookClientConfig) {
		*c = admissionv1.WebhookClientConfig{URL: new(a.server.URL + *c.Service.Path), CABundle: ca}
	}
	mutating, validating := configurations(t)
	for i := range mutating.Webhooks {
		there(&mutating.Webhooks[i].ClientConfig)
	}
	for i := range validating.Webhooks {
		there(&validating.Webhooks[i].ClientConfig)
	}
	createAll(t, mutating)
	createAll(t, validating)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-"}, Spec: podSpec()}
	eventually(t, "asking the webhooks", func() error {
		if err := k8s.Create(t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
			return err
		}
		if len(a.taken()) < 2 {
			return errors.New("they are not asked")
		}
		return nil
	})
	a.taken()
}

func TestWhatTheWebhookIsAskedFor(t *testing.T) {
	g := newGuarded(t)
	a := newAsked(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: g.namespace}}
	outside := newNamespace(t)
	mayAllIn(t, outside)
	if err := k8s.Patch(t.Context(), namespace, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"basewright.dev/admission":"enforced"}}}`))); err != nil {
		t.Fatal(err)
	}
	a.installWebhooks(t, g.namespace)
	tenant := as(t, theTenant)
	meta := metav1.ObjectMeta{Namespace: g.namespace, Name: "tenants"}
	labels := map[string]string{"app": "tenants"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec()}
	always := template
	always.Spec.RestartPolicy = corev1.RestartPolicyAlways
	pod := &corev1.Pod{ObjectMeta: meta, Spec: podSpec()}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: always}}
	cron := &batchv1.CronJob{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Schedule: "0 0 * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}
	job := &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Suspend: new(true), Template: template}}
	controller := &corev1.ReplicationController{ObjectMeta: meta, Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &always}}
	set := &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: always}}
	makes := func(c client.Client, o client.Object) func() error {
		return func() error { return c.Create(t.Context(), o) }
	}
	changes := func(o client.Object, change string) func() error {
		return func() error {
			return tenant.Patch(t.Context(), o, client.RawPatch(types.StrategicMergePatchType, []byte(change)))
		}
	}
	into := func(subresource string, o client.Object, change string) func() error {
		return func() error {
			o := o.DeepCopyObject().(client.Object) // What comes back may be of another kind.
			return tenant.SubResource(subresource).Patch(t.Context(), o, client.RawPatch(types.StrategicMergePatchType, []byte(change)))
		}
	}
	lookalike := func(change func(*corev1.Pod)) *corev1.Pod {
		p := g.podOf(g.job)
		change(p)
		return p
	}
	const image = `{"spec":{"template":{"spec":{"containers":[{"name":"push","image":"other.example/image"}]}}}}`
	for _, step := range []struct {
		desc    string
		do      func() error
		want    []string
		refused bool
	}{
		{"a pod", makes(tenant, pod), []string{"/mutate Pod CREATE", "/validate Pod CREATE"}, false},
		{"a pod of another namespace", makes(tenant, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: outside, Name: "a"}, Spec: podSpec()}), nil, false},
		{"labels, annotations and finalizers", changes(pod, `{"metadata":{"labels":{"a":"b"},"annotations":{"a":"b"},"finalizers":["a.example/b"]}}`), nil, false},
		{"finalizers that go", changes(pod, `{"metadata":{"finalizers":null}}`), nil, false},
		{"another image", changes(pod, `{"spec":{"containers":[{"name":"push","image":"other.example/image"}]}}`), []string{"/mutate Pod UPDATE", "/validate Pod UPDATE"}, false},
		{"an ephemeral container", into("ephemeralcontainers", pod, `{"spec":{"ephemeralContainers":[{"name":"debug","image":"debug.example/image"}]}}`),
			[]string{"/mutate Pod UPDATE ephemeralcontainers", "/validate Pod UPDATE ephemeralcontainers"}, false},
		{"another size", into("resize", pod, `{"spec":{"containers":[{"name":"push","resources":{"limits":{"memory":"600Mi"}}}]}}`), []string{"/validate Pod UPDATE resize"}, false},
		{"a status", into("status", pod, `{"status":{"message":"a"}}`), nil, false},
		{"a pod that goes", func() error { return tenant.Delete(t.Context(), pod) }, nil, false},
		{"a Deployment", makes(tenant, deployment), []string{"/validate Deployment CREATE"}, false},
		{"a Deployment that is scaled", changes(deployment, `{"spec":{"replicas":3,"paused":true}}`), nil, false},
		{"a Deployment, by its scale", into("scale", deployment, `{"spec":{"replicas":4}}`), nil, false},
		{"a Deployment of another image", changes(deployment, image), []string{"/validate Deployment UPDATE"}, false},
		{"a StatefulSet", makes(tenant, set), []string{"/validate StatefulSet CREATE"}, false},
		{"a StatefulSet that is scaled", changes(set, `{"spec":{"replicas":3}}`), nil, false},
		{"a ReplicationController", makes(tenant, controller), []string{"/validate ReplicationController CREATE"}, false},
		{"a ReplicationController that is scaled", changes(controller, `{"spec":{"replicas":3}}`), nil, false},
		{"a ReplicationController of another image", changes(controller, image), []string{"/validate ReplicationController UPDATE"}, false},
		{"a CronJob", makes(tenant, cron), []string{"/validate CronJob CREATE"}, false},
		{"a CronJob at another time", changes(cron, `{"spec":{"schedule":"1 0 * * *"}}`), nil, false},
		{"a CronJob of another image", changes(cron, `{"spec":{"jobTemplate":`+image+`}}`), []string{"/validate CronJob UPDATE"}, false},
		{"a Job", makes(tenant, job), []string{"/validate Job CREATE"}, false},
		{"a Job that goes on", changes(job, `{"spec":{"suspend":false}}`), nil, false},
		{"a pod of a build", makes(as(t, theJobController), g.podOf(g.job)), nil, false},
		{"a Job of a build", makes(as(t, theOperator), g.jobNamed("basewright-base-2-ab12cd-arm64")), nil, false},
		{"a Job that looks like one of a build", makes(tenant, g.jobNamed("basewright-base-2-ab12cd-s390x")), nil, true},
		{"a pod that looks like one of a build", makes(tenant, g.podOf(g.job)), []string{"/mutate Pod CREATE"}, true},
		{"a pod of a tenant's Job with the label", makes(as(t, theJobController), lookalike(func(p *corev1.Pod) { p.OwnerReferences[0].Name = "tenants" })), []string{"/mutate Pod CREATE"}, true},
		{"a pod of a build without the label", makes(as(t, theJobController), lookalike(func(p *corev1.Pod) { p.Labels = nil })), []string{"/mutate Pod CREATE", "/validate Pod CREATE"}, false},
		{"a pod with the label of what is no Job", makes(as(t, theJobController), lookalike(func(p *corev1.Pod) {
			p.OwnerReferences[0].Kind, p.OwnerReferences[0].APIVersion = "ReplicaSet", "apps/v1"
		})), []string{"/mutate Pod CREATE"}, true},
	} {
		err := step.do()
		if (err != nil) != step.refused {
			t.Errorf("%s: got %v", step.desc, err)
		}
		if diff := cmp.Diff(step.want, a.taken()); diff != "" {
			t.Errorf("%s: %s", step.desc, diff)
		}
	}
}
