package upstream

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

func TestRefresh(t *testing.T) {
	s := newServer(t)
	old := s.pushIndex(t, "base", "1", amd64, arm64)
	now := s.pushIndex(t, "base", "1", amd64, arm64)
	latest := s.pushIndex(t, "base", "latest", amd64, arm64)
	base := s.host + "/base"
	tests := map[string]struct {
		refresh    Refresh
		ref        string
		want, name string // digest and name, or
		err        string // the error
	}{
		"Always moves a pinned tag":                      {Always, base + ":1@" + old, now, base + ":1", ""},
		"Always pins a tag":                              {Always, base + ":1", now, base + ":1", ""},
		"Always leaves a digest alone":                   {Always, base + "@" + old, old, base, ""},
		"no tag means latest":                            {Always, base, latest, base + ":latest", ""},
		"IfUnpinned leaves a pinned tag alone":           {IfUnpinned, base + ":1@" + old, old, base + ":1", ""},
		"IfUnpinned pins a tag":                          {IfUnpinned, base + ":1", now, base + ":1", ""},
		"Never leaves a pinned tag alone":                {Never, base + ":1@" + old, old, base + ":1", ""},
		"Never leaves a digest alone":                    {Never, base + "@" + old, old, base, ""},
		"Never refuses a tag":                            {Never, base + ":1", "", "", "Terminal UpstreamUnpinned"},
		"Never refuses no tag":                           {Never, base, "", "", "Terminal UpstreamUnpinned"},
		"a digest must exist":                            {Never, base + "@" + absent, "", "", "Terminal UpstreamNotFound"},
		"a tag must exist":                               {Always, base + ":none", "", "", "Terminal UpstreamNotFound"},
		"Always needs the tag even if the digest exists": {Always, base + ":none@" + old, "", "", "Terminal UpstreamNotFound"},
		"a reference must be well-formed":                {Always, base + ":1@sha256:12", "", "", "Terminal UpstreamInvalid"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got, err := Resolver{s.client}.Resolve(t.Context(), []Request{{Ref: tt.ref, Platforms: []pipeline.Platform{amd64, arm64}}}, tt.refresh)
			if fault(err) != tt.err {
				t.Fatalf("got %v, want %s", err, tt.err)
			}
			if err != nil {
				return
			}
			want := []pipeline.Upstream{{Ref: tt.ref, Name: tt.name, Digest: tt.want, Pull: base + "@" + tt.want}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlatforms(t *testing.T) {
	s := newServer(t)
	s.pushIndex(t, "both", "1", amd64, arm64, pipeline.Platform{OS: "unknown", Architecture: "unknown"})
	s.pushIndex(t, "amd", "1", amd64)
	s.pushImage(t, "single", "1", amd64)
	tests := map[string]struct {
		repo      string
		platforms []pipeline.Platform
		final     bool
		want      string
	}{
		"an index with all platforms":                             {repo: "both", platforms: []pipeline.Platform{amd64, arm64}, final: true},
		"an index without one":                                    {repo: "amd", platforms: []pipeline.Platform{amd64, arm64}, want: "arm64"},
		"an index without one that is not needed":                 {repo: "amd", platforms: []pipeline.Platform{amd64}},
		"nothing is needed":                                       {repo: "amd"},
		"a single image that fits the final stage":                {repo: "single", platforms: []pipeline.Platform{amd64}, final: true},
		"a single image that does not fit the final stage":        {repo: "single", platforms: []pipeline.Platform{amd64, arm64}, final: true, want: "arm64"},
		"a single image in another stage may be for any platform": {repo: "single", platforms: []pipeline.Platform{amd64, arm64}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			ref := s.host + "/" + tt.repo + ":1"
			_, err := Resolver{s.client}.Resolve(t.Context(), []Request{{Ref: ref, Platforms: tt.platforms, Final: tt.final}}, Always)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault(err) != "Terminal UpstreamMissingPlatform" {
				t.Fatalf("got %v", err)
			}
			for _, part := range []string{ref, tt.want, "it has linux/amd64", "spec.platforms"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not name %q", err, part)
				}
			}
		})
	}
}

func TestEveryImageIsReadOnce(t *testing.T) {
	s := newServer(t)
	one, two := s.pushIndex(t, "one", "latest", amd64, arm64), s.pushIndex(t, "two", "1", amd64, arm64)
	bare, full := s.host+"/one", s.host+"/one:latest"
	got, err := Resolver{s.client}.Resolve(t.Context(), []Request{
		{Ref: s.host + "/two:1", Platforms: []pipeline.Platform{amd64}},
		{Ref: bare, Platforms: []pipeline.Platform{amd64}},
		{Ref: full},
		{Ref: bare, Platforms: []pipeline.Platform{arm64}, Final: true},
	}, Always)
	if err != nil {
		t.Fatal(err)
	}
	want := []pipeline.Upstream{
		{Ref: s.host + "/two:1", Name: s.host + "/two:1", Digest: two, Pull: s.host + "/two@" + two},
		{Ref: bare, Name: full, Digest: one, Pull: bare + "@" + one},
		{Ref: full, Name: full, Digest: one, Pull: bare + "@" + one},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"/v2/two/manifests/1": 1, "/v2/one/manifests/latest": 1}, s.manifest); diff != "" {
		t.Error(diff)
	}
}

func TestJoinedPlatformsAreAllChecked(t *testing.T) {
	s := newServer(t)
	s.pushIndex(t, "amd", "1", amd64)
	ref := s.host + "/amd:1"
	_, err := Resolver{s.client}.Resolve(t.Context(), []Request{
		{Ref: ref, Platforms: []pipeline.Platform{amd64}}, {Ref: ref, Platforms: []pipeline.Platform{arm64}},
	}, Always)
	if fault(err) != "Terminal UpstreamMissingPlatform" {
		t.Errorf("got %v", err)
	}
}

func TestOnlyFinalUsesAskASingleImageForTheirPlatforms(t *testing.T) {
	s := newServer(t)
	s.pushImage(t, "single", "1", amd64)
	ref := s.host + "/single:1"
	for final, want := range map[pipeline.Platform]string{amd64: "", arm64: "Terminal UpstreamMissingPlatform"} {
		_, err := Resolver{s.client}.Resolve(t.Context(), []Request{
			{Ref: ref, Platforms: []pipeline.Platform{arm64}}, {Ref: ref, Platforms: []pipeline.Platform{final}, Final: true},
		}, Always)
		if fault(err) != want {
			t.Errorf("%s: %v", final, err)
		}
	}
}

func TestUnpinnedImagesAreRefusedBeforeAnyRequest(t *testing.T) {
	s := newServer(t)
	_, err := Resolver{s.client}.Resolve(t.Context(), []Request{{Ref: s.host + "/x"}}, Never)
	if fault(err) != "Terminal UpstreamUnpinned" || !strings.Contains(err.Error(), "spec.upstream.refresh") {
		t.Errorf("got %v", err)
	}
	if len(s.manifest) != 0 {
		t.Errorf("asked for %v", s.manifest)
	}
}

func TestMirrors(t *testing.T) {
	const denied = http.StatusForbidden
	tests := map[string]struct {
		atMirror   bool
		atOwn      bool
		mirrorFail int
		ownFail    int
		from       string // mirror or own, or
		err        string
	}{
		"the mirror is asked first":                         {atMirror: true, atOwn: true, from: "mirror"},
		"an image that only the mirror has":                 {atMirror: true, from: "mirror"},
		"an image that the mirror does not have":            {atOwn: true, from: "own"},
		"a mirror that is down":                             {atOwn: true, mirrorFail: 503, from: "own"},
		"a mirror that refuses is obeyed":                   {atOwn: true, mirrorFail: denied, err: "Terminal RegistryDenied"},
		"neither has it":                                    {err: "Terminal UpstreamNotFound"},
		"the mirror is down and the registry has it not":    {mirrorFail: 503, err: "Transient RegistryUnavailable"},
		"the mirror has it not and the registry is down":    {ownFail: 503, err: "Transient RegistryUnavailable"},
		"the mirror has it not and the registry refuses it": {ownFail: denied, err: "Terminal RegistryDenied"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			own, mirror := newServer(t), newServer(t)
			c := client(t, registry.Mirror{Prefix: own.host, Endpoint: mirror.host + "/copy"})
			where := map[string]string{}
			if tt.atMirror {
				where["mirror"] = mirror.host + "/copy/x@" + mirror.pushIndex(t, "copy/x", "1", amd64)
			}
			if tt.atOwn {
				where["own"] = own.host + "/x@" + own.pushIndex(t, "x", "1", amd64)
			}
			mirror.fail, own.fail = tt.mirrorFail, tt.ownFail
			got, err := Resolver{c}.Resolve(t.Context(), []Request{{Ref: own.host + "/x:1"}}, Always)
			if fault(err) != tt.err {
				t.Fatalf("got %v, want %s", err, tt.err)
			}
			if err == nil {
				want := pipeline.Upstream{Ref: own.host + "/x:1", Name: own.host + "/x:1", Digest: got[0].Digest, Pull: where[tt.from]}
				if got[0] != want {
					t.Errorf("got %+v, want %+v", got[0], want)
				}
			} else if tt.mirrorFail != denied {
				namesBoth(t, err, own.host, mirror.host)
			}
		})
	}
}

func namesBoth(t *testing.T, err error, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		if !strings.Contains(err.Error(), host) {
			t.Errorf("%q does not name %s", err, host)
		}
	}
	if f, ok := errors.AsType[*pipeline.Transient](err); ok && f.After != 17*time.Second {
		t.Errorf("After = %s", f.After)
	}
}

func TestATerminalErrorComesFirst(t *testing.T) {
	up, down := newServer(t), newServer(t)
	down.fail = 503
	_, err := Resolver{up.client}.Resolve(t.Context(), []Request{{Ref: down.host + "/x:1"}, {Ref: up.host + "/x:1"}}, Always)
	if fault(err) != "Terminal UpstreamNotFound" {
		t.Errorf("got %v", err)
	}
}
