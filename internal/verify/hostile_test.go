package verify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestWhatIsNotThereIsMissing(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		put func(t *testing.T, s *store, f *forge)
	}{
		"nothing": {func(*testing.T, *store, *forge) {}},
		"an attestation of another type": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(""), other.attestationLayer("https://example.com/other/v1"))
			s.push(t, other.bundle(), "")
			s.push(t, other.bundle(), "https://example.com/other/v1")
		}},
		"an attestation of a type that begins the same": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate += ".1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(""))
			s.push(t, other.bundle(), "")
		}},
		"an attestation of another type that says it is of this": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			putLayers(s.repo, s.tag(".att"), other.attestationLayer(f.predicate))
			s.push(t, other.bundle(), f.predicate)
		}},
		"an attestation in place of a signature": {func(t *testing.T, s *store, f *forge) {
			other := f.with(func(f *forge) { f.predicate = "https://example.com/other/v1" }).attest()
			s.push(t, other.bundle(), "")
		}},
		"something that refers to it": {func(t *testing.T, s *store, _ *forge) {
			a := artifact(s.subject, []byte("{}"), "")
			a.Type = "application/vnd.example.report+json"
			must(s.client.PushArtifact(t.Context(), s.repo, a))
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for _, api := range []bool{true, false} {
				for kind, way := range ways {
					s := newStore(t, api)
					tt.put(t, s, way.forge(w, s.ref.DigestStr()))
					found, err := way.verify(t.Context(), newVerifier(t, w, limits.Signatures{}), s)
					if got := fault(err); got != way.missing() || len(found) != 0 {
						t.Errorf("%s, API %v: got %d, %s: %v", kind, api, len(found), got, err)
					}
				}
			}
		})
	}
}

// bad are forges of which each is bad in a way of its own.
func bad(w *world, f *forge, n int) []*forge {
	var out []*forge
	for i := range n {
		out = append(out, f.with([]func(*forge){
			func(f *forge) { f.subject = fmt.Sprintf("https://evil.example/%d", i) },
			func(f *forge) { f.statement = strings.Repeat("[", i+1) },
			func(f *forge) { f.ca = newWorld(nil2{}) },
			func(f *forge) { f.digest = fmt.Sprintf("sha256:%064x", i) },
			func(f *forge) { f.sct = false },
		}[i%5]))
	}
	return out
}

// nil2 lets newWorld be called without a test.
type nil2 struct{ testing.TB }

func (nil2) Helper() {}

func TestTheBadDontHideTheGood(t *testing.T) {
	w := newWorld(t)
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			for _, api := range []bool{true, false} {
				s := newStore(t, api)
				good := way.forge(w, s.ref.DigestStr())
				forges := append(append(bad(w, good, 10), good, good), bad(w, good, 10)...)
				way.put(t, s, forges...)
				found, err := way.verify(t.Context(), newVerifier(t, w, limits.Signatures{}), s)
				if err != nil || len(found) != 2 {
					t.Errorf("API %v: got %d: %v", api, len(found), err)
				}
			}
		})
	}
}

func TestNotMoreThanAFewAreTried(t *testing.T) {
	w := newWorld(t)
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := way.forge(w, s.ref.DigestStr())
			way.put(t, s, bad(w, f, 9)...)
			var err error
			asked := s.requests(func() {
				_, err = way.verify(t.Context(), newVerifier(t, w, limits.Signatures{Tried: 4}), s)
			})
			if !pipeline.IsTerminal(err) || !strings.Contains(err.Error(), "limits.signatures.tried") || !strings.Contains(err.Error(), "of 9 ") {
				t.Errorf("got %v", err)
			}
			blobs := len(slices.DeleteFunc(asked, func(a string) bool { return !strings.Contains(a, "/blobs/") }))
			if blobs != 4 {
				t.Errorf("%d were read", blobs)
			}
		})
	}
}

