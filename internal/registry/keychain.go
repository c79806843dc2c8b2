package registry

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// KeychainFromDockerConfig reads the content of a secret of type
// kubernetes.io/dockerconfigjson
// (https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets).
//
// A key is a host, "host:port", the host with a path, or the URL that docker login writes.
// An entry applies to exactly its host and to whole path segments below its path; the
// longest path wins. Wildcards and credential helpers are not read. The known names of
// Docker Hub mean the same.
//
// The error is Terminal with reason RegistryCredentialsInvalid and contains nothing of the
// content.
func KeychainFromDockerConfig(content []byte) (authn.Keychain, error) {
	var config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, credentialsError("it is not JSON of the form {\"auths\": {…}}")
	}
	var chain dockerConfig
	for key, raw := range config.Auths {
		var auth authn.AuthConfig
		if err := json.Unmarshal(raw, &auth); err != nil {
			return nil, credentialsError("an entry of auths is malformed: auth must be base64 of username:password")
		}
		host, path := splitKey(key)
		chain = append(chain, dockerAuth{host: host, path: path, auth: auth})
	}
	slices.SortFunc(chain, func(a, b dockerAuth) int { return len(b.path) - len(a.path) })
	return chain, nil
}

func credentialsError(why string) error {
	return &pipeline.Terminal{
		Reason: pipeline.ReasonRegistryCredentials,
		Err:    errors.New("reading .dockerconfigjson of the registry secret: " + why),
	}
}

// dockerConfig is sorted, longest path first.
type dockerConfig []dockerAuth

type dockerAuth struct {
	host string // as in references
	path string // "" or "org/repo"
	auth authn.AuthConfig
}

// Resolve implements authn.Keychain.
func (c dockerConfig) Resolve(target authn.Resource) (authn.Authenticator, error) {
	host := hubHost(target.RegistryStr())
	path := strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	for _, a := range c {
		if a.host == host && below(path, a.path) {
			return authn.FromConfig(a.auth), nil
		}
	}
	return authn.Anonymous, nil
}

// below reports whether path is prefix or continues it with a whole segment.
func below(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// splitKey splits a key of auths into host and path. The paths /v1 and /v2 are those of
// the API and mean the whole host.
func splitKey(key string) (host, path string) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil {
		return "", ""
	}
	path = strings.Trim(u.Path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return hubHost(u.Host), path
}

func hubHost(host string) string {
	switch host = strings.ToLower(host); host {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return name.DefaultRegistry
	}
	return host
}
