package sign

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"

	"github.com/digitorus/timestamp"
)

// stamp gets a timestamp of content, which is verified at once: of those that a verifier does not like it says only that
// there are none.
func (s *Signer) stamp(ctx context.Context, content []byte) ([]byte, error) {
	sum := sha256.Sum256(content)
	// With the certificate, for verifiers that know only its authority.
	query, err := (&timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Certificates: true}).Marshal()
	if err != nil {
		return nil, err
	}
	answer, err := s.timestamp.ask(ctx, request{contentType: "application/timestamp-query", body: query})
	if err != nil {
		return nil, err
	}
	material, err := s.options.Material()
	if err != nil {
		return nil, err
	}
	failed := errors.New("the trust root has no timestamp authority")
	for _, authority := range material.TimestampingAuthorities() {
		if _, failed = authority.Verify(answer, content); failed == nil {
			return answer, nil
		}
	}
	return nil, s.timestamp.invalid("%w", failed)
}
