package registry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// Types of secrets that a pod may name in imagePullSecrets, as the kubelet reads them.
const (
	TypeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	TypeDockercfg        = "kubernetes.io/dockercfg"
)

// maxAuths of one secret: each is compared with each image.
const maxAuths = 1000

// PullSecret is what is in one secret of imagePullSecrets. It is read-only, and the zero value is an empty one.
type PullSecret struct{ auths dockerConfig }

// ParsePullSecret reads the content of a secret of type TypeDockerConfigJSON or TypeDockercfg
// (https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets). Keys are read as by
// KeychainFromDockerConfig, and between the dots of a host there may be patterns, as in "*.registry.example". An entry
// without credentials, as credential helpers leave them, is none.
//
// The error has no type, and says nothing of the content.
func ParsePullSecret(secretType string, content []byte) (PullSecret, error) {
	auths, err := readAuths(secretType, content)
	if err == nil && len(auths) > maxAuths {
		err = fmt.Errorf("it has %d entries: a secret may have %d", len(auths), maxAuths)
	}
	if err != nil {
		return PullSecret{}, err
	}
	var s PullSecret
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		var auth authn.AuthConfig
		if json.Unmarshal(auths[key], &auth) != nil {
			return PullSecret{}, errors.New("one of its entries is malformed: auth must be base64 of username:password")
		}
		host, path := splitKey(key)
		if host != "" && auth != (authn.AuthConfig{}) {
			s.auths = append(s.auths, dockerAuth{host: host, path: path, auth: auth})
		}
	}
	return s, nil
}

func readAuths(secretType string, content []byte) (map[string]json.RawMessage, error) {
	var config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	switch secretType {
	case TypeDockerConfigJSON:
		if json.Unmarshal(content, &config) != nil {
			return nil, errors.New("its .dockerconfigjson is not JSON of the form {\"auths\": {…}}")
		}
	case TypeDockercfg:
		if json.Unmarshal(content, &config.Auths) != nil {
			return nil, errors.New("its .dockercfg is not JSON of the form {\"host\": {…}}")
		}
	default:
		return nil, fmt.Errorf("its type is neither %s nor %s", TypeDockerConfigJSON, TypeDockercfg)
	}
	return config.Auths, nil
}

// FromPullSecrets returns the first of the credentials that the kubelet would try for target, or authn.Anonymous: of all
// secrets together, that with the longest path; a host before a pattern; and if two secrets have the same key, the one of
// the earlier secret. If a registry refuses the first, the kubelet tries the others as well; here, only that one is sent.
func FromPullSecrets(target authn.Resource, secrets ...PullSecret) authn.Authenticator {
	host := hubHost(target.RegistryStr())
	repository := strings.TrimPrefix(target.String(), target.RegistryStr()+"/")
	var best *dockerAuth
	for _, s := range secrets {
		for i := range s.auths {
			a := &s.auths[i]
			if hostMatches(a.host, host) && below(repository, a.path) && (best == nil || before(a, best)) {
				best = a
			}
		}
	}
	if best == nil {
		return authn.Anonymous
	}
	return authn.FromConfig(best.auth)
}

// before is how the kubelet sorts keys: backwards.
func before(a, b *dockerAuth) bool {
	return cmp.Or(strings.Compare(a.host, b.host), strings.Compare(a.path, b.path)) > 0
}

// hostMatches compares the parts between dots one by one. A pattern covers no dot and no port.
func hostMatches(pattern, host string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == host
	}
	wanted, wantedPort := splitHost(pattern)
	got, port := splitHost(host)
	return wantedPort == port && slices.EqualFunc(strings.Split(wanted, "."), strings.Split(got, "."), partMatches)
}

func partMatches(pattern, part string) bool {
	matches, err := path.Match(pattern, part)
	return err == nil && matches
}
