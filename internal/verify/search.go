package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

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

// keptStatements of the largest size are what one search keeps of statements that are valid. No error has to tell of it:
// who gets that many has found some.
const keptStatements = 4

// errEnough ends a search that needs no more, or has no room for more.
var errEnough = errors.New("there is enough")

// search looks for signatures or attestations of one digest in one format. Each candidate is judged apart: what is wrong
// with one says nothing of the others.
type search struct {
	format v1alpha1.SignatureFormat
	core   *core
	client Source
	ref    name.Digest
	digest v1.Hash
	want   want
	limits limits.Signatures
	now    func() time.Time
	// ahead is closed when another search that may make this one needless has ended. Default: there is none.
	ahead <-chan struct{}
	// take is given what is good, and may end the search with errEnough. Default: keep.
	take func(Attestation) error

	valid  []Attestation
	failed []failure
	// candidates are all that were found, of which limits.Tried were tried.
	candidates int
	// listed is how many referrers may be what is wanted, of which limits.Referrers were looked at.
	listed int
	// met are the contents that were looked at.
	met map[content]struct{}
	// kept are the statements in valid by their SHA-256, and keptBytes their size.
	kept      map[[sha256.Size]byte][]byte
	keptBytes int64
	// guesses are what layers may have that need not be read.
	guesses []guess
}

// content is all that is verified of a layer. In a tag some of it stands in annotations: signatures of several people have
// the same blob.
type content struct {
	digest                                   v1.Hash
	size                                     int64
	signature, certificate, entry, timestamp string
}

// again reports whether the same was looked at before. What comes of it would be the same.
func (s *search) again(layer v1.Descriptor) bool {
	a := layer.Annotations
	key := content{layer.Digest, layer.Size, a[signatureAnnotation], a[certificateAnnotation], a[logAnnotation], a[timestampAnnotation]}
	_, again := s.met[key]
	if s.met == nil {
		s.met = map[content]struct{}{}
	}
	s.met[key] = struct{}{}
	return again
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
		err = s.note(d, found, single(ctx, err))
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
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

// single makes the fault of one candidate of an error that nobody has classified. An outage of the registry is classified.
func single(ctx context.Context, err error) error {
	_, bad := errors.AsType[*strangerError](err)
	switch {
	case err == nil, bad, errors.Is(err, errOther), ctx.Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		pipeline.IsTransient(err), pipeline.IsTerminal(err), pipeline.IsWaiting(err):
		return err
	}
	return &invalidError{err}
}

func (s *search) note(d v1.Descriptor, found Attestation, err error) error {
	if errors.Is(err, errOther) {
		return nil
	}
	if err != nil {
		return s.fail(d.Digest.String(), err)
	}
	found.Subject, found.Format = s.digest.String(), s.format
	if s.take != nil {
		return s.take(found)
	}
	return s.keep(found)
}

// keep holds a statement once, in however many layers it is. Copies are made by anybody, what was signed is not.
func (s *search) keep(found Attestation) error {
	sum := sha256.Sum256(found.Payload)
	same, there := s.kept[sum]
	if !there {
		if s.keptBytes+int64(len(found.Payload)) > keptStatements*int64(s.limits.StatementBytes) {
			return errEnough
		}
		if s.kept == nil {
			s.kept = map[[sha256.Size]byte][]byte{}
		}
		same = found.Payload
		s.kept[sum], s.keptBytes = same, s.keptBytes+int64(len(same))
	}
	found.Payload = same
	s.valid = append(s.valid, found)
	return nil
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
