package sign

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
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sigstoretest"
	"github.com/ibshafique/base-images/internal/verify"
)

const (
	issuer    = "https://cluster.example"
	namespace = "basewright-system"
	account   = "basewright-signer"
)

var bothFormats = []v1alpha1.SignatureFormat{v1alpha1.FormatLegacy, v1alpha1.FormatBundle}

// store is a registry that notes what it is asked, and may be made to answer otherwise.
type store struct {
	http.Handler
	host string

	mu     sync.Mutex
	seen   []string
	answer func(w http.ResponseWriter, r *http.Request) bool
}

func newStore(t testing.TB, api bool) *store {
	t.Helper()
	s := &store{Handler: inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)), inmemory.WithReferrersSupport(api))}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
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

// count requests with that method (any if it is empty) whose path has part.
func (s *store) count(method, part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, one := range s.seen {
		if strings.HasPrefix(one, method) && strings.Contains(one, part) {
			n++
		}
	}
	return n
}

// refusing answers with status what has that method and part in its path.
func refusing(method, part string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(status)
		return true
	}
}

// bench has everything that signing needs.
type bench struct {
	*store
	sigstore *sigstoretest.Sigstore
	options  Options
	client   *registry.Client
	verifier *verify.Verifier
	ref      name.Digest
}

func newBench(t testing.TB, api bool) *bench {
	t.Helper()
	b := &bench{store: newStore(t, api), sigstore: sigstoretest.New(t)}
	b.options = Options{
		FulcioURL: b.sigstore.Fulcio.URL, RekorURL: b.sigstore.Rekor.URL,
		HTTP:     &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Token:    func(context.Context) (string, error) { return b.sigstore.Token(issuer, namespace, account), nil },
		Material: b.sigstore.Material, Formats: bothFormats,
		Limits: limits.Signatures{RequestTimeout: limits.Duration(20 * time.Second)},
	}
	b.client = newClient(t)
	b.verifier = newVerifier(t, b.options.Material, issuer, namespace, account)
	b.ref = b.push(t)
	return b
}

func newClient(t testing.TB) *registry.Client {
	t.Helper()
	return clientOf(t, limits.Registry{Tries: 1})
}

func clientOf(t testing.TB, most limits.Registry) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{UnsafeLoopback: true, Limits: most})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newVerifier(t testing.TB, material func() (root.TrustedMaterial, error), issuer, namespace, account string) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Options{
		Identities: []verify.Identity{{Issuer: issuer, Subject: sigstoretest.Identity(namespace, account)}}, Material: material,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// push an image.
func (b *bench) push(t testing.TB) name.Digest {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := b.client.Repository(b.host + "/base/x")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := b.client.PushImage(t.Context(), repo, img)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// session of another process each time.
func (b *bench) session(t testing.TB) *Session {
	t.Helper()
	s, err := New(b.options)
	if err != nil {
		t.Fatal(err)
	}
	return s.Begin(b.verifier)
}

// withoutLog is a Sigstore with timestamps only.
func (b *bench) withoutLog(t testing.TB) {
	t.Helper()
	b.options.RekorURL, b.options.TimestampURL, b.options.Material = "", b.sigstore.Timestamp.URL, b.sigstore.MaterialWithoutLog
	b.verifier = newVerifier(t, b.options.Material, issuer, namespace, account)
}

// as signs as another ServiceAccount.
func (b *bench) as(t testing.TB, account string) *Session {
	t.Helper()
	other := *b
	other.options.Token = func(context.Context) (string, error) { return b.sigstore.Token(issuer, namespace, account), nil }
	other.verifier = newVerifier(t, b.options.Material, issuer, namespace, account)
	return other.session(t)
}

func (b *bench) signatures(t testing.TB) map[v1alpha1.SignatureFormat]int {
	t.Helper()
	found, err := b.verifier.Signatures(t.Context(), newClient(t), b.ref)
	if err != nil && !isMissing(err) {
		t.Fatal(err)
	}
	out := map[v1alpha1.SignatureFormat]int{}
	for _, e := range found {
		out[e.Format]++
	}
	return out
}

// attested are the statements of a type that are there, by format.
func (b *bench) attested(t testing.TB, predicateType string) map[v1alpha1.SignatureFormat][]string {
	t.Helper()
	found, err := b.verifier.Attestations(t.Context(), newClient(t), b.ref, predicateType)
	if err != nil && !isMissing(err) {
		t.Fatal(err)
	}
	out := map[v1alpha1.SignatureFormat][]string{}
	for _, a := range found {
		var st struct{ Predicate struct{ Says string } }
		if err := json.Unmarshal(a.Payload, &st); err != nil {
			t.Fatal(err)
		}
		out[a.Format] = append(out[a.Format], st.Predicate.Says)
	}
	return out
}

// layers of the tag.
func (b *bench) layers(t testing.TB, suffix string) []v1.Descriptor {
	t.Helper()
	m, err := readTag(t.Context(), newClient(t), tagOf(b.ref, suffix))
	if err != nil {
		t.Fatal(err)
	}
	return m.Layers
}

// statement about ref.
func statement(ref name.Digest, predicateType, says string) pipeline.Statement {
	_, hex, _ := strings.Cut(ref.DigestStr(), ":")
	raw := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"x","digest":{"sha256":%q}}],"predicateType":%q,"predicate":{"says":%q}}`, hex, predicateType, says)
	return pipeline.Statement{PredicateType: predicateType, Payload: []byte(raw)}
}

// fault is the kind of err and its reason.
func fault(err error) string {
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return "Transient " + t.Reason
	}
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return "Terminal " + t.Reason
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
