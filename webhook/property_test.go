package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
)

// broken fails in one of the ways in which something can fail, at one of the places.
type broken struct {
	*world
	place string
	way   func() error
}

var ways = map[string]func() error{
	"an error":              func() error { return errors.New("x") },
	"a transient fault":     func() error { return pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "x") },
	"a terminal fault":      func() error { return pipeline.Terminalf(pipeline.ReasonImageInvalid, "x") },
	"waiting":               func() error { return pipeline.Waitingf("X", "x") },
	"a deadline":            func() error { return context.DeadlineExceeded },
	"a cancelled context":   func() error { return context.Canceled },
	"a wrapped deadline":    func() error { return fmt.Errorf("x: %w", context.DeadlineExceeded) },
	"a panic":               func() error { panic("x") },
	"a panic with an error": func() error { panic(errors.New("x")) },
	// No error, and nothing that speaks for the image.
	"nothing": func() error { return nil },
}

func (b broken) at(place string) error {
	if b.place == place {
		return b.way()
	}
	return nil
}

func (b broken) Set() (*imagepolicy.Set, error) {
	if err := b.at("policies"); err != nil || b.place == "policies" {
		return nil, err
	}
	return b.world.Set()
}

func (b broken) Count(p *imagepolicy.Policy, denied bool) { b.world.Count(p, denied) }

func (b broken) Namespace(ctx context.Context, name string) (map[string]string, error) {
	if err := b.at("namespace"); err != nil {
		return nil, err
	}
	return b.cluster.Namespace(ctx, name)
}

func (b broken) Access(ctx context.Context, namespace string, spec *corev1.PodSpec) (verdict.Access, error) {
	if err := b.at("access"); err != nil || b.place == "access" {
		return verdict.Access{}, err
	}
	return b.cluster.Access(ctx, namespace, spec)
}

func (b broken) Automount(string, *corev1.PodSpec) *bool { return nil }
func (b broken) Platforms() []pipeline.Platform          { return b.platforms }
func (b broken) Version() string                         { return b.version }

func (b broken) Judge(ctx context.Context, q verdict.Question) (verdict.Verdict, error) {
	if err := b.at("judge"); err != nil || b.place == "judge" {
		return verdict.Verdict{}, err
	}
	return b.judge.Judge(ctx, q)
}

func (b broken) Resolve(ctx context.Context, access verdict.Access, tag name.Tag) (name.Digest, error) {
	if err := b.at("resolve"); err != nil || b.place == "resolve" {
		return name.Digest{}, err
	}
	return b.judge.Resolve(ctx, access, tag)
}

func (b broken) Facts(ctx context.Context, q verdict.Question) (rules.ImageFacts, error) {
	if err := b.at("facts"); err != nil || b.place == "facts" {
		return rules.ImageFacts{}, err
	}
	return b.judge.Facts(ctx, q)
}

func (b broken) Parse(reference string) (name.Reference, error) {
	if err := b.at("parse"); err != nil || b.place == "parse" {
		return nil, err
	}
	return b.client.Parse(reference)
}

// TestWhateverFailsInsideTheAnswerIsNeverAllow breaks each part that an answer depends on, in each way, while a pod is
// reviewed that would be admitted.
func TestWhateverFailsInsideTheAnswerIsNeverAllow(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	w.sign(t, w.push(t, "shop/good", "1"), signer)
	tagged := w.host + "/shop/good:1"
	if got := w.mutate(t, pod(tagged), nil); !got.Allowed {
		t.Fatalf("the pod is not admitted even if nothing fails: %+v", got.Result)
	}
	for _, place := range []string{"policies", "namespace", "access", "judge", "resolve", "parse"} {
		for name, way := range ways {
			if place == "namespace" && name == "nothing" {
				continue // A namespace without labels.
			}
			t.Run(place+": "+name, func(t *testing.T) {
				b := broken{world: w, place: place, way: way}
				r := &Reviewer{Policies: b, Cluster: b, Judge: b, References: b, Budget: time.Minute, Clock: w.reviewer().Clock}
				for _, mutating := range []bool{false, true} {
					h := &Handler{reviewer: r, mutating: mutating, recorder: &recorder{policies: w}}
					got := h.Handle(w.ctx(t), request(t, pod(tagged), nil))
					if got.Allowed || len(got.Patches) > 0 || got.Result == nil || got.Result.Code < 400 || got.Result.Message == "" {
						t.Fatalf("mutating %t: got %+v", mutating, got)
					}
				}
			})
		}
	}
}

// An exception needs no signature, and still nothing runs of which nobody knows how.
func TestAnExceptionWithoutFactsIsNotAdmitted(t *testing.T) {
	w := newWorld(t)
	digest := w.push(t, "shop/bad", "1")
	w.policy(t, "shop", func(s *v1alpha1.ImageAdmissionPolicySpec) {
		s.Runtime.Profile = v1alpha1.ProfileRestricted
		s.Exceptions = []v1alpha1.ImageException{{Digest: digest.DigestStr(), Namespaces: []string{shop}, Reason: "x", Expires: metav1.NewTime(time.Now().Add(time.Hour))}}
	})
	admitted.check(t, w.validate(t, safe(pod(digest.String())), nil))
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			b := broken{world: w, place: "facts", way: way}
			h := &Handler{reviewer: &Reviewer{Policies: b, Cluster: b, Judge: b, References: b, Budget: time.Minute, Clock: w.clock}, recorder: &recorder{policies: w}}
			if got := h.Handle(w.ctx(t), request(t, safe(pod(digest.String())), nil)); got.Allowed || got.Result.Code < 400 {
				t.Fatalf("got %+v", got)
			}
		})
	}
}

// An answer of the registry that is changed at random admits nothing that was not signed, and is never an answer that admits by accident.
func TestAHostileRegistryAdmitsNothing(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	bad := w.push(t, "shop/bad", "1").String()
	w.sign(t, w.push(t, "shop/good", "1"), signer)
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		seed := random.Uint64()
		undo := w.intercept(hostile(seed))
		w.judge = w.newJudge(t)
		got := w.validate(t, pod(bad), nil)
		undo()
		if got.Allowed {
			t.Fatalf("seed %d: an image that nobody has signed is admitted", seed)
		}
	}
}

// hostile answers some requests with nonsense.
func hostile(seed uint64) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		choice := rand.New(rand.NewPCG(seed, uint64(len(r.URL.Path)))).IntN(8)
		switch choice {
		case 0:
			rw.WriteHeader(http.StatusNotFound)
		case 1:
			rw.WriteHeader(http.StatusInternalServerError)
		case 2:
			_, _ = rw.Write([]byte(`{}`))
		case 3:
			rw.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			_, _ = rw.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
		case 4:
			rw.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			rw.WriteHeader(http.StatusTemporaryRedirect)
		default:
			return false
		}
		return true
	}
}