func TestTheNewestAreTriedFirst(t *testing.T) {
	w := newWorld(t)
	one := limits.Signatures{Tried: 1}
	for desc, way := range ways {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := way.forge(w, s.ref.DigestStr())
			if way.format == v1alpha1.FormatLegacy {
				way.put(t, s, bad(w, f, 1)[0], f)
			} else {
				for at, f := range map[string]*forge{"2026-01-01T00:00:00Z": bad(w, f, 1)[0], "2026-01-01T00:00:01Z": f, "when?": bad(w, f, 1)[0]} {
					a := artifact(s.subject, f.attest().bundle(), f.predicate)
					a.Annotations[createdAnnotation] = at
					must(s.client.PushArtifact(t.Context(), s.repo, a))
				}
			}
			if found, err := way.verify(t.Context(), newVerifier(t, w, one), s); err != nil || len(found) != 1 {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}

func TestNotMoreThanAFewReferrersAreLookedAt(t *testing.T) {
	w, s := newWorld(t), newStore(t, false)
	for _, f := range bad(w, newForge(w, s.ref.DigestStr()), 5) {
		s.push(t, f.attest().bundle(), "")
	}
	_, err := newVerifier(t, w, limits.Signatures{Referrers: 3}).Signatures(t.Context(), s.client, s.ref)
	if err == nil || !strings.Contains(err.Error(), "limits.signatures.referrers") || !strings.Contains(err.Error(), "of 5 ") {
		t.Errorf("got %v", err)
	}
}

func TestWhatSaysItIsSomethingElseIsNotRead(t *testing.T) {
	w, s := newWorld(t), newStore(t, true)
	f := newForge(w, s.ref.DigestStr())
	s.push(t, f.attest().bundle(), pipeline.PredicateSignature)
	putLayers(s.repo, s.tag(".sig"), f.simple().signatureLayer())
	for i := range 5 {
		predicate := fmt.Sprintf("https://example.com/%d", i)
		s.push(t, f.with(func(f *forge) { f.predicate = predicate }).attest().bundle(), predicate)
	}
	v := newVerifier(t, w, limits.Signatures{})
	asked := s.requests(func() {
		if found, err := v.Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 2 {
			t.Errorf("got %d: %v", len(found), err)
		}
	})
	// The tag and its layer; the list, the bundle's manifest and the bundle.
	if len(asked) != 5 {
		t.Errorf("asked %d times: %q", len(asked), asked)
	}
}

// unlimited answers with a stream without end.
func unlimited(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func descriptors(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1,"artifactType":%q}`, i, bundleV03))
	}
	return `{"schemaVersion":2,"manifests":[` + strings.Join(out, ",") + `]}`
}

// What one format has is no matter of the other's.
func TestTheGoodIsFoundBesideTheHostile(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		way     string
		hostile func(t *testing.T, s *store)
	}{
		"a tag without an end": {"a signature in a bundle", func(_ *testing.T, s *store) { s.answer(".sig", unlimited) }},
		"a tag that is no JSON": {"a signature in a bundle", func(_ *testing.T, s *store) {
			s.answer(".sig", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
		}},
		"a tag that is an index": {"a signature in a bundle", func(_ *testing.T, s *store) {
			s.answer(".sig", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			})
		}},
		"layers without annotations": {"a signature in a bundle", func(_ *testing.T, s *store) {
			putLayers(s.repo, s.tag(".sig"), mutate.Addendum{Layer: static.NewLayer([]byte("{}"), "x/y")})
		}},
		"referrers without an end": {"a signature in a tag", func(_ *testing.T, s *store) { s.answer("/referrers/", unlimited) }},
		"very many referrers": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, descriptors(100_000))
			})
		}},
		"many referrers that are not there": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, descriptors(5000))
			})
		}},
		"referrers of pages without an end": {"a signature in a tag", func(_ *testing.T, s *store) {
			s.answer("/referrers/", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				w.Header().Set("Link", `<?last=x>; rel="next"`)
				_, _ = io.WriteString(w, descriptors(1))
			})
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			ways[tt.way].put(t, s, newForge(w, s.ref.DigestStr()))
			tt.hostile(t, s)
			v := newVerifier(t, w, limits.Signatures{})
			if found, err := v.Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 1 {
				t.Errorf("got %d: %v", len(found), err)
			}
		})
	}
}

// hostileLayers are beside a good one, and each is bad by itself.
func TestTheGoodIsFoundAmongHostileLayers(t *testing.T) {
	w := newWorld(t)
	s := newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).simple()
	endless := static.NewLayer([]byte("endless"), "x/y")
	gone := static.NewLayer([]byte("gone"), "x/y")
	long := static.NewLayer(bytes.Repeat([]byte(" "), payloadBytes+1), "x/y")
	with := func(layer v1.Layer, change func(map[string]string)) mutate.Addendum {
		a := mutate.Addendum{Layer: layer, Annotations: good.signatureLayer().Annotations}
		if change != nil {
			change(a.Annotations)
		}
		return a
	}
	payload := good.signatureLayer().Layer
	layers := []mutate.Addendum{good.signatureLayer(),
		with(endless, nil), with(gone, nil), with(long, nil),
		with(payload, func(a map[string]string) { delete(a, certificateAnnotation) }),
		with(payload, func(a map[string]string) {
			a[certificateAnnotation] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
		}),
		with(payload, func(a map[string]string) {
			a[certificateAnnotation] = strings.ReplaceAll(a[certificateAnnotation], "CERTIFICATE", "PUBLIC KEY")
		}),
		with(payload, func(a map[string]string) { a[signatureAnnotation] = "?" }),
		with(payload, func(a map[string]string) { delete(a, signatureAnnotation) }),
		with(payload, func(a map[string]string) { delete(a, logAnnotation) }),
		with(payload, func(a map[string]string) { a[logAnnotation] = "null" }),
		with(payload, func(a map[string]string) { a[logAnnotation] = "{" }),
		with(payload, func(a map[string]string) { a[logAnnotation] = `{"Payload":{"body":"e30=","logID":"zz"}}` }),
		with(payload, func(a map[string]string) { a[logAnnotation] = `{"Payload":{"body":"e30=","logID":"00"}}` }),
		with(payload, func(a map[string]string) {
			body := `{"kind":"hashedrekord","apiVersion":"0.0.1","spec":[` + strings.Repeat(`[],`, overheadBytes/3) + `[]]}`
			a[logAnnotation] = fmt.Sprintf(`{"SignedEntryTimestamp":"AAAA","Payload":{"body":%q,"logID":"00"}}`, base64.StdEncoding.EncodeToString([]byte(body)))
		}),
		with(payload, func(a map[string]string) { a[timestampAnnotation] = "7" }),
	}
	putLayers(s.repo, s.tag(".sig"), layers...)
	s.answerGone(must(gone.Digest()).String(), must(endless.Digest()).String())
	found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
	if err != nil || len(found) != 1 {
		t.Errorf("got %d: %v", len(found), err)
	}
	search := &search{core: must(newCore(w, newVerifier(t, w, limits.Signatures{}).identities)), client: s.client, ref: s.ref, digest: s.subject.Digest, want: want{simple: true}, limits: limits.Signatures{}.WithDefaults()}
	if err := search.tags(t.Context()); err != nil || len(search.failed) != len(layers)-1 {
		t.Errorf("%d of %d are bad: %v", len(search.failed), len(layers), err)
	}
}

// answerGone answers 404 for one blob, and without end for another.
func (s *store) answerGone(gone, endless string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.Contains(r.URL.Path, gone):
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(r.URL.Path, endless):
			unlimited(w, r)
		default:
			return false
		}
		return true
	}
}

func TestEnvelopesThatAreBad(t *testing.T) {
	w := newWorld(t)
	s := newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = provenance }).attest()
	key := func(b *protobundle.Bundle) {
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "x"}}
	}
	tests := map[string]struct {
		change func(*protobundle.Bundle)
		raw    func([]byte) []byte
	}{
		"of another type of payload": {change: func(b *protobundle.Bundle) { b.GetDsseEnvelope().PayloadType = "text/plain" }},
		"with two signatures": {change: func(b *protobundle.Bundle) {
			e := b.GetDsseEnvelope()
			e.Signatures = append(e.Signatures, &protodsse.Signature{Sig: []byte("x")})
		}},
		"with no signature":                {change: func(b *protobundle.Bundle) { b.GetDsseEnvelope().Signatures = nil }},
		"with a key and no certificate":    {change: key},
		"with nothing to verify it with":   {change: func(b *protobundle.Bundle) { b.VerificationMaterial = nil }},
		"in a bundle of a version to come": {change: func(b *protobundle.Bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle.v0.4+json" }},
		"in a bundle of no version":        {change: func(b *protobundle.Bundle) { b.MediaType = "" }},
		"with the same entry twice": {change: func(b *protobundle.Bundle) {
			m := b.VerificationMaterial
			m.TlogEntries = append(m.TlogEntries, m.TlogEntries[0])
		}},
		"with an entry that is empty": {change: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].Reset() }},
		"with an entry of something":  {change: func(b *protobundle.Bundle) { b.VerificationMaterial.TlogEntries[0].CanonicalizedBody = []byte("{}") }},
		"with an entry without a signature": {change: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].CanonicalizedBody = []byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"signatures":[]}}`)
		}},
		"with too many bytes beside": {change: func(b *protobundle.Bundle) {
			b.VerificationMaterial.TlogEntries[0].CanonicalizedBody = make([]byte, overheadBytes)
		}},
		"that is a message": {change: func(b *protobundle.Bundle) {
			b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{Signature: []byte("x")}}
		}},
		"that is nothing":                {change: func(b *protobundle.Bundle) { b.Content = nil }},
		"with too many values":           {raw: func(b []byte) []byte { return append(b[:len(b)-1], `,"x":[`+strings.Repeat(`0,`, maxValues)+`0]}`...) }},
		"with a field that nobody knows": {raw: func(b []byte) []byte { return append(b[:len(b)-1], `,"x":0}`...) }},
		"that is no JSON":                {raw: func(b []byte) []byte { return b[1:] }},
		"that is empty":                  {raw: func([]byte) []byte { return nil }},
		"that is too long":               {raw: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), overheadBytes+1000)...) }},
		"whose statement is too long": {change: func(b *protobundle.Bundle) {
			b.GetDsseEnvelope().Payload = append(b.GetDsseEnvelope().Payload, bytes.Repeat([]byte(" "), 600)...)
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			b := new(protobundle.Bundle)
			if err := protojson.Unmarshal(good.bundle(), b); err != nil {
				t.Fatal(err)
			}
			if tt.change != nil {
				tt.change(b)
			}
			raw := must(protojson.Marshal(b))
			if tt.raw != nil {
				raw = tt.raw(raw)
			}
			s.push(t, raw, provenance)
			_, err := newVerifier(t, w, limits.Signatures{StatementBytes: 600}).Attestations(t.Context(), s.client, s.ref, provenance)
			if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLegacyEnvelopesThatAreBad(t *testing.T) {
	w := newWorld(t)
	for desc, change := range map[string]func(map[string]any){
		"with two signatures": func(e map[string]any) {
			e["signatures"] = []any{map[string]any{"sig": "AA=="}, map[string]any{"sig": "AA=="}}
		},
		"with no signature":             func(e map[string]any) { delete(e, "signatures") },
		"with a signature of no base64": func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": "?"}} },
		"with a payload of no base64":   func(e map[string]any) { e["payload"] = "?" },
		"of another type of payload":    func(e map[string]any) { e["payloadType"] = "text/plain" },
		"with too many values":          func(e map[string]any) { e["x"] = make([]int, maxValues+1) },
		"that is too long":              func(e map[string]any) { e["x"] = strings.Repeat(" ", overheadBytes+1000) },
		"that is malformed":             func(e map[string]any) { e["payloadType"] = 7 },
	} {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			layer := newForge(w, s.ref.DigestStr()).with(func(f *forge) { f.predicate = provenance }).attest().attestationLayer("")
			var envelope map[string]any
			if err := json.NewDecoder(must(layer.Layer.Compressed())).Decode(&envelope); err != nil {
				t.Fatal(err)
			}
			change(envelope)
			layer.Layer = static.NewLayer(must(json.Marshal(envelope)), "application/vnd.dsse.envelope.v1+json")
			putLayers(s.repo, s.tag(".att"), layer)
			_, err := newVerifier(t, w, limits.Signatures{StatementBytes: 600}).Attestations(t.Context(), s.client, s.ref, provenance)
			if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Older bundles have a chain, of which the certificate alone counts.
func TestBundlesOfEarlierVersions(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"0.1", "0.2", "0.3"} {
		s := newStore(t, true)
		f := newForge(w, s.ref.DigestStr()).attest()
		b := new(protobundle.Bundle)
		if err := protojson.Unmarshal(f.bundle(), b); err != nil {
			t.Fatal(err)
		}
		b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=" + version
		if version != "0.3" {
			b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: f.cert.Raw}, {RawBytes: []byte("nonsense")}},
			}}
		}
		a := artifact(s.subject, must(protojson.Marshal(b)), pipeline.PredicateSignature)
		a.Type = b.MediaType
		must(s.client.PushArtifact(t.Context(), s.repo, a))
		if found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref); err != nil || len(found) != 1 {
			t.Errorf("%s: got %d: %v", version, len(found), err)
		}
	}
}

