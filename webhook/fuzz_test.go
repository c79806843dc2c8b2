package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
)

// nothing is a cluster without policies.
type nothing struct{}

func (nothing) Set() (*imagepolicy.Set, error)                               { return imagepolicy.NewSet(nil), nil }
func (nothing) Count(*imagepolicy.Policy, bool)                              {}
func (nothing) Namespace(context.Context, string) (map[string]string, error) { return nil, nil }
func (nothing) Automount(string, *corev1.PodSpec) *bool                      { return nil }
func (nothing) Platforms() []pipeline.Platform                               { return nil }
func (nothing) Version() string                                              { return "1.37" }
func (nothing) Access(context.Context, string, *corev1.PodSpec) (verdict.Access, error) {
	return verdict.Access{}, nil
}

func bare(t testing.TB, mutating bool) *Handler {
	t.Helper()
	client, err := registry.New(registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &Reviewer{Policies: nothing{}, Cluster: nothing{}, Judge: panics{}, References: client, Budget: time.Minute, Clock: clock.RealClock{}}
	return &Handler{reviewer: r, mutating: mutating, recorder: &recorder{policies: nothing{}}}
}

// FuzzAdmissionReview sends any bytes to a webhook that has no policy: nothing new may be admitted, and every answer is one.
func FuzzAdmissionReview(f *testing.F) {
	for _, object := range []string{
		`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","image":"x"}]}}`,
		`{"spec":{"containers":[{"image":"x@sha256:` + strings.Repeat("a", 64) + `"}],"volumes":[{"image":{"reference":"y"}}]}}`,
		`{}`, `null`, `[]`, `{"spec":{"containers":null}}`,
	} {
		for _, kind := range []string{"Pod", "Deployment", "CronJob", "Secret"} {
			f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"group":"","version":"v1","kind":"` + kind +
				`"},"namespace":"shop","operation":"CREATE","object":` + object + `}}`))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, mutating := range []bool{false, true} {
			hook := &admission.Webhook{Handler: bare(t, mutating)}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			hook.ServeHTTP(rec, req)
			var answer, asked admissionv1.AdmissionReview
			if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil || answer.Response == nil {
				t.Fatalf("no answer: %v: %s", err, rec.Body)
			}
			if !answer.Response.Allowed {
				continue
			}
			if err := json.Unmarshal(body, &asked); err != nil || asked.Request == nil || asked.Request.Operation != admissionv1.Update {
				t.Fatalf("admitted: %s", body)
			}
		}
	})
}

// FuzzReference pins whatever is a reference: what comes out is a reference of the same repository, with the digest.
func FuzzReference(f *testing.F) {
	for _, s := range []string{"nginx", "nginx:1", "registry.example:5000/a/b:c", "a@sha256:" + strings.Repeat("b", 64), "a:1@sha256:" + strings.Repeat("b", 64), "[::1]:5000/x", "@", "a@b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := name.ParseReference(s)
		if err != nil {
			return
		}
		want := ref.Context().Digest(digestOf('c'))
		got, err := name.ParseReference(pin(s, want))
		if err != nil {
			t.Fatalf("%q becomes %q: %v", s, pin(s, want), err)
		}
		if digest, ok := got.(name.Digest); !ok || digest.Name() != want.Name() {
			t.Fatalf("%q becomes %q", s, got)
		}
	})
}

func digestOf(r rune) string { return "sha256:" + strings.Repeat(string(r), 64) }

type panics struct{}

func (panics) Judge(context.Context, verdict.Question) (verdict.Verdict, error) { panic("judge") }
func (panics) Resolve(context.Context, verdict.Access, name.Tag) (name.Digest, error) {
	panic("resolve")
}
func (panics) Facts(context.Context, verdict.Question) (rules.ImageFacts, error) { panic("facts") }
