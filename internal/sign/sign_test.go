package sign

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var apis = map[string]bool{"with the referrers API": true, "without": false}

func TestWhatIsSignedVerifies(t *testing.T) {
	one := map[v1alpha1.SignatureFormat]int{v1alpha1.FormatLegacy: 1, v1alpha1.FormatBundle: 1}
	tests := map[string]struct {
		change func(testing.TB, *bench)
		want   map[v1alpha1.SignatureFormat]int
		logged int
	}{
		"in both formats":             {func(testing.TB, *bench) {}, one, 2},
		"as a tag":                    {func(_ testing.TB, b *bench) { b.options.Formats = bothFormats[:1] }, map[v1alpha1.SignatureFormat]int{v1alpha1.FormatLegacy: 1}, 1},
		"as a bundle":                 {func(_ testing.TB, b *bench) { b.options.Formats = bothFormats[1:] }, map[v1alpha1.SignatureFormat]int{v1alpha1.FormatBundle: 1}, 1},
		"with a log and timestamps":   {func(_ testing.TB, b *bench) { b.options.TimestampURL = b.sigstore.Timestamp.URL }, one, 2},
		"with timestamps only":        {func(t testing.TB, b *bench) { b.withoutLog(t) }, one, 0},
		"with a certificate for each": {func(_ testing.TB, b *bench) { b.sigstore.Fulcio.SetLifetime(renewBefore / 2) }, one, 2},
	}
	for desc, tt := range tests {
		for registry, api := range apis {
			t.Run(desc+" "+registry, func(t *testing.T) {
				b := newBench(t, api)
				tt.change(t, b)
				for range 3 {
					if err := b.session(t).Sign(t.Context(), b.client, b.ref); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(tt.want, b.signatures(t)); diff != "" {
					t.Error(diff)
				}
				if n := b.sigstore.Rekor.Entries(); n != tt.logged {
					t.Errorf("%d entries are in the log, want %d", n, tt.logged)
				}
			})
		}
	}
}

func TestACertificateIsForAllOfABuild(t *testing.T) {
	b := newBench(t, true)
	s := b.session(t)
	for range 3 {
		b.ref = b.push(t)
		statements := []pipeline.Statement{statement(b.ref, "a", "1"), statement(b.ref, "b", "1"), statement(b.ref, "b", "2")}
		if err := s.Attest(t.Context(), b.client, b.ref, statements, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
			t.Fatal(err)
		}
	}
	if f, r := b.sigstore.Fulcio.Requests(), b.sigstore.Rekor.Entries(); f != 1 || r != 15 {
		t.Errorf("%d certificates and %d entries, want 1 and 15", f, r)
	}
	b.sigstore.Fulcio.SetLifetime(renewBefore / 2)
	s = b.session(t)
	for range 2 {
		b.ref = b.push(t)
		if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
			t.Fatal(err)
		}
	}
	if f := b.sigstore.Fulcio.Requests(); f != 1+4 {
		t.Errorf("got %d certificates with so little time left, want one for each of 4 signatures", f-1)
	}
}

// Signatures by others, also those of the same payload, stay and stay in order.
func TestSignaturesOfOthersStay(t *testing.T) {
	for registry, api := range apis {
		t.Run(registry, func(t *testing.T) {
			b := newBench(t, api)
			for _, who := range []string{"alice", "bob"} {
				if err := b.as(t, who).Sign(t.Context(), b.client, b.ref); err != nil {
					t.Fatal(err)
				}
			}
			before := b.layers(t, ".sig")
			if err := b.session(t).Sign(t.Context(), b.client, b.ref); err != nil {
				t.Fatal(err)
			}
			after := b.layers(t, ".sig")
			if len(before) != 2 || len(after) != 3 {
				t.Fatalf("%d layers became %d", len(before), len(after))
			}
			if diff := cmp.Diff(before, after[:2]); diff != "" {
				t.Error(diff)
			}
			for _, who := range []string{"alice", "bob", account} {
				found, err := newVerifier(t, b.options.Material, issuer, namespace, who).Signatures(t.Context(), b.client, b.ref)
				if err != nil || len(found) != 2 {
					t.Errorf("%s: got %v, %v", who, found, err)
				}
			}
		})
	}
}

func TestACrashBetweenLogAndPush(t *testing.T) {
	for registry, api := range apis {
		for _, part := range []string{"PUT .sig", "PUT /manifests/sha256:", "POST /blobs/"} {
			t.Run(part+" "+registry, func(t *testing.T) {
				b := newBench(t, api)
				var method, path string
				_, _ = fmt.Sscan(part, &method, &path)
				b.on(refusing(method, path, http.StatusServiceUnavailable))
				if got := fault(b.session(t).Sign(t.Context(), b.client, b.ref)); got != "Transient RegistryUnavailable" {
					t.Errorf("got %s", got)
				}
				b.on(nil)
				logged := b.sigstore.Rekor.Entries()
				if err := b.session(t).Sign(t.Context(), b.client, b.ref); err != nil {
					t.Fatal(err)
				}
				want := map[v1alpha1.SignatureFormat]int{v1alpha1.FormatLegacy: 1, v1alpha1.FormatBundle: 1}
				if diff := cmp.Diff(want, b.signatures(t)); diff != "" {
					t.Error(diff)
				}
				if again := b.sigstore.Rekor.Entries(); again == logged {
					t.Error("nothing was signed again: nothing had been lost")
				}
			})
		}
	}
}
