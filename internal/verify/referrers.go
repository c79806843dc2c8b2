package verify

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Annotations of bundles (https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md#annotations). They are
// hints: what counts is the statement.
const (
	createdAnnotation         = "org.opencontainers.image.created"
	contentAnnotation         = "dev.sigstore.bundle.content"
	bundlePredicateAnnotation = "dev.sigstore.bundle.predicateType"

	statementContent = "dsse-envelope"
)

// clockSkew is how far the clock of whoever made a bundle may be ahead.
const clockSkew = 5 * time.Minute

// bundleType begins the media types of Sigstore bundles of all versions.
const bundleType = "application/vnd.dev.sigstore.bundle"

// vagueTypes stand in lists of registries that give the type of the config for that of the artifact.
var vagueTypes = []string{"", "application/vnd.oci.empty.v1+json", string(types.OCIConfigJSON), string(types.DockerConfigJSON)}

func isBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, bundleType+".") || strings.HasPrefix(mediaType, bundleType+"+")
}

// referrers looks into the bundles that refer to the digest.
func (s *search) referrers(ctx context.Context) error {
	// All that fit into a manifest: the first ones of a list are any, those that matter are known when they are in order.
	found, _, err := s.client.Referrers(ctx, s.ref, math.MaxInt)
	if err != nil {
		return s.fail("the list of referrers", err)
	}
	found = s.order(slices.Clone(found)) // others may have been given the same list
	s.listed = len(found)
	if len(found) > 0 {
		s.await(ctx)
	}
	return s.each(ctx, found[:min(len(found), s.limits.Referrers)], s.referrer)
}

// headStart is how long a search waits for one that is ahead: the tag has it all in one answer, each bundle needs two more.
const headStart = 200 * time.Millisecond

func (s *search) await(ctx context.Context) {
	if s.ahead == nil {
		return
	}
	late := time.NewTimer(headStart)
	defer late.Stop()
	select {
	case <-s.ahead:
	case <-late.C:
	case <-ctx.Done():
	}
}

// order leaves out what says that it is something else, and begins with what looks most like what is wanted, newest first.
func (s *search) order(found []v1.Descriptor) []v1.Descriptor {
	latest := s.now().Add(clockSkew)
	found = slices.DeleteFunc(found, func(d v1.Descriptor) bool {
		return !isBundle(d.ArtifactType) && !slices.Contains(vagueTypes, d.ArtifactType) || s.other(d.Annotations)
	})
	slices.SortStableFunc(found, func(a, b v1.Descriptor) int {
		return cmp.Or(cmp.Compare(s.likeness(b), s.likeness(a)), created(b, latest).Compare(created(a, latest)), strings.Compare(a.Digest.String(), b.Digest.String()))
	})
	return found
}

// other reports whether annotations say that a bundle has something else.
func (s *search) other(annotations map[string]string) bool {
	return cmp.Or(annotations[contentAnnotation], statementContent) != statementContent ||
		cmp.Or(annotations[bundlePredicateAnnotation], s.want.predicateType) != s.want.predicateType
}

func (s *search) likeness(d v1.Descriptor) int {
	switch {
	case d.Annotations[bundlePredicateAnnotation] != "":
		return 2
	case isBundle(d.ArtifactType):
		return 1
	}
	return 0
}

// created is when a bundle says that it was made. Whoever pushes it may say anything: a time after latest counts as none.
func created(d v1.Descriptor, latest time.Time) time.Time {
	at, err := time.Parse(time.RFC3339, d.Annotations[createdAnnotation])
	if err != nil || at.After(latest) {
		return time.Time{}
	}
	return at
}

func (s *search) referrer(ctx context.Context, d v1.Descriptor) (Attestation, error) {
	found, err := s.client.Manifest(ctx, s.ref.Context().Digest(d.Digest.String()))
	if err != nil {
		return Attestation{}, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Raw))
	switch {
	case err != nil:
		return Attestation{}, invalid("its manifest is malformed: %w", err)
	case !isBundle(m.ArtifactType) && !isBundle(string(m.Config.MediaType)), s.other(m.Annotations):
		return Attestation{}, errOther
	case len(m.Layers) != 1:
		return Attestation{}, invalid("it has %d layers instead of one", len(m.Layers))
	case s.again(v1.Descriptor{Digest: m.Layers[0].Digest, Size: m.Layers[0].Size}):
		return Attestation{}, errOther
	}
	raw, err := s.client.Blob(ctx, s.ref.Context(), m.Layers[0], s.envelopeBytes())
	if err != nil {
		return Attestation{}, err
	}
	a, err := s.bundle(raw)
	a.Manifest, a.Layer = d.Digest.String(), m.Layers[0].Digest.String()
	return a, err
}

func (s *search) bundle(raw []byte) (Attestation, error) {
	if crowded(raw) {
		return Attestation{}, invalid("it has too many fields")
	}
	b := new(protobundle.Bundle)
	if err := protojson.Unmarshal(raw, b); err != nil {
		return Attestation{}, invalid("it is not a Sigstore bundle: %w", err)
	}
	return s.statement(b)
}
