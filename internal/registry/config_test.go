package registry

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestNewRefusesWhatIsWrong(t *testing.T) {
	good := Mirror{Prefix: "docker.io", Endpoint: "registry.example/hub"}
	tests := map[string]struct {
		cfg  Config
		says string
	}{
		"a CA bundle without PEM":                    {Config{CABundle: []byte("hello")}, "registries.caBundle"},
		"a CA bundle with something else":            {Config{CABundle: []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")}, "registries.caBundle: block 0"},
		"a mirror without prefix":                    {Config{Mirrors: []Mirror{good, {Endpoint: "registry.example"}}}, "registries.mirrors[1].prefix"},
		"a mirror whose prefix has no host":          {Config{Mirrors: []Mirror{{Prefix: "library/alpine", Endpoint: "registry.example"}}}, "registries.mirrors[0].prefix"},
		"a mirror whose endpoint is a URL":           {Config{Mirrors: []Mirror{good, {Prefix: "ghcr.io", Endpoint: "https://registry.example"}}}, "registries.mirrors[1].endpoint"},
		"a mirror whose endpoint has capitals":       {Config{Mirrors: []Mirror{{Prefix: "ghcr.io", Endpoint: "registry.example/Hub"}}}, "registries.mirrors[0].endpoint"},
		"a mirror that ends in a slash":              {Config{Mirrors: []Mirror{{Prefix: "ghcr.io/", Endpoint: "registry.example"}}}, "registries.mirrors[0].prefix"},
		"a prefix that is listed twice":              {Config{Mirrors: []Mirror{good, good}}, "registries.mirrors[1].prefix"},
		"a prefix that is listed under another name": {Config{Mirrors: []Mirror{good, {Prefix: "index.docker.io", Endpoint: "registry.example"}}}, "registries.mirrors[1].prefix"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.HasPrefix(err.Error(), tt.says) {
				t.Errorf("got %v, want %s…", err, tt.says)
			}
		})
	}
}

func TestCABundleIsTrusted(t *testing.T) {
	port, ca := serveTLS(t, inMemory())
	for desc, tt := range map[string]struct {
		bundle []byte
		want   string
	}{
		"with its authority the registry is reached": {ca, "Terminal ImageNotFound"},
		"without it the registry is not trusted":     {nil, "Transient RegistryUnavailable"},
	} {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{CABundle: tt.bundle})
			resolving(c)
			_, err := c.Manifest(t.Context(), parse(t, c, "example.com:"+port+"/x:1"))
			if got := fault(err); got != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTransportSettings(t *testing.T) {
	c := testClient(t, Config{})
	tr := c.limiter().next.(*http.Transport)
	if tr.Proxy != nil {
		t.Error("a proxy would defeat the check of addresses")
	}
	if tr.ResponseHeaderTimeout == 0 || tr.IdleConnTimeout == 0 || tr.MaxIdleConns == 0 {
		t.Error("a timeout is missing")
	}
}

func TestLimitsHaveDefaults(t *testing.T) {
	want := limits.Registry{Layers: 7}.WithDefaults()
	if diff := cmp.Diff(want, testClient(t, Config{Limits: limits.Registry{Layers: 7}}).Limits()); diff != "" {
		t.Error(diff)
	}
}

func TestPulls(t *testing.T) {
	c := testClient(t, Config{Mirrors: []Mirror{
		{Prefix: "docker.io", Endpoint: "registry.example:5000/mirror/docker.io"},
		{Prefix: "docker.io/library", Endpoint: "official.example"},
		{Prefix: "ghcr.io/org", Endpoint: "registry.example:5000/org"},
		{Prefix: "quay.io/org/tool", Endpoint: "registry.example:5000/tool"},
	}})
	const hub = "registry.example:5000/mirror/docker.io"
	tests := map[string]struct {
		ref  string
		want []string
	}{
		"a short name has two mirrors, the longer prefix first": {"alpine", []string{"official.example/alpine:latest", hub + "/library/alpine:latest", "docker.io/library/alpine:latest"}},
		"a digest stays":                        {"bitnami/redis@" + someDigest, []string{hub + "/bitnami/redis@" + someDigest, "docker.io/bitnami/redis@" + someDigest}},
		"a tag beside a digest is dropped":      {"bitnami/redis:7@" + someDigest, []string{hub + "/bitnami/redis@" + someDigest, "docker.io/bitnami/redis@" + someDigest}},
		"only whole segments match":             {"ghcr.io/org-evil/x:1", []string{"ghcr.io/org-evil/x:1"}},
		"a path prefix matches below it":        {"ghcr.io/org/x:1", []string{"registry.example:5000/org/x:1", "ghcr.io/org/x:1"}},
		"a prefix may be the whole image":       {"quay.io/org/tool:1", []string{"registry.example:5000/tool:1", "quay.io/org/tool:1"}},
		"another host with the same beginning":  {"docker.io.evil.example/x:1", []string{"docker.io.evil.example/x:1"}},
		"a registry without mirror has no more": {"gcr.io/x/y:1", []string{"gcr.io/x/y:1"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var got []string
			for _, r := range c.Pulls(parse(t, c, tt.ref)) {
				got = append(got, Name(r))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if !c.guard.policy.privateHosts.has("registry.example", "5000") {
		t.Error("a mirror's host may not have a private address")
	}
}

func TestParseRefusesMalformedReferences(t *testing.T) {
	c := testClient(t, Config{})
	for _, ref := range []string{"", "UPPER/case", "a b", "x@sha256:1", "x:" + strings.Repeat("t", 200)} {
		if _, err := c.Parse(ref); fault(err) != "Terminal UpstreamInvalid" {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := c.Repository("x y"); fault(err) != "Terminal OutputInvalid" {
		t.Errorf("got %v", err)
	}
}

func TestKeychainFromDockerConfig(t *testing.T) {
	auth := func(user string) string { return base64.StdEncoding.EncodeToString([]byte(user + ":p")) }
	chain, err := KeychainFromDockerConfig([]byte(`{"auths": {
		"https://index.docker.io/v1/": {"auth": "` + auth("hub") + `"},
		"ghcr.io": {"username": "host", "password": "p"},
		"ghcr.io/org": {"username": "org", "password": "p"},
		"ghcr.io/org/team": {"username": "team", "password": "p"},
		"Registry.Example:5000": {"identitytoken": "it"}
	}, "credsStore": "ignored"}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ repo, want string }{
		"Docker Hub by its short name":      {"alpine", "hub"},
		"Docker Hub by its full name":       {"docker.io/library/alpine", "hub"},
		"a host":                            {"ghcr.io/other/x", "host"},
		"a path, by whole segments":         {"ghcr.io/organisation/x", "host"},
		"the longest path":                  {"ghcr.io/org/team/x", "team"},
		"a shorter path":                    {"ghcr.io/org/x", "org"},
		"a subdomain gets nothing":          {"sub.ghcr.io/org/x", ""},
		"a longer host gets nothing":        {"ghcr.io.evil.example/org/x", ""},
		"another port gets nothing":         {"ghcr.io:8443/org/x", ""},
		"a host with port and capitals":     {"registry.example:5000/x", "token it"},
		"the same host without port is not": {"registry.example/x", ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			repo, err := name.NewRepository(tt.repo)
			if err != nil {
				t.Fatal(err)
			}
			got := must(must(chain.Resolve(repo)).Authorization())
			said := got.Username
			if got.IdentityToken != "" {
				said = "token " + got.IdentityToken
			}
			if said != tt.want {
				t.Errorf("got %q, want %q", said, tt.want)
			}
		})
	}
}

func TestKeychainErrorsShowNothing(t *testing.T) {
	for desc, content := range map[string]string{
		"not JSON":                 "hunter2",
		"JSON of another form":     `{"auths": "hunter2"}`,
		"an entry of another form": `{"auths": {"hunter2.example": "hunter2"}}`,
		"auth without a colon":     `{"auths": {"ghcr.io": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("hunter2")) + `"}}}`,
		"auth that is not base64":  `{"auths": {"ghcr.io": {"auth": "hunter2!"}}}`,
		"empty":                    "",
	} {
		t.Run(desc, func(t *testing.T) {
			_, err := KeychainFromDockerConfig([]byte(content))
			f, ok := errors.AsType[*pipeline.Terminal](err)
			if !ok || f.Reason != pipeline.ReasonRegistryCredentials || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}
