package verify

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
)

func BenchmarkBundle(b *testing.B) {
	w := newWorld()
	s := offline(b, w, provenance)
	raw := newForge(w, otherDigest).with(func(f *forge) { f.predicate = provenance }).attest().bundle()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.bundle(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLegacySignature(b *testing.B) {
	w := newWorld()
	s := offline(b, w, "")
	good := newForge(w, otherDigest).simple()
	annotations := good.signatureLayer().Annotations
	b.ReportAllocs()
	for b.Loop() {
		if err := s.simpleOf(good.payload, annotations); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature verifies again and again what no cache has, in a repository that is known.
func BenchmarkSignature(b *testing.B) {
	w := newWorld()
	for desc, way := range ways {
		for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
			b.Run(fmt.Sprintf("%s/%s", desc, latency), func(b *testing.B) {
				s := newStore(b, true)
				f := way.forge(w, s.ref.DigestStr())
				if way.predicate == "" && way.format == v1alpha1.FormatLegacy {
					f = here(s, f)
				}
				way.put(b, s, f)
				v := newVerifier(b, w, limits.Signatures{})
				s.mu.Lock()
				s.intercept = func(_ http.ResponseWriter, r *http.Request) bool {
					select {
					case <-time.After(latency):
					case <-r.Context().Done():
					}
					return false
				}
				s.mu.Unlock()
				b.ReportAllocs()
				asked := s.requests(func() {
					for b.Loop() {
						if _, err := way.one(b, v, s); err != nil {
							b.Fatal(err)
						}
					}
				})
				b.ReportMetric(float64(len(asked))/float64(b.N), "requests/op")
			})
		}
	}
}

func BenchmarkKey(b *testing.B) {
	c := newCosigner(b, protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil)
	s := newStore(b, true)
	c.signatureTag(b, s.ref)
	v := newKeyVerifier(b, c.pem, false, nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Signature(b.Context(), s.client, s.ref); err != nil {
			b.Fatal(err)
		}
	}
}
