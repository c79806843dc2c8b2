package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

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
			ref: "x:1", want: "Transient RegistryUnavailable",
		},
		"a connection that breaks is transient": {
			answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			ref:    "x:1", want: "Transient RegistryUnavailable",
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			host := serve(t, afterPing(tt.answer))
			c := testClient(t, Config{Limits: Limits{ManifestBytes: 1 << 20, RequestTimeout: 500 * time.Millisecond}})
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
	c := testClient(t, Config{Limits: Limits{ManifestBytes: 1 << 20, RequestTimeout: time.Minute}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.Manifest(ctx, parse(t, c, host+"/x:1"))
	if got := fault(err); got != "Terminal ImageNotFound" {
		t.Errorf("got %v", err)
	}
}

func TestThrottling(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		status   int
		header   string
		after    time.Duration
		requests int32
	}{
		"429 with seconds is not retried here":    {429, "17", 17 * time.Second, 1},
		"429 with a date is not retried here":     {429, now.Add(time.Minute).Format(http.TimeFormat), time.Minute, 1},
		"503 with seconds is not retried here":    {503, "5", 5 * time.Second, 1},
		"a pause of a day is cut to an hour":      {429, "86400", time.Hour, 1},
		"429 without a time is tried three times": {429, "", 0, 3},
		"a time in the past does not count":       {429, "-3", 0, 3},
		"502 is tried three times":                {502, "60", 0, 3},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var requests atomic.Int32
			host := serve(t, afterPing(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Retry-After", tt.header)
				w.WriteHeader(tt.status)
			}))
			c := testClient(t, Config{})
			resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.header}}}
			if got := (&answers{now: func() time.Time { return now }}).retryAfter(resp); max(got, 0) != tt.after {
				t.Errorf("retryAfter = %s", got)
			}
			_, err := c.Manifest(t.Context(), parse(t, c, host+"/x:1"))
			f, ok := errors.AsType[*pipeline.Transient](err)
			if !ok || f.Reason != pipeline.ReasonRegistryUnavailable {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(tt.header, "GMT") && (f.After != tt.after || requests.Load() != tt.requests) {
				t.Errorf("After %s, %d requests", f.After, requests.Load())
			}
		})
	}
}

