package sign

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/digitorus/timestamp"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/static"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// What is in tags is what cosign's own library makes of the same values.
func TestLayersAreAsThoseOfCosign(t *testing.T) {
	b := newBench(t, true)
	b.options.TimestampURL = b.sigstore.Timestamp.URL
	s := b.session(t)
	if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
		t.Fatal(err)
	}
	if err := b.attest(t, s, someType, "1"); err != nil {
		t.Fatal(err)
	}
	c, err := s.credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for suffix, more := range map[string][]static.Option{
		".sig": nil,
		".att": {static.WithLayerMediaType("application/vnd.dsse.envelope.v1+json"), static.WithAnnotations(map[string]string{"predicateType": someType})},
	} {
		layers := b.layers(t, suffix)
		if len(layers) != 1 {
			t.Fatalf("%s has %d layers", suffix, len(layers))
		}
		got := layers[0].Annotations
		var logged bundle.RekorBundle
		var stamp bundle.RFC3161Timestamp
		if err := json.Unmarshal([]byte(got["dev.sigstore.cosign/bundle"]), &logged); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(got["dev.sigstore.cosign/rfc3161timestamp"]), &stamp); err != nil {
			t.Fatal(err)
		}
		options := append(more, static.WithCertChain([]byte(c.certificate), []byte(c.chain)), static.WithBundle(&logged), static.WithRFC3161Timestamp(&stamp))
		want, err := static.NewSignature([]byte("{}"), got["dev.cosignproject.cosign/signature"], options...)
		if err != nil {
			t.Fatal(err)
		}
		annotations, _ := want.Annotations()
		mediaType, _ := want.MediaType()
		if diff := cmp.Diff(annotations, got); diff != "" || layers[0].MediaType != mediaType {
			t.Errorf("%s: %s %s", suffix, layers[0].MediaType, diff)
		}
		if certificates, err := want.Chain(); err != nil || len(certificates) != 2 || (suffix == ".att") != (got["dev.cosignproject.cosign/signature"] == "") {
			t.Errorf("%s: a chain of %d, %v", suffix, len(certificates), err)
		}
	}
}

func TestBundlesSayWhatTheyAre(t *testing.T) {
	b := newBench(t, true)
	s := b.session(t)
	if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
		t.Fatal(err)
	}
	if err := b.attest(t, s, someType, "1"); err != nil {
		t.Fatal(err)
	}
	listed, _, err := b.client.Referrers(t.Context(), b.ref, 10)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, d := range listed {
		m, err := b.client.Manifest(t.Context(), b.ref.Context().Digest(d.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		found, err := v1.ParseManifest(bytes.NewReader(m.Raw))
		if err != nil || found.ArtifactType != bundleType || found.Annotations["dev.sigstore.bundle.content"] != "dsse-envelope" {
			t.Errorf("got %s, %v", m.Raw, err)
		}
		keys := slices.Sorted(maps.Keys(found.Annotations))
		if !slices.Equal(keys, []string{"dev.sigstore.bundle.content", "dev.sigstore.bundle.predicateType", "org.opencontainers.image.created"}) {
			t.Errorf("the annotations are %v", keys)
		}
		types = append(types, found.Annotations["dev.sigstore.bundle.predicateType"])
	}
	slices.Sort(types)
	if diff := cmp.Diff([]string{someType, pipeline.PredicateSignature}, types); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsSigned(t *testing.T) {
	b := newBench(t, true)
	simple, err := simpleSigning(b.ref)
	want := `{"critical":{"identity":{"docker-reference":"HOST/base/x"},"image":{"docker-manifest-digest":"DIGEST"},"type":"cosign container image signature"},"optional":null}`
	want = strings.NewReplacer("HOST", b.host, "DIGEST", b.ref.DigestStr()).Replace(want)
	if string(simple) != want || err != nil {
		t.Errorf("got %s, %v", simple, err)
	}
	st, err := signatureStatement(b.ref)
	want = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"HEX"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
	want = strings.Replace(want, "HEX", strings.TrimPrefix(b.ref.DigestStr(), "sha256:"), 1)
	if string(st) != want || err != nil {
		t.Errorf("got %s, %v", st, err)
	}
}

// Some verifiers know only who has certified the timestamp authority.
func TestTimestampsBringTheirCertificate(t *testing.T) {
	b := newBench(t, true)
	b.options.TimestampURL = b.sigstore.Timestamp.URL
	if err := b.session(t).Sign(t.Context(), b.client, b.ref); err != nil {
		t.Fatal(err)
	}
	for _, body := range b.sigstore.Timestamp.Bodies() {
		if r, err := timestamp.ParseRequest(body); err != nil || !r.Certificates {
			t.Errorf("got %+v, %v", r, err)
		}
	}
}
