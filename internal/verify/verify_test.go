package verify

import (
	"bytes"
	"context"
	"errors"
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
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// store is a registry with an image.
type store struct {
	client  *registry.Client
	repo    name.Repository
	subject v1.Descriptor
	ref     name.Digest

	mu    sync.Mutex
	asked []string
	// intercept, if set, answers instead of the registry, if it returns true.
	intercept func(http.ResponseWriter, *http.Request) bool
}

func newStore(t testing.TB, api bool) *store {
	t.Helper()
	s := &store{}
	inner := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)), inmemory.WithReferrersSupport(api))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		intercept := s.intercept
		s.mu.Unlock()
		if intercept == nil || !intercept(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	s.client = newClient(30 * time.Second)
	s.repo = must(s.client.Repository(strings.TrimPrefix(srv.URL, "http://") + "/base/x"))
	s.ref = must(s.client.PushImage(t.Context(), s.repo, must(random.Image(16, 1))))
	s.subject = must(s.client.Manifest(t.Context(), s.ref)).Descriptor
	return s
}

func newClient(timeout time.Duration) *registry.Client {
	return must(registry.New(registry.Config{UnsafeLoopback: true, Limits: limits.Registry{Tries: 1, RequestTimeout: limits.Duration(timeout)}}))
}

func (s *store) tag(suffix string) string {
	return strings.Replace(s.ref.DigestStr(), ":", "-", 1) + suffix
}

func (s *store) push(t testing.TB, raw []byte, predicate string) name.Digest {
	t.Helper()
	return must(s.client.PushArtifact(t.Context(), s.repo, artifact(s.subject, raw, predicate)))
}

func (s *store) answer(part string, with http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) {
			return false
		}
		with(w, r)
		return true
	}
}

// requests are what fn asks the registry.
func (s *store) requests(fn func()) []string {
	s.mu.Lock()
	s.asked = nil
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

var us = Identity{Issuer: ourIssuer, Subject: ourSubject}

func newVerifier(t testing.TB, w root.TrustedMaterial, bounds limits.Signatures, identities ...Identity) *Verifier {
	t.Helper()
	if identities == nil {
		identities = []Identity{us}
	}
	return must(New(Options{Identities: identities, Material: func() (root.TrustedMaterial, error) { return w, nil }, Limits: bounds}))
}

// way is one of the four in which something is signed.
type way struct {
	format    v1alpha1.SignatureFormat
	predicate string // empty: a signature
	put       func(t testing.TB, s *store, forges ...*forge)
}

var ways = map[string]way{
	"a signature in a tag": {format: v1alpha1.FormatLegacy, put: func(_ testing.TB, s *store, forges ...*forge) {
		var layers []mutate.Addendum
		for _, f := range forges {
			layers = append(layers, f.simple().signatureLayer())
		}
		putLayers(s.repo, s.tag(".sig"), layers...)
	}},
	"an attestation in a tag": {format: v1alpha1.FormatLegacy, predicate: provenance, put: func(_ testing.TB, s *store, forges ...*forge) {
		var layers []mutate.Addendum
		for _, f := range forges {
			layers = append(layers, f.attest().attestationLayer(""))
		}
		putLayers(s.repo, s.tag(".att"), layers...)
	}},
	"a signature in a bundle": {format: v1alpha1.FormatBundle, put: func(t testing.TB, s *store, forges ...*forge) {
		for _, f := range forges {
			s.push(t, f.attest().bundle(), "")
		}
	}},
	"an attestation in a bundle": {format: v1alpha1.FormatBundle, predicate: provenance, put: func(t testing.TB, s *store, forges ...*forge) {
		for _, f := range forges {
			s.push(t, f.attest().bundle(), "")
		}
	}},
}

func (w way) forge(world *world, digest string) *forge {
	f := newForge(world, digest)
	if w.predicate != "" {
		f.predicate = w.predicate
	}
	return f
}

func (w way) verify(ctx context.Context, v *Verifier, s *store) ([]Evidence, error) {
	if w.predicate == "" {
		return v.Signatures(ctx, s.client, s.ref)
	}
	found, err := v.Attestations(ctx, s.client, s.ref, w.predicate)
	var out []Evidence
	for _, a := range found {
		if !bytes.Contains(a.Payload, []byte(w.predicate)) || a.PredicateType != w.predicate {
			return nil, errors.New("the statement is another one")
		}
		out = append(out, a.Evidence)
	}
	return out, err
}

func (w way) missing() string {
	if w.predicate == "" {
		return "Terminal " + pipeline.ReasonSignatureMissing
	}
	return "Terminal " + pipeline.ReasonAttestationMissing
}

func fault(err error) string {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return "Terminal " + t.Reason
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return "Transient " + t.Reason
	}
	if err != nil {
		return "plain"
	}
	return ""
}

