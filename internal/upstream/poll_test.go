package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const absent = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestPoll(t *testing.T) {
	s := newServer(t)
	now := s.pushIndex(t, "base", "1", amd64)
	latest := s.pushIndex(t, "base", "latest", amd64)
	base := s.host + "/base"
	head := func(tag string) []string { return []string{"HEAD /v2/base/manifests/" + tag} }
	tests := map[string]struct {
		refresh      Refresh
		ref          string
		digest, name string
		err          string
		asked        []string
	}{
		"Always asks for the tag of a pinned reference": {refresh: Always, ref: base + ":1@" + absent, digest: now, name: base + ":1", asked: head("1")},
		"Always asks for a tag":                         {refresh: Always, ref: base + ":1", digest: now, name: base + ":1", asked: head("1")},
		"Always has nothing to ask about a digest":      {refresh: Always, ref: base + "@" + absent, digest: absent, name: base},
		"no tag means latest":                           {refresh: Always, ref: base, digest: latest, name: base + ":latest", asked: head("latest")},
		"IfUnpinned asks for a tag":                     {refresh: IfUnpinned, ref: base + ":1", digest: now, name: base + ":1", asked: head("1")},
		"IfUnpinned does not ask about what is pinned":  {refresh: IfUnpinned, ref: base + ":1@" + absent, digest: absent, name: base + ":1"},
		"Never does not ask about what is pinned":       {refresh: Never, ref: base + ":1@" + absent, digest: absent, name: base + ":1"},
		"Never refuses a tag without asking":            {refresh: Never, ref: base + ":1", err: "Terminal UpstreamUnpinned"},
		"a tag must exist":                              {refresh: Always, ref: base + ":none", err: "Terminal UpstreamNotFound", asked: head("none")},
		"a reference must be well-formed":               {refresh: Always, ref: base + ":1@sha256:12", err: "Terminal UpstreamInvalid"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s.heard()
			// A platform that the image does not have is for Resolve to find out.
			got, err := Resolver{s.client}.Poll(t.Context(), []Request{{Ref: tt.ref, Platforms: []pipeline.Platform{arm64}, Final: true}}, tt.refresh)
			if fault(err) != tt.err {
				t.Fatalf("got %v, want %s", err, tt.err)
			}
			if diff := cmp.Diff(tt.asked, s.heard()); diff != "" {
				t.Errorf("asked: %s", diff)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff([]pipeline.Upstream{{Ref: tt.ref, Name: tt.name, Digest: tt.digest}}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPollFindsWhatResolveFinds(t *testing.T) {
	s := newServer(t)
	s.pushIndex(t, "base", "1", amd64)
	pinned := s.pushIndex(t, "base", "latest", amd64)
	base := s.host + "/base"
	requests := []Request{{Ref: base + ":1"}, {Ref: base}, {Ref: base + ":latest"}, {Ref: base + ":1@" + pinned}, {Ref: base + "@" + pinned}, {Ref: base}}
	for _, refresh := range []Refresh{Always, IfUnpinned} {
		resolved, err := Resolver{s.client}.Resolve(t.Context(), requests, refresh)
		if err != nil {
			t.Fatal(err)
		}
		s.heard()
		polled, err := Resolver{s.client}.Poll(t.Context(), requests, refresh)
		if err != nil {
			t.Fatal(err)
		}
		for i := range resolved {
			resolved[i].Pull = ""
		}
		if diff := cmp.Diff(resolved, polled); diff != "" {
			t.Errorf("%s: %s", refresh, diff)
		}
		if diff := cmp.Diff([]string{"HEAD /v2/base/manifests/1", "HEAD /v2/base/manifests/latest"}, s.heard()); diff != "" {
			t.Errorf("%s asked: %s", refresh, diff)
		}
	}
}

func TestPollAsksMirrorsFirst(t *testing.T) {
	tests := map[string]struct {
		atMirror    bool
		mirrorFail  int
		atOwn       bool
		mirror, own int
		err         string
	}{
		"an image that the mirror has":         {atMirror: true, atOwn: true, mirror: 1},
		"an image that the mirror has not":     {atOwn: true, mirror: 1, own: 1},
		"a mirror that is throttled":           {atOwn: true, mirrorFail: http.StatusTooManyRequests, mirror: 1, own: 1},
		"a mirror that refuses is obeyed":      {atOwn: true, mirrorFail: http.StatusForbidden, mirror: 1, err: "Terminal RegistryDenied"},
		"a mirror that wants to know who asks": {atOwn: true, mirrorFail: http.StatusUnauthorized, mirror: 1, err: "Terminal RegistryUnauthorized"},
		"neither has it":                       {mirror: 1, own: 1, err: "Terminal UpstreamNotFound"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			own, mirror := newServer(t), newServer(t)
			c := client(t, registry.Mirror{Prefix: own.host, Endpoint: mirror.host + "/copy"})
			if tt.atMirror {
				mirror.pushIndex(t, "copy/x", "1", amd64)
			}
			if tt.atOwn {
				own.pushIndex(t, "x", "1", amd64)
			}
			mirror.fail = tt.mirrorFail
			mirror.heard()
			own.heard()
			_, err := Resolver{c}.Poll(t.Context(), []Request{{Ref: own.host + "/x:1"}}, Always)
			if fault(err) != tt.err {
				t.Fatalf("got %v, want %s", err, tt.err)
			}
			if err != nil && !strings.Contains(err.Error(), "the Dockerfile uses "+own.host+"/x:1") {
				t.Errorf("%q does not name the Dockerfile's word", err)
			}
			if a, b := len(mirror.heard()), len(own.heard()); a != tt.mirror || b != tt.own {
				t.Errorf("the mirror was asked %d times, the registry %d times", a, b)
			}
		})
	}
}

func TestPollReturnsTheTerminalError(t *testing.T) {
	up, down := newServer(t), newServer(t)
	down.fail = 503
	_, err := Resolver{up.client}.Poll(t.Context(), []Request{{Ref: down.host + "/x:1"}, {Ref: up.host + "/x:1"}, {Ref: up.host + "/x@" + absent}}, Always)
	if fault(err) != "Terminal UpstreamNotFound" {
		t.Errorf("got %v", err)
	}
}

// BenchmarkPoll shows what a poll of twenty images costs their registry.
func BenchmarkPoll(b *testing.B) {
	const images = 20
	s := newServer(b)
	digest := s.pushIndex(b, "base", "0", amd64)
	for i := 1; i < images; i++ {
		s.tag(b, "base", fmt.Sprint(i), digest)
	}
	run := func(refresh Refresh, poll func(context.Context, []Request, Refresh) ([]pipeline.Upstream, error)) func(*testing.B) {
		return func(b *testing.B) {
			var requests []Request
			for i := range images {
				ref := fmt.Sprintf("%s/base:%d", s.host, i)
				if i%2 == 0 {
					ref += "@" + digest
				}
				requests = append(requests, Request{Ref: ref}, Request{Ref: ref})
			}
			s.heard()
			for b.Loop() {
				if _, err := poll(b.Context(), requests, refresh); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(s.heard()))/float64(b.N), "requests/op")
		}
	}
	b.Run("every tag", run(Always, Resolver{s.client}.Poll))
	b.Run("half of them pinned", run(IfUnpinned, Resolver{s.client}.Poll))
	b.Run("by resolving", run(IfUnpinned, Resolver{s.client}.Resolve))
}
