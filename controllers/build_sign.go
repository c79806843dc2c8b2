package controllers

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/verify"
)

// sign signs the index and each platform, once all attestations are there: whoever finds a signature finds those too.
func (run *buildRun) sign(ctx context.Context) (done, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	session, err := run.session(ctx)
	if err != nil {
		return done{}, err
	}
	subjects := run.subjects()
	for _, s := range subjects {
		if err := session.Sign(ctx, client, repo.Digest(s.digest)); err != nil {
			return done{}, fmt.Errorf("signing %s: %w", s.name, err)
		}
	}
	return done{message: fmt.Sprintf("Signed %s as %s", subjectNames(subjects), run.identity.Subject)}, nil
}

// subject is a manifest that is signed, and that statements are about.
type subject struct {
	// name is the platform, or pipeline.SubjectIndex.
	name, digest string
}

// subjects are the platforms in their order, and the index last.
func (run *buildRun) subjects() []subject {
	var all []subject
	for _, p := range run.build.Status.Platforms {
		all = append(all, subject{p.Platform, p.Digest})
	}
	return append(all, subject{pipeline.SubjectIndex, run.build.Status.Digest})
}

func subjectNames(subjects []subject) string {
	text := "the index"
	for _, s := range subjects[:len(subjects)-1] {
		text += ", " + s.name
	}
	return text
}

// signingSession is what a pass needs to sign and verify.
type signingSession struct {
	identity verify.Identity
	verifier *verify.Verifier
	session  *sign.Session
}

// session has one key and one certificate for all that a pass signs. They exist only once something has to be signed.
func (run *buildRun) session(ctx context.Context) (*sign.Session, error) {
	verifier, err := run.verifier(ctx)
	if err != nil {
		return nil, err
	}
	if run.signing == nil {
		run.signing = run.Signer.Begin(verifier)
	}
	return run.signing, nil
}

// verifier accepts what the operator itself has signed, and nothing else.
func (run *buildRun) verifier(ctx context.Context) (*verify.Verifier, error) {
	if run.verifying != nil {
		return run.verifying, nil
	}
	identity, err := run.Identity.Identity(ctx)
	if err != nil {
		return nil, err
	}
	v, err := verify.New(verify.Options{
		Identities: []verify.Identity{identity},
		Material:   run.TrustRoot,
		Limits:     run.Config.Limits.Signatures,
	})
	if err != nil {
		return nil, fmt.Errorf("making the verifier of the operator's own signatures: %w", err)
	}
	run.identity, run.verifying = identity, v
	return v, nil
}

// published reads what belongs to an image in the output repository.
type published struct {
	client *registry.Client
	repo   name.Repository
}
