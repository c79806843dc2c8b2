package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/metrics"
)

// signed are images, each with its config, in repositories of their own.
func (w *world) signed(b *testing.B, n int) []string {
	b.Helper()
	var out []string
	for i := range n {
		out = append(out, w.sign(b, w.push(b, fmt.Sprintf("shop/app%d", i), "1"), signer).String())
	}
	return out
}

// restricted is a world whose policy has all default rules.
func restricted(b *testing.B) *world {
	b.Helper()
	w := newWorld(b)
	w.policy(b, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) { s.Runtime.Profile = v1alpha1.ProfileRestricted })
	return w
}

func (w *world) quiet(mutating bool) *Handler {
	return &Handler{reviewer: w.reviewer(), mutating: mutating, recorder: &recorder{policies: w, metrics: metrics.NewAdmission()}}
}

func mustAdmit(b *testing.B, got admission.Response) {
	if !got.Allowed {
		b.Fatal(got.Result.Message)
	}
}

// BenchmarkWarm is a pod of three containers whose images are remembered, in both webhooks one after the other.
func BenchmarkWarm(b *testing.B) {
	w := restricted(b)
	req := request(b, complete(safe(pod(w.signed(b, 3)...))), nil)
	for _, mutating := range []bool{true, false} {
		h := w.quiet(mutating)
		b.Run(h.name(), func(b *testing.B) {
			mustAdmit(b, h.Handle(b.Context(), req))
			before := w.requests.Load()
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				started := time.Now()
				mustAdmit(b, h.Handle(b.Context(), req))
				took = append(took, time.Since(started))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(w.requests.Load()-before), "registry-requests")
		})
	}
}

// BenchmarkCold is a pod whose images nobody has looked at, by the number of different images, against a registry that is near
// and one that takes 50 ms for each request.
func BenchmarkCold(b *testing.B) {
	for _, latency := range []time.Duration{0, 50 * time.Millisecond} {
		for _, images := range []int{1, 8} {
			b.Run(fmt.Sprintf("latency=%s/images=%d", latency, images), func(b *testing.B) {
				w := restricted(b)
				req := request(b, complete(safe(pod(w.signed(b, images)...))), nil)
				undo := w.intercept(func(http.ResponseWriter, *http.Request) bool { time.Sleep(latency); return false })
				defer undo()
				before := w.requests.Load()
				b.ReportAllocs()
				for b.Loop() {
					w.judge = w.newJudge(b)
					mustAdmit(b, w.quiet(false).Handle(b.Context(), req))
				}
				b.ReportMetric(float64(w.requests.Load()-before)/float64(b.N)/float64(images), "requests/image")
				if latency > 0 {
					b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(latency), "round-trips")
				}
			})
		}
	}
}

// BenchmarkMany is memory with 10,000 digests remembered: of one image each, all of them vouched for.
func BenchmarkMany(b *testing.B) {
	for b.Loop() {
		w := restricted(b)
		ref := w.sign(b, w.push(b, "shop/app", "1"), signer)
		before := heap()
		for i := range 10_000 {
			// Another scope of credentials is another verdict.
			w.access.Scope = fmt.Sprint(i)
			mustAdmit(b, w.quiet(true).Handle(b.Context(), request(b, pod(ref.String()), nil)))
		}
		b.ReportMetric(float64(heap()-before)/10_000, "B/digest")
		runtime.KeepAlive(w)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// complete has what the apiserver and the ServiceAccount plugin add to a pod, so that it is as large as real ones.
func complete(p *corev1.Pod) *corev1.Pod {
	raw, err := json.Marshal(p.Spec.Containers)
	if err != nil {
		panic(err)
	}
	p.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(raw)}
	p.Spec.RestartPolicy, p.Spec.DNSPolicy, p.Spec.SchedulerName = corev1.RestartPolicyAlways, corev1.DNSClusterFirst, corev1.DefaultSchedulerName
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		c.ImagePullPolicy, c.TerminationMessagePath, c.TerminationMessagePolicy = corev1.PullIfNotPresent, "/dev/termination-log", corev1.TerminationMessageReadFile
		c.Env = []corev1.EnvVar{{Name: "A", Value: "b"}, {Name: "C", Value: "d"}}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}
	}
	p.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	return p
}

// BenchmarkServe is the same with what is around a handler: the body of the apiserver's request is read, and the answer written.
func BenchmarkServe(b *testing.B) {
	w := restricted(b)
	req := request(b, complete(safe(pod(w.signed(b, 3)...))), nil)
	body := encoded(b, admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &req.AdmissionRequest})
	for _, mutating := range []bool{true, false} {
		h := w.quiet(mutating)
		served := serve(h, newGate())
		b.Run(h.name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", bytes.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				rec := httptest.NewRecorder()
				served.ServeHTTP(rec, r)
				if !bytes.Contains(rec.Body.Bytes(), []byte(`"allowed":true`)) {
					b.Fatal(rec.Body)
				}
			}
		})
	}
}
