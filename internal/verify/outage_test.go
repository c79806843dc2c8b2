package verify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// replaced answers with as many bytes as cosign's payload has in these tests.
func replaced(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(make([]byte, len(newForge(nil, otherDigest).simplePayload())))
}

func TestAnOutageIsNeverAVerdict(t *testing.T) {
	w := newWorld()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	const away = "Transient " + pipeline.ReasonRegistryUnavailable
	tests := map[string]struct {
		part   string
		answer http.HandlerFunc
		want   string
	}{
		"the tag fails":              {".sig", status(500), away},
		"the tag breaks off":         {".sig", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, away},
		"the tag is throttled":       {".sig", status(429), "Transient " + pipeline.ReasonRegistryThrottled},
		"the tag wants a login":      {".sig", status(401), "Terminal " + pipeline.ReasonRegistryUnauthorized},
		"the tag is denied":          {".sig", status(403), "Terminal " + pipeline.ReasonRegistryDenied},
		"the tag is refused":         {".sig", status(400), "Terminal " + pipeline.ReasonRegistryRejected},
		"the tag does not come":      {".sig", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "Transient " + pipeline.ReasonRegistryTimeout},
		"the referrers fail":         {"/referrers/", status(503), away},
		"the referrers want a login": {"/referrers/", status(401), "Terminal " + pipeline.ReasonRegistryUnauthorized},
		"the referrers do not come":  {"/referrers/", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "Transient " + pipeline.ReasonRegistryTimeout},
		"blobs fail":                 {"/blobs/", status(500), away},
		"blobs are denied":           {"/blobs/", status(403), "Terminal " + pipeline.ReasonRegistryDenied},
		"blobs have another digest":  {"/blobs/", replaced, "Transient " + pipeline.ReasonDigestMismatch},
		"blobs are where nobody goes": {"/blobs/", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
		}, "Terminal " + pipeline.ReasonRegistryAddress},
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
	w, s := newWorld(), newStore(t, true)
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
	w, s := newWorld(), newStore(t, true)
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
