// Package promote moves tags to a digest, as the last step of a build.
package promote

import (
	"context"
	"errors"
	"regexp"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// Move makes every tag of repo point to digest: the manifest is read once and the same
// bytes are put under each tag, in the order of tags. A tag that is there already is left
// alone. Each tag that was moved is read back.
//
// Tags that were moved before an error stay moved; calling Move again finishes the rest.
// Two calls for one tag at a time race: the caller keeps to one per repository.
//
// A malformed tag is Terminal with reason OutputInvalid, before anything moves. A
// digest that is not in repo is Terminal with reason ImageNotFound. A tag that reads back
// as something else is Transient with reason DigestMismatch: another writer was faster, or
// the registry is still catching up. Other errors are classified, see registry.Classify.
func Move(ctx context.Context, client *registry.Client, repo name.Repository, digest string, tags []string) error {
	targets, err := parse(repo, tags)
	if err != nil {
		return err
	}
	manifest, err := client.Manifest(ctx, repo.Digest(digest))
	if err != nil {
		return err
	}
	for _, tag := range targets {
		if err := move(ctx, client, tag, manifest); err != nil {
			return err
		}
	}
	return nil
}

// signatureTag is a tag of cosign's, or one that lists referrers.
var signatureTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}`)

func parse(repo name.Repository, tags []string) ([]name.Tag, error) {
	var out []name.Tag
	for _, t := range tags {
		if signatureTag.MatchString(t) {
			return nil, pipeline.Terminalf(pipeline.ReasonOutputInvalid,
				"spec.output.tags: %q is where signatures and attestations of an image are kept: use a tag that does not begin with sha256- and a digest", t)
		}
		parsed, err := name.NewTag(repo.Name() + ":" + t)
		if err != nil || parsed.TagStr() != t {
			return nil, pipeline.Terminalf(pipeline.ReasonOutputInvalid,
				"spec.output.tags: %.150q is not a tag: use up to 128 letters, digits and _ . -", t)
		}
		out = append(out, repo.Tag(t))
	}
	return out, nil
}

func move(ctx context.Context, client *registry.Client, tag name.Tag, manifest registry.Manifest) error {
	there, err := client.Head(ctx, tag)
	if err == nil && there.Digest == manifest.Digest {
		return nil
	}
	if err != nil && !notFound(err) {
		return err
	}
	if err := client.Tag(ctx, tag, manifest); err != nil {
		return err
	}
	got, err := client.Manifest(ctx, tag)
	if err != nil {
		return err
	}
	if got.Digest != manifest.Digest {
		return pipeline.Transientf(pipeline.ReasonDigestMismatch,
			"moving tag %s: it reads back as %s instead of %s: another writer may have moved it", registry.Name(tag), got.Digest, manifest.Digest)
	}
	return nil
}

func notFound(err error) bool {
	t, ok := errors.AsType[*pipeline.Terminal](err)
	return ok && t.Reason == pipeline.ReasonImageNotFound
}
