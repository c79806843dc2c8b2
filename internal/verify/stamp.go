package verify

import (
	"errors"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// stamped is s for an attestation in a tag. Its timestamp, if it has one, is that of the whole envelope, in which the
// signature is, and not of the signature alone
// (https://github.com/sigstore/cosign/blob/v2.6.5/cmd/cosign/cli/attest/attest.go).
func (s *search) stamped(envelope []byte) *search {
	if len(s.core.material.TimestampingAuthorities()) == 0 {
		return s
	}
	core, err := s.core.with(envelopeStamps{s.core.material, envelope})
	if err != nil {
		return s
	}
	out := *s
	out.core = core
	return &out
}

// envelopeStamps is a trust root whose timestamp authorities also verify timestamps of an envelope.
type envelopeStamps struct {
	root.TrustedMaterial
	envelope []byte
}

func (e envelopeStamps) TimestampingAuthorities() []root.TimestampingAuthority {
	var out []root.TimestampingAuthority
	for _, authority := range e.TrustedMaterial.TimestampingAuthorities() {
		out = append(out, envelopeAuthority{authority, e.envelope})
	}
	return out
}

type envelopeAuthority struct {
	root.TimestampingAuthority
	envelope []byte
}

func (e envelopeAuthority) Verify(stamp, signature []byte) (*root.Timestamp, error) {
	at, err := e.TimestampingAuthority.Verify(stamp, signature)
	if err == nil {
		return at, nil
	}
	at, failed := e.TimestampingAuthority.Verify(stamp, e.envelope)
	if failed != nil {
		return nil, errors.Join(err, failed)
	}
	return at, nil
}
