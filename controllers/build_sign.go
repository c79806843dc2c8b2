package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/verify"
)

// Signing is who signs what builds have made, and what that is verified with.
type Signing struct {
	Signer   *sign.Signer
	Identity *SignerIdentity
	// TrustRoot is what signatures are verified with now. It waits for nothing; its error is Transient.
	TrustRoot func() (root.TrustedMaterial, error)
}

// sign signs each platform and the index, once all attestations are there: whoever finds a signature finds those too.
func (run *buildRun) sign(ctx context.Context) (done, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	s, err := run.signer(ctx)
	if err != nil {
		return done{}, err
	}
	subjects := run.subjects()
	for _, subject := range subjects {
		if err := s.session.Sign(ctx, client, repo.Digest(subject.digest)); err != nil {
			return done{}, fmt.Errorf("signing %s: %w", subject.name, err)
		}
	}
	return done{message: fmt.Sprintf("Signatures of %s are in the registry, by %s", subjectNames(subjects), s.identity.Subject)}, nil
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
	var names []string
	for _, s := range subjects[:len(subjects)-1] {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ") + " and the index"
}

// signing is what a pass signs and verifies with.
type signing struct {
	identity verify.Identity
	// verifier accepts what the operator itself has signed, and nothing else.
	verifier *verify.Verifier
	// session has one key and one certificate for all that the pass signs, once there is something to sign.
	session *sign.Session
}

func (run *buildRun) signer(ctx context.Context) (*signing, error) {
	if run.signing != nil {
		return run.signing, nil
	}
	issuer, account, err := run.Signing.Identity.Identity(ctx)
	if err != nil {
		return nil, err
	}
	identity := verify.Identity{Issuer: issuer, Subject: account}
	verifier, err := verify.New(verify.Options{Identities: []verify.Identity{identity}, Material: run.Signing.TrustRoot, Limits: run.Config.Limits.Signatures})
	if err != nil {
		return nil, fmt.Errorf("making the verifier of the operator's own signatures: %w", err)
	}
	run.signing = &signing{identity: identity, verifier: verifier, session: run.Signing.Signer.Begin(verifier)}
	return run.signing, nil
}

// evidence is what Jobs that have completed tell of themselves.
type evidence struct {
	start, end time.Time
	// images of their containers.
	images map[string]string
}

// with makes e cover another Job.
func (e evidence) with(job *batchv1.Job) evidence {
	e.images = map[string]string{}
	pod := &job.Spec.Template.Spec
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		e.images[c.Name] = c.Image
	}
	if t := job.Status.StartTime; t != nil && (e.start.IsZero() || t.Time.Before(e.start)) {
		e.start = t.Time
	}
	if t := job.Status.CompletionTime; t != nil && t.After(e.end) {
		e.end = t.Time
	}
	return e
}

// endAfter is the end of the work, unless it is before t: the clocks of the cluster and the operator may differ.
func (e evidence) endAfter(t time.Time) time.Time {
	if e.end.Before(t) {
		return time.Time{}
	}
	return e.end
}
