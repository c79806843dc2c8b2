package controllers

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/attest"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// attest signs what is known of the index and of each platform: provenance, SBOMs, scans and tests. The statements follow
// from the build's record and from reports in the registry, so that a build that was interrupted makes the same ones.
func (run *buildRun) attest(ctx context.Context) (done, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	facts, err := run.provenance(ctx)
	if err != nil {
		return done{}, err
	}
	s, err := run.signer(ctx)
	if err != nil {
		return done{}, err
	}
	leave, err := run.enterInspection(ctx, "to attest reports")
	if err != nil {
		return done{}, err
	}
	defer leave()
	a := attestor{run: run, client: client, repo: repo, provenance: facts}
	run.attested = nil
	for _, subject := range run.subjects() {
		statements, err := a.statements(ctx, subject)
		if err == nil {
			err = s.session.Attest(ctx, client, repo.Digest(subject.digest), statements)
		}
		if err != nil {
			return done{}, fmt.Errorf("attesting %s: %w", subject.name, err)
		}
		run.attested = append(run.attested, references(subject, statements)...)
	}
	return done{message: fmt.Sprintf("Attested %s: %d statements", subjectNames(run.subjects()), len(run.attested))}, nil
}

func references(s subject, statements []pipeline.Statement) []v1alpha1.AttestationReference {
	var all []v1alpha1.AttestationReference
	for _, st := range statements {
		all = append(all, v1alpha1.AttestationReference{Subject: s.name, PredicateType: st.PredicateType, Digest: st.Digest()})
	}
	return all
}