// tokenRegistry asks for a token at realm, and serves one itself at /token.
func tokenRegistry(realm func(host string) string, asked *[]string) http.Handler {
	store := inMemory()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			*asked = append(*asked, r.Host+" "+r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, `{"token":"abc"}`)
		case r.Header.Get("Authorization") != "Bearer abc":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="x"`, realm(r.Host)))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			store.ServeHTTP(w, r)
		}
	})
}

func TestTokenService(t *testing.T) {
	tests := map[string]struct {
		realmHost string
		user      bool
		allowed   []TokenHost
		want      string
		asked     string // prefix of what the token service sees
	}{
		"at the registry itself gets the credentials":                {realmHost: "example.com", user: true, asked: "example.com:PORT Basic "},
		"on another host does not get the credentials":               {realmHost: "evil.example.com", user: true, want: "Terminal RegistryAddressNotAllowed"},
		"on another host that is listed gets them":                   {realmHost: "auth.example.com", user: true, allowed: []TokenHost{{Registry: "example.com:PORT", Host: "auth.example.com"}}, asked: "auth.example.com:PORT Basic "},
		"on a host that is listed for another registry gets nothing": {realmHost: "auth.example.com", user: true, allowed: []TokenHost{{Registry: "other.example:PORT", Host: "auth.example.com"}}, want: "Terminal RegistryAddressNotAllowed"},
		"on another host may be asked without credentials":           {realmHost: "auth.example.com", asked: "auth.example.com:PORT "},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var asked []string
			var port string
			port, ca := serveTLS(t, tokenRegistry(func(string) string { return "https://" + tt.realmHost + ":" + port + "/token" }, &asked))
			for i := range tt.allowed {
				tt.allowed[i].Registry = strings.ReplaceAll(tt.allowed[i].Registry, "PORT", port)
			}
			c := testClient(t, Config{CABundle: ca, TokenHosts: tt.allowed})
			resolving(c, "127.0.0.1")
			if tt.user {
				c = c.With(user("example.com:" + port))
			}
			img := randomImage(t)
			repo, err := c.Repository("example.com:" + port + "/x")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.PushImage(t.Context(), repo, img)
			if got := fault(err); got != tt.want {
				t.Fatalf("got %s: %v, want %s", got, err, tt.want)
			}
			if tt.want != "" && len(asked) > 0 || tt.want == "" && (len(asked) == 0 || !strings.HasPrefix(asked[0], strings.ReplaceAll(tt.asked, "PORT", port))) {
				t.Errorf("the token service saw %q", asked)
			}
		})
	}
}

func TestOneCancelledLoginDoesNotSpeakForOthers(t *testing.T) {
	c := testClient(t, Config{})
	err := c.classify(t.Context(), "reading", fmt.Errorf("login: %w", context.Canceled))
	if fault(err) != "Transient RegistryUnavailable" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.classify(ctx, "reading", context.Canceled); fault(err) != "plain" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestImageLimits(t *testing.T) {
	tests := map[string]struct {
		limits Limits
		want   string
	}{
		"an image within the limits opens":               {},
		"a config over the limit is not read":            {limits: Limits{ManifestBytes: 10}, want: "Terminal ImageTooLarge"},
		"too many layers are refused":                    {limits: Limits{Layers: 1}, want: "Terminal ImageTooLarge"},
		"layers that are too large together are refused": {limits: Limits{ImageBytes: 70}, want: "Terminal ImageTooLarge"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			repo, _ := c.Repository(serve(t, inMemory()) + "/x")
			ref, err := c.PushImage(t.Context(), repo, randomImage(t))
			if err != nil {
				t.Fatal(err)
			}
			limited := testClient(t, Config{Limits: tt.limits})
			_, err = limited.Image(t.Context(), ref)
			if got := fault(err); got != tt.want {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}

func TestHead(t *testing.T) {
	store := inMemory()
	strip := ""
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || strip == "" {
			store.ServeHTTP(w, r)
			return
		}
		if strip == "lie" && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Docker-Content-Digest", someDigest)
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		}
	}))
	c := testClient(t, Config{})
	repo, _ := c.Repository(host + "/x")
	ref, err := c.PushImage(t.Context(), repo, randomImage(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, strip = range []string{"", "headers"} {
		desc, err := c.Head(t.Context(), ref)
		if err != nil || desc.Digest.String() != ref.DigestStr() {
			t.Errorf("strip %q: %v, %v", strip, desc.Digest, err)
		}
	}
	strip = "lie"
	if _, err := c.Head(t.Context(), ref); fault(err) != "Transient DigestMismatch" {
		t.Errorf("got %v", err)
	}
	strip = ""
	if _, err := c.Head(t.Context(), repo.Tag("none")); fault(err) != "Terminal ImageNotFound" {
		t.Errorf("got %v", err)
	}
}

func TestIndexAndImageAreNotConfused(t *testing.T) {
	c := testClient(t, Config{})
	repo, _ := c.Repository(serve(t, inMemory()) + "/x")
	ref, err := c.PushImage(t.Context(), repo, randomImage(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Index(t.Context(), ref); fault(err) != "Terminal ImageInvalid" {
		t.Errorf("got %v", err)
	}
	if err := c.Tag(t.Context(), repo.Tag("1"), must(c.Manifest(t.Context(), ref))); err != nil {
		t.Fatal(err)
	}
	m, err := c.Manifest(t.Context(), name.Reference(repo.Tag("1")))
	if err != nil || m.Digest.String() != ref.DigestStr() {
		t.Errorf("got %v, %v", m.Digest, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
