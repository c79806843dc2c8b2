package verify

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/ibshafique/base-images/internal/limits"
)

// Each of the layers beside the good one is bad by itself.
func TestTheGoodIsFoundAmongHostileLayers(t *testing.T) {
	w := newWorld()
	s := newStore(t, true)
	good := newForge(w, s.ref.DigestStr()).simple()
	endless := static.NewLayer([]byte("endless"), "x/y")
	padded := newForge(w, s.ref.DigestStr())
	padded.statement = string(padded.simplePayload()) + strings.Repeat(" ", payloadBytes)
	gone := static.NewLayer([]byte("gone"), "x/y")
	with := func(layer v1.Layer, change func(map[string]string)) mutate.Addendum {
		a := mutate.Addendum{Layer: layer, Annotations: good.signatureLayer().Annotations}
		if change != nil {
			change(a.Annotations)
		}
		return a
	}
	payload := good.signatureLayer().Layer
	layers := []mutate.Addendum{good.signatureLayer(),
		with(endless, nil), with(gone, nil), padded.simple().signatureLayer(),
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
