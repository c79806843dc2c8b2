package verify

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
)

// What cosign signs is known before it is read, if it was signed in the repository in which it is looked for and without
// annotations. A layer with that digest need not be asked for.

// guess is a payload that a layer may have.
type guess struct {
	digest  v1.Hash
	payload []byte
}

// guesses are the payloads for a digest.
func guesses(repo name.Repository, digest v1.Hash) []guess {
	reference, err := json.Marshal(repo.Name())
	if err != nil {
		return nil
	}
	var out []guess
	for _, optional := range []string{"null", "{}"} {
		payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":%s},"image":{"docker-manifest-digest":%q},"type":%q},"optional":%s}`,
			reference, digest.String(), simpleType, optional)
		out = append(out, guess{v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(payload))}, payload})
	}
	return out
}

// guessed is the content of layer, if it is one of those that are known.
func (s *search) guessed(layer v1.Descriptor) ([]byte, bool) {
	if !s.want.simple {
		return nil, false
	}
	if s.guesses == nil {
		s.guesses = guesses(s.ref.Context(), s.digest)
	}
	for _, g := range s.guesses {
		if g.digest == layer.Digest && int64(len(g.payload)) == layer.Size {
			return g.payload, true
		}
	}
	return nil, false
}

// hashes that log entries have of what was signed.
var hashes = map[string]struct {
	name protocommon.HashAlgorithm
	hash crypto.Hash
}{
	"sha256": {protocommon.HashAlgorithm_SHA2_256, crypto.SHA256},
	"sha384": {protocommon.HashAlgorithm_SHA2_384, crypto.SHA384},
	"sha512": {protocommon.HashAlgorithm_SHA2_512, crypto.SHA512},
}

// digestOf is the digest of payload with the hash that its entry in the log has, with which it is compared: not all keys
// sign SHA-256.
func digestOf(payload []byte, entries []*protorekor.TransparencyLogEntry) *protocommon.HashOutput {
	use := hashes["sha256"]
	for _, e := range entries {
		var says struct {
			Spec struct {
				Data struct{ Hash struct{ Algorithm string } }
			}
		}
		if json.Unmarshal(e.GetCanonicalizedBody(), &says) != nil {
			continue
		}
		if other, known := hashes[says.Spec.Data.Hash.Algorithm]; known {
			use = other
		}
	}
	h := use.hash.New()
	_, _ = h.Write(payload)
	return &protocommon.HashOutput{Algorithm: use.name, Digest: h.Sum(nil)}
}