// replaced answers with as many bytes as cosign's payload has in these tests.
func replaced(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(make([]byte, len(newForge(nil, otherDigest).simplePayload())))
}

func TestAnOutageIsNeverAVerdict(t *testing.T) {
	w := newWorld(t)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	const away = "Transient " + pipeline.ReasonRegistryUnavailable
	tests := map[string]struct {
		part   string
		answer http.HandlerFunc
		want   string
	}{
		"the tag fails":                {".sig", status(500), away},
		"the tag breaks off":           {".sig", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, away},
		"the tag is throttled":         {".sig", status(429), "Transient " + pipeline.ReasonRegistryThrottled},
		"the tag wants a login":        {".sig", status(401), "Terminal " + pipeline.ReasonRegistryUnauthorized},
		"the tag is denied":            {".sig", status(403), "Terminal " + pipeline.ReasonRegistryDenied},
		"the tag is refused":           {".sig", status(400), "Terminal " + pipeline.ReasonRegistryRejected},
		"the tag does not come":        {".sig", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "Transient " + pipeline.ReasonRegistryTimeout},
		"the referrers fail":           {"/referrers/", status(503), away},
		"the referrers want a login":   {"/referrers/", status(401), "Terminal " + pipeline.ReasonRegistryUnauthorized},
		"the referrers do not come":    {"/referrers/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "Transient " + pipeline.ReasonRegistryTimeout},
		"blobs fail":                   {"/blobs/", status(500), away},
		"blobs are denied":             {"/blobs/", status(403), "Terminal " + pipeline.ReasonRegistryDenied},
		"blobs have another digest":    {"/blobs/", replaced, "Transient " + pipeline.ReasonDigestMismatch},
		"blobs are where nobody goes":  {"/blobs/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://169.254.169.254/", 307) }, "Terminal " + pipeline.ReasonRegistryAddress},
		"the bundle's manifest fails":  {"", nil, away},
		"the bundle's manifest is bad": {"", nil, "Transient " + pipeline.ReasonDigestMismatch},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, true)
			f := newForge(w, s.ref.DigestStr())
			putLayers(s.repo, s.tag(".sig"), f.simple().signatureLayer())
			bundle := s.push(t, f.attest().bundle(), "")
			switch {
			case tt.answer != nil:
				s.answer(tt.part, tt.answer)
			case tt.want == away:
				s.answer(bundle.DigestStr(), status(502))
			default:
				s.answer(bundle.DigestStr(), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
			}
			if strings.HasSuffix(tt.want, "Timeout") {
				s.client = newClient(100 * time.Millisecond)
			}
			found, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.ref)
			if got := fault(err); got != tt.want || len(found) != 0 {
				t.Errorf("got %d, %s: %v", len(found), got, err)
			}
		})
	}
}

