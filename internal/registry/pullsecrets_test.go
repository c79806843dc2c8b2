package registry

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func pullSecret(t *testing.T, keyAndUser ...string) PullSecret {
	t.Helper()
	var entries []string
	for i := 0; i < len(keyAndUser); i += 2 {
		entries = append(entries, fmt.Sprintf(`%q:{"username":%q,"password":"p"}`, keyAndUser[i], keyAndUser[i+1]))
	}
	s, err := ParsePullSecret(TypeDockerConfigJSON, []byte(`{"auths":{`+strings.Join(entries, ",")+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFromPullSecrets(t *testing.T) {
	tests := map[string]struct {
		secrets    []PullSecret
		repo, want string
	}{
		"without secrets there are no credentials":     {nil, "ghcr.io/org/x", ""},
		"the longest path of one secret wins":          {[]PullSecret{pullSecret(t, "ghcr.io", "host", "ghcr.io/org", "org")}, "ghcr.io/org/x", "org"},
		"the longest path of all secrets wins":         {[]PullSecret{pullSecret(t, "ghcr.io", "host"), pullSecret(t, "ghcr.io/org", "org")}, "ghcr.io/org/x", "org"},
		"of the same key the earlier secret wins":      {[]PullSecret{pullSecret(t, "ghcr.io", "first"), pullSecret(t, "ghcr.io", "second")}, "ghcr.io/org/x", "first"},
		"spellings of a host are the same key":         {[]PullSecret{pullSecret(t, "https://index.docker.io/v1/", "first"), pullSecret(t, "docker.io", "second")}, "alpine", "first"},
		"a path goes by whole segments":                {[]PullSecret{pullSecret(t, "ghcr.io/org", "org")}, "ghcr.io/organisation/x", ""},
		"a pattern covers one part of a host":          {[]PullSecret{pullSecret(t, "*.example.com", "star")}, "eu.example.com/x", "star"},
		"a pattern covers some of a part":              {[]PullSecret{pullSecret(t, "eu-*.example.com", "star")}, "eu-1.example.com/x", "star"},
		"a pattern covers no dot":                      {[]PullSecret{pullSecret(t, "*.example.com", "star")}, "a.b.example.com/x", ""},
		"a pattern is anchored at its end":             {[]PullSecret{pullSecret(t, "*.example.com", "star")}, "eu.example.com.evil.example/x", ""},
		"a pattern needs its part":                     {[]PullSecret{pullSecret(t, "*.example.com", "star")}, "example.com/x", ""},
		"a pattern covers no port":                     {[]PullSecret{pullSecret(t, "*.example.com", "star")}, "eu.example.com:5000/x", ""},
		"a pattern may have a port":                    {[]PullSecret{pullSecret(t, "*.example.com:5000", "star")}, "eu.example.com:5000/x", "star"},
		"a host comes before a pattern":                {[]PullSecret{pullSecret(t, "*.example.com/org", "star"), pullSecret(t, "eu.example.com", "host")}, "eu.example.com/org/x", "host"},
		"an entry without credentials hides none":      {[]PullSecret{must(ParsePullSecret(TypeDockerConfigJSON, []byte(`{"auths":{"ghcr.io/org":{}}}`))), pullSecret(t, "ghcr.io", "host")}, "ghcr.io/org/x", "host"},
		"an old secret has the hosts at the top":       {[]PullSecret{must(ParsePullSecret(TypeDockercfg, []byte(`{"ghcr.io":{"username":"old","password":"p","email":"e"}}`)))}, "ghcr.io/x", "old"},
		"a new secret without entries is an empty one": {[]PullSecret{must(ParsePullSecret(TypeDockerConfigJSON, []byte(`{}`)))}, "ghcr.io/x", ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			auth := FromPullSecrets(must(name.NewRepository(tt.repo)), tt.secrets...)
			if (tt.want == "") != (auth == authn.Anonymous) {
				t.Errorf("got %v: nothing is said by authn.Anonymous", auth)
			}
			if got := must(auth.Authorization()).Username; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMalformedPullSecretsShowNothing(t *testing.T) {
	var many []string
	for i := range maxAuths + 1 {
		many = append(many, fmt.Sprintf(`"hunter2-%d":{}`, i))
	}
	for desc, tt := range map[string]struct{ secretType, content, says string }{
		"not JSON":                       {TypeDockerConfigJSON, "hunter2", ".dockerconfigjson is not JSON"},
		"empty":                          {TypeDockerConfigJSON, "", ".dockerconfigjson is not JSON"},
		"an old one that is not JSON":    {TypeDockercfg, "hunter2", ".dockercfg is not JSON"},
		"an old one with something else": {TypeDockercfg, `["hunter2"]`, ".dockercfg is not JSON"},
		"a list instead of entries":      {TypeDockerConfigJSON, `{"auths":["hunter2"]}`, ".dockerconfigjson is not JSON"},
		"auth that is not base64":        {TypeDockerConfigJSON, `{"auths":{"ghcr.io":{"auth":"hunter2!"}}}`, "base64"},
		"auth without a colon":           {TypeDockercfg, `{"ghcr.io":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("hunter2")) + `"}}`, "base64"},
		"another type":                   {"Opaque", `{"auths":{}}`, "its type is neither"},
		"more entries than are compared": {TypeDockerConfigJSON, `{"auths":{` + strings.Join(many, ",") + `}}`, "1001 entries"},
	} {
		t.Run(desc, func(t *testing.T) {
			_, err := ParsePullSecret(tt.secretType, []byte(tt.content))
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
		})
	}
}
