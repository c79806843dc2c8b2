package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// fault is the type and reason of an error.
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

// afterPing answers the ping of go-containerregistry and leaves the rest to h.
func afterPing(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			h(w, r)
		}
	})
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	chunk := []byte(strings.Repeat(" ", 64<<10))
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

func TestHostileManifests(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		ref    string
		want   string
	}{
		"an endless manifest is cut off": {answer: endless, ref: "x:1", want: "Terminal ImageTooLarge"},
		"bytes with another digest are refused": {
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"manifests":[]}`) },
			ref:    "x@" + someDigest, want: "Transient DigestMismatch",
		},
		"an image that is an index too is refused": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, `{"manifests":[],"config":{},"layers":[]}`)
			},
			ref: "x:1", want: "Terminal ImageInvalid",
		},
		"an index that is an image too is refused": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				_, _ = io.WriteString(w, `{"manifests":[],"config":{},"layers":[]}`)
			},
			ref: "x:1", want: "Terminal ImageInvalid",
		},
		"a media type that the content denies is refused": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				_, _ = io.WriteString(w, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`)
			},
			ref: "x:1", want: "Terminal ImageInvalid",
		},
		"a web page is refused": {
			answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
			ref:    "x:1", want: "Terminal ImageInvalid",
		},
		"a redirect to the metadata service is refused": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://169.254.169.254/latest/", http.StatusTemporaryRedirect)
			},
			ref: "x:1", want: "Terminal RegistryAddressNotAllowed",
		},
		"a redirect in a circle ends": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			},
			ref: "x:1", want: "Terminal RegistryAddressNotAllowed",
		},
		"a manifest that drips is given up at the deadline": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(w, "{")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
			ref: "x:1", want: "Transient RegistryTimeout",
		},
		"a connection that breaks is transient": {
			answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			ref:    "x:1", want: "Transient RegistryUnavailable",
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			host := serve(t, afterPing(tt.answer))
			c := testClient(t, Config{Limits: limits.Registry{ManifestBytes: 1 << 20, RequestTimeout: limits.Duration(500 * time.Millisecond)}})
			_, err := c.Manifest(t.Context(), parse(t, c, host+"/"+tt.ref))
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestAnEndlessPingIsCutOff(t *testing.T) {
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			endless(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	c := testClient(t, Config{Limits: limits.Registry{ManifestBytes: 1 << 20, RequestTimeout: limits.Duration(time.Minute)}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.Manifest(ctx, parse(t, c, host+"/x:1"))
	if got := fault(err); got != "Terminal ImageNotFound" {
		t.Errorf("got %v", err)
	}
}