func TestAContextThatEndsIsNoVerdict(t *testing.T) {
	w, s := newWorld(t), newStore(t, true)
	ways["a signature in a tag"].put(t, s, newForge(w, s.ref.DigestStr()))
	v := newVerifier(t, w, limits.Signatures{})
	ctx, cancel := context.WithCancel(t.Context())
	s.answer("/blobs/", func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	if _, err := v.Signatures(ctx, s.client, s.ref); !errors.Is(err, context.Canceled) || pipeline.IsTerminal(err) {
		t.Errorf("got %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := v.Signatures(late, s.client, s.ref); err == nil || pipeline.IsTerminal(err) {
		t.Errorf("got %v", err)
	}
}

func TestAPanicIsTheFaultOfWhatWasRead(t *testing.T) {
	_, err := guarded(t.Context(), v1.Descriptor{}, func(context.Context, v1.Descriptor) (Attestation, error) { panic("parser") })
	if _, bad := errors.AsType[*invalidError](err); !bad {
		t.Errorf("got %v", err)
	}
}

func TestOnlyDigestsOfSHA256(t *testing.T) {
	w, s := newWorld(t), newStore(t, true)
	for _, digest := range []string{"sha512:" + strings.Repeat("0", 128), "sha256:short", ""} {
		_, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, s.repo.Digest(digest))
		if fault(err) != "Terminal "+pipeline.ReasonSignatureInvalid {
			t.Errorf("%q: got %v", digest, err)
		}
	}
	var none name.Digest
	if _, err := newVerifier(t, w, limits.Signatures{}).Signatures(t.Context(), s.client, none); err == nil {
		t.Error("got nothing")
	}
}
