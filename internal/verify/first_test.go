package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// agrees: the first that is good is one of all, or is missing for the same reason.
func (w way) agrees(t *testing.T, v *Verifier, s *store, all []Evidence, err error) {
	t.Helper()
	first, failed := w.one(t, v, s)
	switch {
	case fault(failed) != fault(err):
		t.Errorf("the first: %v; all: %v", failed, err)
	case err == nil && !slices.ContainsFunc(all, func(e Evidence) bool { return reflect.DeepEqual(e, first) }):
		t.Errorf("%+v is not one of %+v", first, all)
	case err != nil && !reflect.DeepEqual(first, Evidence{}):
		t.Errorf("got %+v with %v", first, failed)
	}
}

// kinds of what is looked for, in both formats.
var kinds = map[string]struct{ tag, bundle way }{
	"signatures":   {ways["a signature in a tag"], ways["a signature in a bundle"]},
	"attestations": {ways["an attestation in a tag"], ways["an attestation in a bundle"]},
}

// An outage in one format hides nothing good in the other, and is never a verdict.
func TestEachFormatCountsForItself(t *testing.T) {
	w := newWorld()
	const away = "Transient " + pipeline.ReasonRegistryUnavailable
	// What a format may have, worst first.
	states := []struct {
		name   string
		change func(*forge)
		fault  string
	}{
		{"nothing", nil, ""}, // missing
		{"a bad one", func(f *forge) { f.sct = false }, "Terminal " + pipeline.ReasonSignatureInvalid},
		{"a stranger's", func(f *forge) { f.subject += "x" }, "Terminal " + pipeline.ReasonIdentityMismatch},
		{"an outage", nil, away},
		{"a good one", func(*forge) {}, ""},
	}
	for kind, in := range kinds {
		for i, tag := range states {
			for j, bundle := range states {
				t.Run(fmt.Sprintf("%s: %s in the tag, %s in a bundle", kind, tag.name, bundle.name), func(t *testing.T) {
					s := newStore(t, true)
					f := in.tag.forge(w, s.ref.DigestStr())
					if tag.change != nil {
						in.tag.put(t, s, f.with(tag.change))
					}
					if bundle.change != nil {
						in.bundle.put(t, s, f.with(bundle.change))
					}
					s.away(tag.name == "an outage", bundle.name == "an outage")
					got, err := in.tag.one(t, newVerifier(t, w, limits.Signatures{}), s)
					want := states[max(i, j)].fault
					if i == 0 && j == 0 {
						want = in.tag.missing()
					}
					if fault(err) != want || (err == nil) != (got.Subject == s.ref.DigestStr()) {
						t.Errorf("got %+v, %s; want %s: %v", got, fault(err), want, err)
					}
				})
			}
		}
	}
}

// away makes tags, and lists of referrers, answer with an outage.
func (s *store) away(tags, lists bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		isTag := strings.HasSuffix(r.URL.Path, ".sig") || strings.HasSuffix(r.URL.Path, ".att")
		if isTag && tags || strings.Contains(r.URL.Path, "/referrers/") && lists {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}
}

// A refusal of the registry is passed on, but one that passes says more.
func TestAnOutageBeforeARefusal(t *testing.T) {
	refused := pipeline.Terminalf(pipeline.ReasonRegistryDenied, "no")
	passing := pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "later")
	plain := errors.New("plain")
	for _, tt := range []struct {
		in   []error
		want error
	}{
		{[]error{nil, nil}, nil}, {[]error{nil, refused}, refused}, {[]error{refused, passing}, passing},
		{[]error{passing, refused}, passing}, {[]error{plain, nil}, plain}, {[]error{plain, passing}, passing},
	} {
		if got := outage(tt.in); !errors.Is(got, tt.want) {
			t.Errorf("%v: got %v", tt.in, got)
		}
	}
}

// hanging never answers what is not of the format, and says when it was given up.
func (s *store) hanging(format v1alpha1.SignatureFormat) (asked, ended chan struct{}) {
	asked, ended = make(chan struct{}, 100), make(chan struct{}, 100)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		isTag := strings.HasSuffix(r.URL.Path, ".sig") || strings.HasSuffix(r.URL.Path, ".att")
		if isTag && format == v1alpha1.FormatBundle || strings.Contains(r.URL.Path, "/referrers/") && format == v1alpha1.FormatLegacy {
			asked <- struct{}{}
			<-r.Context().Done()
			ended <- struct{}{}
			return true
		}
		return false
	}
	return asked, ended
}

// Neither format waits for the other, which is given up, and nothing of that is left.
func TestTheOtherSearchIsGivenUp(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		for which, wrap := range map[string]func(Source) Source{"": func(s Source) Source { return s }, ", once": Once} {
			t.Run(desc+which, func(t *testing.T) {
				s := newStore(t, true)
				way.put(t, s, way.forge(w, s.ref.DigestStr()))
				asked, ended := s.hanging(way.format)
				v := newVerifier(t, w, limits.Signatures{})
				for range 5 {
					found, err := v.first(t.Context(), wrap(s.client), s.ref, want{cmpOr(way.predicate), way.predicate == ""}, nil)
					if err != nil || found.Format != way.format {
						t.Fatalf("got %+v: %v", found, err)
					}
				}
				for len(asked) > 0 {
					<-asked
					<-ended
				}
				untilGone(t)
			})
		}
	}
}

func cmpOr(predicate string) string {
	if predicate == "" {
		return pipeline.PredicateSignature
	}
	return predicate
}

// untilGone waits until no goroutine searches or asks.
func untilGone(t testing.TB) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	buffer := make([]byte, 8<<20)
	for {
		all := string(buffer[:runtime.Stack(buffer, true)])
		if !strings.Contains(all, "verify.(*search)") && !strings.Contains(all, "verify.(*once)") {
			return
		}
		if deadline.Err() != nil {
			t.Fatalf("there is something left:\n%s", all)
		}
		runtime.Gosched()
	}
}

func TestWhoeverAsksMayGiveUp(t *testing.T) {
	w := newWorld()
	for _, wrap := range []func(Source) Source{func(s Source) Source { return s }, Once} {
		s := newStore(t, true)
		ctx, cancel := context.WithCancel(t.Context())
		s.answer("/", func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
		_, err := newVerifier(t, w, limits.Signatures{}).Signature(ctx, wrap(s.client), s.ref)
		if !errors.Is(err, context.Canceled) || pipeline.IsTerminal(err) {
			t.Errorf("got %v", err)
		}
		untilGone(t)
	}
}

// broken is a Source that panics.
type broken struct{ Source }

func (broken) Manifest(context.Context, name.Reference) (registry.Manifest, error) { panic("tags") }

func TestAPanicIsNoVerdict(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	v := newVerifier(t, w, limits.Signatures{})
	for _, wrap := range []func(Source) Source{func(s Source) Source { return s }, Once} {
		e, err := v.Signature(t.Context(), wrap(broken{s.client}), s.ref)
		if err == nil || pipeline.IsTerminal(err) || !reflect.DeepEqual(e, Evidence{}) {
			t.Errorf("got %+v: %v", e, err)
		}
	}
}
