// Package pullsecret gives pods' access to registries: with the secrets that they name in imagePullSecrets, and with what
// the webhook itself has from a cloud. It reads no Kubernetes API; whoever asks says how a secret is read.
package pullsecret

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// defaultSize of what a Store remembers.
	defaultSize = 1000
	// MaxSecrets of one pod.
	MaxSecrets = 32
	// maxContent of one secret. A login has about 200 bytes. What is remembered is bounded by number, so it has to be small.
	maxContent = 32 << 10
)

// Secret is one version of a secret that a pod names. A secret that does not exist has no UID.
type Secret struct {
	Namespace, Name, UID, ResourceVersion string
	// Type is registry.TypeDockerConfigJSON or registry.TypeDockercfg.
	Type string
}

// Load reads the content of a secret: of a secret of type registry.TypeDockerConfigJSON its .dockerconfigjson, of the other
// type its .dockercfg. ErrMissing says that the secret is gone, or of another type.
type Load func(ctx context.Context, secret Secret) ([]byte, error)

// ErrMissing is returned by a Load.
var ErrMissing = errors.New("there is no such secret")

// Options of a Store.
type Options struct {
	// Base is the client whose connections and limits all have in common.
	Base *registry.Client
	// Cloud are the clouds whose registries are asked with the webhook's own credentials, if a pod has none. Default: none.
	Cloud []Cloud
	// Size is how many sets of secrets are remembered, and how many secrets. Default: 1000.
	Size int
}

// Store keeps one client per set of versions of secrets: clients have connections, tokens and caches, so that one per pod
// would not do. It is safe for concurrent use.
type Store struct {
	base    *registry.Client
	cloud   *clouds
	clients *lru.Cache[[sha256.Size]byte, access]
	secrets *lru.Cache[Secret, *content]
}

type access struct {
	client *registry.Client
	scope  string
}

// New makes a Store.
func New(o Options) (*Store, error) {
	if o.Base == nil {
		return nil, errors.New("pullsecret.Options.Base is missing: it is the client whose connections are used")
	}
	s := &Store{base: o.Base}
	if len(o.Cloud) > 0 {
		cloud, err := newClouds(o.Cloud)
		if err != nil {
			return nil, err
		}
		s.cloud, s.base = cloud, o.Base.With(cloud)
	}
	size := cmp.Or(o.Size, defaultSize)
	var err error
	if s.clients, err = lru.New[[sha256.Size]byte, access](size); err != nil {
		return nil, fmt.Errorf("pullsecret.Options.Size is %d: %w", size, err)
	}
	s.secrets, err = lru.New[Secret, *content](size)
	return s, err
}

// Access returns the client for pods that name secrets, in this order, and the scope of it: equal scopes are equal
// credentials, whoever has them, and "" is nothing of any pod. Nothing is read before the client needs credentials, and each
// version of a secret is read once. As with the kubelet, a secret that does not exist is passed over; so a pod all of whose
// secrets are missing is one without.
func (s *Store) Access(secrets []Secret, load Load) (client *registry.Client, scope string, err error) {
	if err := CheckNumber(len(secrets)); err != nil {
		return nil, "", err
	}
	key, some := keyOf(secrets)
	if !some {
		return s.base, "", nil
	}
	known, ok := s.clients.Get(key)
	if !ok {
		known = s.add(key, secrets, load)
	}
	return known.client, known.scope, nil
}

// CheckNumber refuses pods that name more than MaxSecrets: each is looked up.
func CheckNumber(secrets int) error {
	if secrets <= MaxSecrets {
		return nil
	}
	return pipeline.Terminalf(pipeline.ReasonRegistryCredentials, "imagePullSecrets names %d Secrets: name at most %d", secrets, MaxSecrets)
}

func (s *Store) add(key [sha256.Size]byte, secrets []Secret, load Load) access {
	var chain keychain
	if s.cloud != nil {
		chain.cloud = s.cloud
	}
	for _, secret := range secrets {
		if !secret.missing() {
			chain.secrets = append(chain.secrets, s.content(secret, load))
		}
	}
	added := access{client: s.base.With(&chain), scope: "secrets:" + hex.EncodeToString(key[:])}
	if other, found, _ := s.clients.PeekOrAdd(key, added); found {
		return other
	}
	return added
}

func (s *Store) content(secret Secret, load Load) *content {
	if known, ok := s.secrets.Get(secret); ok {
		return known
	}
	added := &content{secret: secret, load: load}
	if other, found, _ := s.secrets.PeekOrAdd(secret, added); found {
		return other
	}
	return added
}

func (s Secret) missing() bool { return s.UID == "" }

// keyOf tells sets of versions of secrets apart; some is whether there is one at all.
func keyOf(secrets []Secret) (key [sha256.Size]byte, some bool) {
	hash := make([]byte, 0, 512)
	for _, s := range secrets {
		if s.missing() {
			continue
		}
		some = true
		for _, part := range [...]string{s.Namespace, s.Name, s.UID, s.ResourceVersion, s.Type} {
			hash = binary.AppendUvarint(hash, uint64(len(part)))
			hash = append(hash, part...)
		}
	}
	if some {
		key = sha256.Sum256(hash)
	}
	return key, some
}
