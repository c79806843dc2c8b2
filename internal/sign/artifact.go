package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ibshafique/base-images/internal/registry"
)

// Annotations of bundles (https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md#annotations).
const (
	createdAnnotation   = "org.opencontainers.image.created"
	contentAnnotation   = "dev.sigstore.bundle.content"
	predicateAnnotation = "dev.sigstore.bundle.predicateType"
)

// pushBundle writes a bundle with an envelope as a referrer of ref.
func (s *Signer) pushBundle(ctx context.Context, client *registry.Client, ref name.Digest, subject v1.Descriptor, b *protobundle.Bundle, predicateType string) error {
	raw, err := protojson.Marshal(b)
	if err != nil {
		return err
	}
	_, err = client.PushArtifact(ctx, ref.Context(), registry.Artifact{
		Type:        bundleType,
		Subject:     subject,
		Annotations: bundleAnnotations(s.now().UTC().Format(time.RFC3339), predicateType),
		Content:     bytes.NewReader(raw),
	})
	return err
}

func bundleAnnotations(created, predicateType string) map[string]string {
	return map[string]string{createdAnnotation: created, contentAnnotation: "dsse-envelope", predicateAnnotation: predicateType}
}

// Annotations and media types of layers of tags
// (https://github.com/sigstore/cosign/blob/v2.6.5/specs/SIGNATURE_SPEC.md and ATTESTATION_SPEC.md beside it).
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	chainAnnotation       = "dev.sigstore.cosign/chain"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	stampAnnotation       = "dev.sigstore.cosign/rfc3161timestamp"
	typeAnnotation        = "predicateType"

	simpleType   = types.MediaType("application/vnd.dev.cosign.simplesigning.v1+json")
	envelopeType = types.MediaType("application/vnd.dsse.envelope.v1+json")
)

// layer is one signature or attestation in a tag.
type layer struct {
	v1.Descriptor
	content []byte
}

// layer is s as it goes into a tag: an attestation if it has a predicate type, a signature otherwise.
func (s *signed) layer(predicateType string) (layer, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(s.content))
	if err != nil {
		return layer{}, err
	}
	annotations, err := s.annotations()
	if err != nil {
		return layer{}, err
	}
	l := layer{Descriptor: v1.Descriptor{MediaType: simpleType, Digest: digest, Size: size, Annotations: annotations}, content: s.content}
	if predicateType != "" {
		l.MediaType = envelopeType
		annotations[typeAnnotation] = predicateType
	}
	return l, nil
}

func (s *signed) annotations() (map[string]string, error) {
	out := map[string]string{
		signatureAnnotation:   base64.StdEncoding.EncodeToString(s.signature),
		certificateAnnotation: s.credential.certificate,
		chainAnnotation:       s.credential.chain,
	}
	if len(s.stamp) > 0 {
		raw, err := json.Marshal(struct{ SignedRFC3161Timestamp []byte }{s.stamp})
		if err != nil {
			return nil, err
		}
		out[stampAnnotation] = string(raw)
	}
	for _, e := range s.bundle.GetVerificationMaterial().GetTlogEntries() {
		type payload struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
		raw, err := json.Marshal(struct {
			SignedEntryTimestamp []byte
			Payload              payload
		}{e.GetInclusionPromise().GetSignedEntryTimestamp(),
			payload{e.GetCanonicalizedBody(), e.GetIntegratedTime(), e.GetLogIndex(), hex.EncodeToString(e.GetLogId().GetKeyId())}})
		if err != nil {
			return nil, err
		}
		out[logAnnotation] = string(raw)
	}
	return out, nil
}

// upload writes the content, which is forgotten then.
func (l *layer) upload(ctx context.Context, client *registry.Client, repo name.Repository) error {
	if l.content == nil {
		return nil
	}
	if err := client.PushBlobs(ctx, repo, static.NewLayer(l.content, l.MediaType)); err != nil {
		return err
	}
	l.content = nil
	return nil
}
