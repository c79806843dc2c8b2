package verdict

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	testclock "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/sigstoretest"
	"github.com/ibshafique/base-images/internal/verify"
)

const (
	issuer    = "https://cluster.example"
	namespace = "basewright-system"
	ours      = "basewright-signer"
	theirs    = "somebody-else"
)

var (
	amd64 = pipeline.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}
	nodes = []pipeline.Platform{amd64, arm64}
)

// store is a registry that notes what it is asked, and may be made to answer otherwise.
type store struct {
	http.Handler
	host string

	mu     sync.Mutex
	seen   []string
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newStore(t testing.TB) *store {
	t.Helper()
	s := &store{Handler: inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)), inmemory.WithReferrersSupport(true))}
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.host = strings.TrimPrefix(srv.URL, "http://")
	return s
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	answer := s.answer
	s.mu.Unlock()
	if answer == nil || !answer(w, r) {
		s.Handler.ServeHTTP(w, r)
	}
}

// on makes answer see requests before the registry does; it returns whether it has answered.
func (s *store) on(answer func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// refuse answers with status what has part in its path.
func (s *store) refuse(part string, status int) {
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, part) {
			w.WriteHeader(status)
			return true
		}
		return false
	})
}

// requests that come while f runs, without the ones for how to log in, in order of their paths.
func (s *store) requests(f func()) []string {
	s.mu.Lock()
	s.seen = nil
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(s.seen), func(r string) bool { return r == "GET /v2/" })))
}

// world has a Sigstore, a registry, and a Cache that is asked about its images.
type world struct {
	*store
	sigstore *sigstoretest.Sigstore
	client   *registry.Client
	clock    *testclock.FakePassiveClock
	cache    *Cache
	version  string
	seen     *seen
}

// seen is what a Cache tells.
type seen struct {
	mu    sync.Mutex
	looks []Look
	ends  []Outcome
	opens int
}

func (s *seen) take() (looks []Look, ends []Outcome, opens int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	looks, ends, opens = s.looks, s.ends, s.opens
	s.looks, s.ends, s.opens = nil, nil, 0
	return looks, ends, opens
}

func (s *seen) observer() Observer {
	return Observer{
		Looked: func(l Look) { s.mu.Lock(); defer s.mu.Unlock(); s.looks = append(s.looks, l) },
		Judged: func(o Outcome, _ time.Duration) { s.mu.Lock(); defer s.mu.Unlock(); s.ends = append(s.ends, o) },
		Opened: func() { s.mu.Lock(); defer s.mu.Unlock(); s.opens++ },
	}
}

func newWorld(t testing.TB, l limits.Admission) *world {
	t.Helper()
	w := &world{store: newStore(t), sigstore: sigstoretest.New(t), clock: testclock.NewFakePassiveClock(time.Now()), version: "v1", seen: &seen{}}
	w.client = newClient(t)
	w.cache = newCache(t, w, l)
	return w
}