func TestWhatIsGoodIsEvidence(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		for _, api := range []bool{true, false} {
			t.Run(desc, func(t *testing.T) {
				s := newStore(t, api)
				f := way.forge(w, s.ref.DigestStr())
				way.put(t, s, f)
				v := newVerifier(t, w, limits.Signatures{})
				found, err := way.verify(t.Context(), v, s)
				if err != nil || len(found) != 1 {
					t.Fatalf("got %d: %v", len(found), err)
				}
				way.agrees(t, v, s, found, err)
				e := found[0]
				if e.Subject != s.ref.DigestStr() || e.Format != way.format || e.Identity != ourSubject || e.Issuer != ourIssuer {
					t.Errorf("got %+v", e)
				}
				if e.SignedAt.Unix() != f.logged.Unix() || e.LogIndex == nil || *e.LogIndex != logIndex || e.LogID != must(w.RekorLogID()) {
					t.Errorf("got %+v", e)
				}
				m, err := s.client.Manifest(t.Context(), s.repo.Digest(e.Manifest))
				if err != nil || !bytes.Contains(m.Raw, []byte(e.Layer)) {
					t.Errorf("manifest %s does not have layer %s: %v", e.Manifest, e.Layer, err)
				}
			})
		}
	}
}

func TestWhatIsBadIsNoEvidence(t *testing.T) {
	const (
		bad   = "Terminal " + pipeline.ReasonSignatureInvalid
		alien = "Terminal " + pipeline.ReasonIdentityMismatch
	)
	w, other := newWorld(), newWorld()
	tests := map[string]struct {
		change func(*forge)
		want   string
	}{
		"another subject":           {func(f *forge) { f.subject = "https://kubernetes.io/namespaces/x/serviceaccounts/y" }, alien},
		"a subject that is longer":  {func(f *forge) { f.subject += "x" }, alien},
		"a subject that is shorter": {func(f *forge) { f.subject = ourSubject[:len(ourSubject)-1] }, alien},
		"another issuer":            {func(f *forge) { f.issuer = "https://other.example" }, alien},
		"an issuer that is longer":  {func(f *forge) { f.issuer += "/" }, alien},
		"no issuer":                 {func(f *forge) { f.issuer = "" }, alien},
		"another digest":            {func(f *forge) { f.digest = otherDigest }, bad},
		"a certificate that was not valid yet when it was logged": {func(f *forge) { f.from = f.logged.Add(time.Minute) }, bad},
		"a certificate that had expired when it was logged":       {func(f *forge) { f.from = f.logged.Add(-11 * time.Minute) }, bad},
		"a certificate that had expired, with a timestamp": {func(f *forge) {
			f.from, f.timestamp = f.logged.Add(-11*time.Minute), true
		}, bad},
		"a certificate of another authority": {func(f *forge) { f.ca = other }, bad},
		"a certificate without SCT":          {func(f *forge) { f.sct = false }, bad},
		"a certificate with another log's SCT": {func(f *forge) {
			ca := *f.w
			ca.ctKey = newKey()
			f.ca = &ca
		}, bad},
		"another log": {func(f *forge) { f.log = other }, bad},
		"another log's promise": {func(f *forge) {
			f.entry = func(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
				e.InclusionPromise.SignedEntryTimestamp[10] ^= 1
				return e
			}
		}, bad},
		"an entry at another time": {func(f *forge) {
			f.entry = func(e *protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry {
				e.IntegratedTime++
				return e
			}
		}, bad},
		"no entry": {func(f *forge) {
			f.entry = func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { return nil }
		}, bad},
		"no entry but a timestamp": {func(f *forge) {
			f.entry = func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { return nil }
			f.timestamp = true
		}, bad},
		"the entry of another signature": {func(f *forge) {
			elsewhere := f.with(nil).attest()
			if f.predicate == pipeline.PredicateSignature {
				elsewhere = f.with(nil).simple()
			}
			f.entry = func(*protorekor.TransparencyLogEntry) *protorekor.TransparencyLogEntry { return elsewhere.entry }
		}, bad},
		"a signature that was altered":           {func(f *forge) { f.signed = func(b []byte) []byte { b[len(b)-1] ^= 1; return b } }, bad},
		"a payload that was altered":             {func(f *forge) { f.after = func(b []byte) []byte { return append(b, ' ') } }, bad},
		"a payload that is empty":                {func(f *forge) { f.after = func([]byte) []byte { return nil } }, bad},
		"what would be signed, twice in letters": {func(f *forge) { f.statement = `{"subject":[],"Subject":[]}` }, bad},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for kind, way := range ways {
				s := newStore(t, true)
				way.put(t, s, way.forge(w, s.ref.DigestStr()).with(tt.change))
				v := newVerifier(t, w, limits.Signatures{})
				found, err := way.verify(t.Context(), v, s)
				if got := fault(err); got != tt.want || len(found) != 0 {
					t.Errorf("%s: got %d, %s: %v", kind, len(found), got, err)
				}
				way.agrees(t, v, s, found, err)
			}
		})
	}
}
