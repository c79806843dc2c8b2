package verify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// payloadBytes of what cosign signs. About 250 are usual.
const payloadBytes = 64 << 10

// search looks for signatures or attestations of one digest in one format. Each candidate is judged apart: what is wrong
// with one says nothing of the others.
type search struct {
	format v1alpha1.SignatureFormat
	core   *core
	client *registry.Client
	ref    name.Digest
	digest v1.Hash
	want   want
	limits limits.Signatures

	valid  []Attestation
	failed []failure
	// candidates are all that were found, of which limits.Tried were tried.
	candidates int
	// listed is how many referrers there are, of which limits.Referrers were looked at.
	listed int
}

// failure is why something that was found is no evidence.
type failure struct {
	digest string
	err    error
}

// each judges candidates one after the other. An error is none of theirs: the registry is away, or ctx has ended.
func (s *search) each(ctx context.Context, candidates []v1.Descriptor, judge func(context.Context, v1.Descriptor) (Attestation, error)) error {
	s.candidates = len(candidates)
	for _, d := range candidates[:min(len(candidates), s.limits.Tried)] {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("verifying %s: %w", registry.Name(s.ref), context.Cause(ctx))
		}
		found, err := guarded(ctx, d, judge)
		if err := s.note(d, found, err); err != nil {
			return err
		}
	}
	return nil
}

// guarded makes of a panic, in a parser for example, a fault of what was parsed.
func guarded(ctx context.Context, d v1.Descriptor, judge func(context.Context, v1.Descriptor) (Attestation, error)) (found Attestation, err error) {
	defer func() {
		if p := recover(); p != nil {
			found, err = Attestation{}, invalid("verifying it ended in a panic: %v", p)
		}
	}()
	return judge(ctx, d)
}

func (s *search) note(d v1.Descriptor, found Attestation, err error) error {
	if errors.Is(err, errOther) {
		return nil
	}
	if err == nil {
		found.Subject, found.Format = s.digest.String(), s.format
		s.valid = append(s.valid, found)
		return nil
	}
	return s.fail(d.Digest.String(), err)
}

// fail notes err if it is the fault of what was found at digest, and returns it otherwise.
func (s *search) fail(digest string, err error) error {
	_, bad := errors.AsType[*invalidError](err)
	_, other := errors.AsType[*strangerError](err)
	if !bad && !other && !isContent(err) {
		return err
	}
	s.failed = append(s.failed, failure{digest: digest, err: err})
	return nil
}

// isContent reports whether err is about what a registry has, and not about the registry or those who ask it.
func isContent(err error) bool {
	return hasReason(err, pipeline.ReasonImageNotFound, pipeline.ReasonImageInvalid, pipeline.ReasonImageTooLarge, pipeline.ReasonReportInvalid)
}

func hasReason(err error, reasons ...string) bool {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	return ok && slices.Contains(reasons, t.Reason)
}

// envelopeBytes is how long the JSON around a statement in base64 may be.
func (s *search) envelopeBytes() int64 { return int64(s.limits.StatementBytes)*4/3 + overheadBytes }

// statement verifies a bundle that holds an envelope with a statement.
func (s *search) statement(b *protobundle.Bundle) (Attestation, error) {
	envelope := b.GetDsseEnvelope()
	if envelope == nil {
		return Attestation{}, invalid("it has no envelope with a statement")
	}
	payload := envelope.GetPayload()
	if int64(len(payload)) > int64(s.limits.StatementBytes) {
		return Attestation{}, invalid("its statement has %d bytes, limits.signatures.statementBytes allows %d", len(payload), s.limits.StatementBytes)
	}
	if err := checkStatement(payload, s.want.predicateType, s.digest.Hex); err != nil {
		return Attestation{}, err
	}
	digest, err := hex.DecodeString(s.digest.Hex)
	if err != nil {
		return Attestation{}, err
	}
	evidence, err := s.core.check(b, len(payload), sigstore.WithArtifactDigest("sha256", digest))
	return Attestation{Evidence: evidence, PredicateType: s.want.predicateType, Payload: payload}, err
}