func newCache(t testing.TB, w *world, l limits.Admission) *Cache {
	t.Helper()
	c, err := New(Options{Trust: func() (string, error) { return w.version, nil }, Limits: l, Clock: w.clock, Observer: w.seen.observer()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newClient(t testing.TB) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{UnsafeLoopback: true, Limits: limits.Registry{Tries: 1, RequestsPerHost: 64}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) repository(t testing.TB, path string) name.Repository {
	t.Helper()
	repo, err := w.client.Repository(w.host + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// pushed is a new image with that user.
func (w *world) pushed(t testing.TB, user string, labels map[string]string) name.Digest {
	t.Helper()
	ref, err := w.client.PushImage(t.Context(), w.repository(t, "base/x"), newImage(t, user, labels))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func newImage(t testing.TB, user string, labels map[string]string) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	img, err = mutate.Config(img, v1.Config{User: user, Labels: labels})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pushedIndex is an index with an image for each of platforms.
func (w *world) pushedIndex(t testing.TB, platforms ...v1.Platform) (index name.Digest, children []name.Digest) {
	t.Helper()
	var idx v1.ImageIndex = empty.Index
	for _, p := range platforms {
		img := newImage(t, "65532", map[string]string{"platform": p.Architecture, "same": "x"})
		ref, err := w.client.PushImage(t.Context(), w.repository(t, "base/x"), img)
		if err != nil {
			t.Fatal(err)
		}
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &p}})
		children = append(children, ref)
	}
	ref, err := w.client.PushIndex(t.Context(), w.repository(t, "base/x"), idx)
	if err != nil {
		t.Fatal(err)
	}
	return ref, children
}

func (w *world) verifier(t testing.TB, account string) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Options{Identities: []verify.Identity{{Issuer: issuer, Subject: sigstoretest.Identity(namespace, account)}}, Material: w.sigstore.Material})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (w *world) session(t testing.TB, account string, format v1alpha1.SignatureFormat) *sign.Session {
	t.Helper()
	signer, err := sign.New(sign.Options{
		FulcioURL: w.sigstore.Fulcio.URL, RekorURL: w.sigstore.Rekor.URL, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Token:    func(context.Context) (string, error) { return w.sigstore.Token(issuer, namespace, account), nil },
		Material: w.sigstore.Material, Formats: []v1alpha1.SignatureFormat{format},
	})
	if err != nil {
		t.Fatal(err)
	}
	return signer.Begin(w.verifier(t, account))
}

func (w *world) sign(t testing.TB, account string, refs ...name.Digest) {
	t.Helper()
	session := w.session(t, account, v1alpha1.FormatLegacy)
	for _, ref := range refs {
		if err := session.Sign(t.Context(), newClient(t), ref); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) attest(t testing.TB, account, predicateType, predicate string, refs ...name.Digest) {
	t.Helper()
	session := w.session(t, account, v1alpha1.FormatLegacy)
	for _, ref := range refs {
		if err := session.Attest(t.Context(), newClient(t), ref, []pipeline.Statement{statement(ref, predicateType, predicate)}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func statement(ref name.Digest, predicateType, predicate string) pipeline.Statement {
	_, hex, _ := strings.Cut(ref.DigestStr(), ":")
	raw := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":%q}}],"predicateType":%q,"predicate":%s}`, hex, predicateType, predicate)
	return pipeline.Statement{PredicateType: predicateType, Payload: []byte(raw)}
}

// policy asks for a signature of ours.
func (w *world) policy(t testing.TB) *imagepolicy.Policy {
	t.Helper()
	return &imagepolicy.Policy{Name: "p", Kind: "ImageAdmissionPolicy", Hash: "hash", Authorities: []imagepolicy.Authority{w.authority(t, ours)}}
}

func (w *world) authority(t testing.TB, account string) imagepolicy.Authority {
	t.Helper()
	return imagepolicy.Authority{Name: account, Verifier: w.verifier(t, account), Flags: []string{"--certificate-identity=" + account}}
}

func (w *world) question(t testing.TB, ref name.Digest) Question {
	t.Helper()
	return Question{Image: ref, Policy: w.policy(t), Access: Access{Client: w.client}, Platforms: nodes}
}

// stand is a verifier for tests. What is nil says that there is nothing.
type stand struct {
	signature   func(context.Context, verify.Source, name.Digest) (verify.Evidence, error)
	attestation func(context.Context, name.Digest, string, func(verify.Attestation) error) (verify.Attestation, error)
}

func (s stand) Signature(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
	if s.signature == nil {
		return verify.Evidence{}, pipeline.Terminalf(pipeline.ReasonSignatureMissing, "%s is not signed", ref)
	}
	return s.signature(ctx, from, ref)
}

func (s stand) Attestation(ctx context.Context, _ verify.Source, ref name.Digest, predicateType string, accept func(verify.Attestation) error) (verify.Attestation, error) {
	if s.attestation == nil {
		return verify.Attestation{}, pipeline.Terminalf(pipeline.ReasonAttestationMissing, "%s has no %s", ref, predicateType)
	}
	return s.attestation(ctx, ref, predicateType, accept)
}

// with makes the Cache ask v in place of all verifiers.
func (w *world) with(v verifier) { w.cache.as = func(*verify.Verifier) verifier { return v } }

// good is evidence for everything.
func good(_ context.Context, _ verify.Source, ref name.Digest) (verify.Evidence, error) {
	return verify.Evidence{Subject: ref.DigestStr(), SignedAt: time.Unix(1, 0)}, nil
}

func reasons(v Verdict) []string {
	out := []string{}
	for _, f := range v.Findings {
		out = append(out, f.Reason)
	}
	return out
}

// only is evidence for these.
func only(signed ...name.Digest) func(context.Context, verify.Source, name.Digest) (verify.Evidence, error) {
	return func(ctx context.Context, from verify.Source, ref name.Digest) (verify.Evidence, error) {
		if slices.Contains(signed, ref) {
			return good(ctx, from, ref)
		}
		return stand{}.Signature(ctx, from, ref)
	}
}
