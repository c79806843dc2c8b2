package sign

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

// Sign sees to it that ref carries a good signature of ours in each format. One that is there is left alone. Faults of the
// registry are passed on.
func (s *Session) Sign(ctx context.Context, client *registry.Client, ref name.Digest) error {
	found, err := s.verifier.Signatures(ctx, client, ref)
	if err != nil && !isMissing(err) {
		return err
	}
	legacy := s.lacks(found, v1alpha1.FormatLegacy)
	if legacy {
		if err := checkTag(ctx, client, tagOf(ref, ".sig"), 1, nil); err != nil {
			return err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	if legacy {
		group.Go(func() error { return s.signLegacy(ctx, client, ref) })
	}
	if s.lacks(found, v1alpha1.FormatBundle) {
		group.Go(func() error { return s.signBundle(ctx, client, ref) })
	}
	return group.Wait()
}

// isMissing reports whether there is nothing good of ours, which is no fault before it is written.
func isMissing(err error) bool {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok {
		return false
	}
	switch t.Reason {
	case pipeline.ReasonSignatureMissing, pipeline.ReasonSignatureInvalid, pipeline.ReasonIdentityMismatch, pipeline.ReasonAttestationMissing:
		return true
	}
	return false
}

func (s *Session) lacks(found []verify.Evidence, f v1alpha1.SignatureFormat) bool {
	for _, e := range found {
		if e.Format == f {
			return false
		}
	}
	return s.signer.writes(f)
}

func (s *Session) signLegacy(ctx context.Context, client *registry.Client, ref name.Digest) error {
	payload, err := simpleSigning(ref)
	if err != nil {
		return err
	}
	release, err := s.signer.enter(ctx, 0)
	if err != nil {
		return err
	}
	defer release()
	made, err := s.message(ctx, payload)
	if err != nil {
		return err
	}
	l, err := made.layer("")
	if err != nil {
		return err
	}
	return s.signer.rewrite(ctx, client, tagOf(ref, ".sig"), change{add: []layer{l}})
}

func (s *Session) signBundle(ctx context.Context, client *registry.Client, ref name.Digest) error {
	payload, err := signatureStatement(ref)
	if err != nil {
		return err
	}
	release, err := s.signer.enter(ctx, 0)
	if err != nil {
		return err
	}
	defer release()
	subject, err := client.Head(ctx, ref)
	if err != nil {
		return err
	}
	made, err := s.statement(ctx, ref, pipeline.Statement{PredicateType: pipeline.PredicateSignature, Payload: payload}, false)
	if err != nil {
		return err
	}
	return s.signer.pushBundle(ctx, client, ref, subject, made.bundle, pipeline.PredicateSignature)
}

// simpleSigning is the payload of a signature in a tag
// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/SIGNATURE_SPEC.md#simple-signing).
func simpleSigning(ref name.Digest) ([]byte, error) {
	type object map[string]any
	return json.Marshal(object{
		"critical": object{
			"identity": object{"docker-reference": ref.Context().Name()},
			"image":    object{"docker-manifest-digest": ref.DigestStr()},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
}

// signatureStatement stands for a signature in a bundle.
func signatureStatement(ref name.Digest) ([]byte, error) {
	type descriptor struct {
		Digest map[string]string `json:"digest"`
	}
	algorithm, hex, _ := strings.Cut(ref.DigestStr(), ":")
	return json.Marshal(struct {
		Type          string       `json:"_type"`
		Subject       []descriptor `json:"subject"`
		PredicateType string       `json:"predicateType"`
		Predicate     struct{}     `json:"predicate"`
	}{"https://in-toto.io/Statement/v1", []descriptor{{map[string]string{algorithm: hex}}}, pipeline.PredicateSignature, struct{}{}})
}
