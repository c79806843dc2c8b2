package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// putRaw writes a manifest under reference, or its digest if that is empty.
func (s *store) putRaw(t *testing.T, reference, raw string) {
	t.Helper()
	m := must(registry.NewManifest([]byte(raw), types.OCIManifestSchema1))
	if reference == "" {
		reference = m.Digest.String()
	}
	if err := s.client.PutManifest(t.Context(), s.repo.Digest(m.Digest.String()), m); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(reference, "sha256-") {
		if err := s.client.PutManifest(t.Context(), s.repo.Tag(reference), m); err != nil {
			t.Fatal(err)
		}
	}
}

// blobs are how many blobs fn reads.
func (s *store) blobs(fn func()) int {
	return len(slices.DeleteFunc(s.requests(fn), func(a string) bool { return !strings.Contains(a, "/blobs/") }))
}

// hinted pushes a bundle that says of itself what is wanted.
func (s *store) hinted(t *testing.T, raw []byte, predicate, created, other string) {
	t.Helper()
	a := artifact(s.subject, raw, predicate)
	a.Annotations[createdAnnotation], a.Annotations["other"] = created, other
	must(s.client.PushArtifact(t.Context(), s.repo, a))
}

func TestALayerWithoutADigestIsBadAlone(t *testing.T) {
	w := newWorld()
	for desc, layers := range map[string]string{
		"empty":                `[{}]`,
		"null":                 `[null]`,
		"with an address":      `[{"mediaType":"x/y","size":5,"urls":["https://files.example/x"]}]`,
		"with an empty digest": `[{"mediaType":"x/y","size":5,"digest":""}]`,
	} {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := newForge(w, s.ref.DigestStr())
			s.push(t, f.attest().bundle(), "")
			s.putRaw(t, "", fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","size":2,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},"layers":%s,"subject":%s}`,
				types.OCIManifestSchema1, bundleV03, layers, must(json.Marshal(s.subject))))
			found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
			if err != nil || len(found) != 1 {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}

func TestALayerOfATagWithoutADigestIsBadAlone(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).simple().signatureLayer()
	putLayers(s.repo, s.tag(".sig"), good, good)
	raw := string(must(s.client.Manifest(t.Context(), s.repo.Tag(s.tag(".sig")))).Raw)
	digest := fmt.Sprintf(`"digest":%q`, must(good.Layer.Digest()))
	at := strings.LastIndex(raw, digest)
	s.putRaw(t, s.tag(".sig"), raw[:at]+`"x":""`+raw[at+len(digest):])
	found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
	if err != nil || len(found) != 1 {
		t.Errorf("got %d: %v", len(found), err)
	}
}

func TestWhatNobodyHasClassifiedIsTheFaultOfOne(t *testing.T) {
	tests := map[string]struct {
		err         error
		late, fails bool
	}{
		"an error without a type":            {err: errors.New("cannot parse")},
		"an error without a type, too late":  {err: errors.New("cannot parse"), late: true, fails: true},
		"a request that was given up":        {err: fmt.Errorf("reading: %w", context.Canceled), fails: true},
		"a request that took too long":       {err: fmt.Errorf("reading: %w", context.DeadlineExceeded), fails: true},
		"an outage":                          {err: pipeline.Transientf(pipeline.ReasonRegistryUnavailable, "away"), fails: true},
		"a registry that refuses":            {err: pipeline.Terminalf(pipeline.ReasonRegistryDenied, "denied"), fails: true},
		"something that is awaited":          {err: pipeline.Waitingf(pipeline.ReasonRegistryThrottled, "later"), fails: true},
		"what the registry has is not right": {err: pipeline.Terminalf(pipeline.ReasonImageInvalid, "invalid")},
		"a signature of somebody else":       {err: &strangerError{}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s := &search{limits: limits.Signatures{}.WithDefaults()}
			err := s.each(ctx, make([]v1.Descriptor, 1), func(context.Context, v1.Descriptor) (Attestation, error) {
				if tt.late {
					cancel()
				}
				return Attestation{}, tt.err
			})
			if tt.fails != (err != nil) || tt.fails == (len(s.failed) == 1) {
				t.Errorf("got %v, and %d failed", err, len(s.failed))
			}
		})
	}
}

func TestATimeToComeIsNoTime(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for desc, tt := range map[string]struct {
		good, bad string
		found     bool
	}{
		"far from now":          {"2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z", true},
		"just too far from now": {"2026-01-01T00:00:00Z", "2026-01-02T00:05:01Z", true},
		"by a clock ahead":      {"2026-01-02T00:05:00Z", "2026-01-01T00:00:00Z", true},
		"newer than the good":   {"2026-01-01T00:00:00Z", "2026-01-02T00:05:00Z", false},
	} {
		t.Run(desc, func(t *testing.T) {
			w, s := newWorld(), newStore(t, true)
			f := newForge(w, s.ref.DigestStr())
			s.hinted(t, f.attest().bundle(), f.predicate, tt.good, "")
			for _, f := range bad(w, f, 4) {
				s.hinted(t, f.attest().bundle(), newForge(w, otherDigest).predicate, tt.bad, "")
			}
			v := newVerifier(t, w, limits.Signatures{Tried: 4})
			v.now = func() time.Time { return now }
			if found, err := v.Signatures(t.Context(), s.client, s.ref); tt.found != (err == nil) {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}

// The limit of referrers is of those that may be what is wanted, newest first.
func TestOthersThatReferLeaveRoom(t *testing.T) {
	w := newWorld()
	for desc, api := range map[string]bool{"by the API": true, "by the tag": false} {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, api)
			f := newForge(w, s.ref.DigestStr())
			put := func(from, n int) {
				for i := range n {
					report := artifact(s.subject, fmt.Appendf(nil, "[%d]", from+i), "")
					report.Type = "application/vnd.example.report+json"
					must(s.client.PushArtifact(t.Context(), s.repo, report))
					s.hinted(t, fmt.Appendf(nil, "{%d", from+i), f.predicate, "2026-01-01T00:00:00Z", "")
				}
			}
			put(0, 3)
			s.hinted(t, f.attest().bundle(), f.predicate, "2026-01-01T00:00:01Z", "")
			put(3, 3)
			v := newVerifier(t, w, limits.Signatures{Referrers: 1})
			var err error
			if read := s.blobs(func() { _, err = v.Signatures(t.Context(), s.client, s.ref) }); err != nil || read != 1 {
				t.Errorf("%d were read: %v", read, err)
			}
		})
	}
}

func TestCopiesAreLookedAtOnce(t *testing.T) {
	w := newWorld()
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := way.forge(w, s.ref.DigestStr())
			good, wrong := f.attest(), f.with(func(f *forge) { f.sct = false }).attest()
			layer := func(f forged) mutate.Addendum { return f.attestationLayer("") }
			if way.predicate == "" {
				good, wrong = f.simple(), f.with(func(f *forge) { f.sct = false; f.statement = string(f.simplePayload()) + " " }).simple()
				layer = forged.signatureLayer
			}
			if way.format == v1alpha1.FormatLegacy {
				layers := []mutate.Addendum{layer(good), layer(good)}
				for range 8 {
					layers = append(layers, layer(wrong))
				}
				putLayers(s.repo, s.tag(map[bool]string{true: ".sig", false: ".att"}[way.predicate == ""]), layers...)
			} else {
				good, wrong = f.attest(), f.with(func(f *forge) { f.sct = false }).attest()
				for i := range 2 {
					s.hinted(t, good.bundle(), f.predicate, "", fmt.Sprint(i))
					s.hinted(t, wrong.bundle(), f.predicate, "", fmt.Sprint(i))
				}
			}
			v := newVerifier(t, w, limits.Signatures{Tried: 4})
			var found []Evidence
			var err error
			if read := s.blobs(func() { found, err = way.verify(t.Context(), v, s) }); err != nil || len(found) != 1 || read != 2 {
				t.Errorf("got %d of %d that were read: %v", len(found), read, err)
			}
		})
	}
}

// A copy that lies about the size is not the same.
func TestACopyWithAnotherSizeHidesNothing(t *testing.T) {
	w, s := newWorld(), newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).simple().signatureLayer()
	putLayers(s.repo, s.tag(".sig"), good, good)
	raw := string(must(s.client.Manifest(t.Context(), s.repo.Tag(s.tag(".sig")))).Raw)
	size := fmt.Sprintf(`"size":%d`, must(good.Layer.Size()))
	at := strings.LastIndex(raw, size)
	s.putRaw(t, s.tag(".sig"), raw[:at]+`"size":1`+raw[at+len(size):])
	if found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 1 {
		t.Errorf("got %d: %v", len(found), err)
	}
}

func TestNotMoreThanAFewStatementsAreKept(t *testing.T) {
	w := newWorld()
	for desc, tt := range map[string]struct {
		distinct bool
		want     int
	}{
		"statements that differ":         {true, keptStatements},
		"the same, signed several times": {false, 6},
	} {
		t.Run(desc, func(t *testing.T) {
			for kind, way := range ways {
				if way.predicate == "" {
					continue
				}
				s := newStore(t, true)
				f := way.forge(w, s.ref.DigestStr())
				var forges []*forge
				for i := range 6 {
					if !tt.distinct {
						i = 0
					}
					forges = append(forges, f.with(func(f *forge) {
						f.statement = statementOf(f.predicate, f.digest) + strings.Repeat(" ", i)
					}))
				}
				way.put(t, s, forges...)
				largest := limits.Bytes(len(forges[5].statement))
				found, err := way.verify(t.Context(), newVerifier(t, w, limits.Signatures{StatementBytes: largest}), s)
				if err != nil || len(found) != tt.want {
					t.Errorf("%s: got %d: %v", kind, len(found), err)
				}
			}
		})
	}
}
