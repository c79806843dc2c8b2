package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

// verify reads back every signature and attestation, and verifies them as admission does: what it would refuse is not
// promoted. What is not there, because a registry is behind, or somebody removes it, is signed again by the next pass.
func (run *buildRun) verify(ctx context.Context) (done, error) {
	s, err := run.signer(ctx)
	if err != nil {
		return done{}, err
	}
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	leave, err := run.enterInspection(ctx, "to verify attestations")
	if err != nil {
		return done{}, err
	}
	defer leave()
	back := readBack{verifier: s.verifier, client: client, repo: repo, formats: run.Config.Sigstore.Formats}
	subjects := run.subjects()
	for _, subject := range subjects {
		if err := back.subject(ctx, subject, run.attested); err != nil {
			return done{}, run.signAgain(fmt.Errorf("verifying %s: %w", subject.name, err))
		}
	}
	run.verified = run.Clock.Now()
	run.build.Status.Signature = run.signature(back, s.identity)
	return done{message: fmt.Sprintf("Verified the signatures of %s and %d attestations, by %s of %s",
		subjectNames(subjects), len(back.attestations), s.identity.Subject, s.identity.Issuer)}, nil
}

// signAgain makes what does not verify a reason to go through the phases of signing again, which leave alone what is good,
// until the build's time is over.
func (run *buildRun) signAgain(err error) error {
	if !pipeline.IsTerminal(err) {
		return err
	}
	run.unremember(v1alpha1.ConditionAttested)
	return &pipeline.Transient{Reason: reasonOf(err), Err: plain{err}}
}

// readBack is what was found and verified in the registry.
type readBack struct {
	verifier *verify.Verifier
	client   *registry.Client
	repo     name.Repository
	// formats that must be there.
	formats []v1alpha1.SignatureFormat
	// index is the signature of the index: the subject that is read last.
	index        verify.Evidence
	attestations []v1alpha1.AttestationReference
}

// subject reads what there is about one manifest, of which every wanted statement must be there in every format.
func (b *readBack) subject(ctx context.Context, s subject, wanted []v1alpha1.AttestationReference) error {
	ref := b.repo.Digest(s.digest)
	signatures, err := b.verifier.Signatures(ctx, b.client, ref)
	if err != nil {
		return err
	}
	if err := b.everyFormat(signatures, "a signature"); err != nil {
		return err
	}
	b.index = signatures[0]
	byType := map[string][]verify.Attestation{}
	for _, want := range wanted {
		if want.Subject != s.name {
			continue
		}
		if _, read := byType[want.PredicateType]; !read {
			if byType[want.PredicateType], err = b.verifier.Attestations(ctx, b.client, ref, want.PredicateType); err != nil {
				return err
			}
		}
		if err := b.statement(want, byType[want.PredicateType]); err != nil {
			return err
		}
	}
	return nil
}

// statement finds the one that the operator has made among those that verify.
func (b *readBack) statement(want v1alpha1.AttestationReference, found []verify.Attestation) error {
	var same []verify.Evidence
	for _, a := range found {
		if (pipeline.Statement{Payload: a.Payload}).Digest() == want.Digest {
			same = append(same, a.Evidence)
		}
	}
	if err := b.everyFormat(same, "attestation "+want.PredicateType); err != nil {
		return err
	}
	want.LogIndex = same[0].LogIndex
	b.attestations = append(b.attestations, want)
	return nil
}

func (b *readBack) everyFormat(found []verify.Evidence, what string) error {
	for _, format := range b.formats {
		if !slices.ContainsFunc(found, func(e verify.Evidence) bool { return e.Format == format }) {
			return pipeline.Terminalf(pipeline.ReasonSignatureMissing, "%s in the format %s is not found in %s: the registry is behind, somebody removes it, or there are more than limits.signatures allows", what, format, registry.RepositoryName(b.repo))
		}
	}
	slices.SortStableFunc(found, func(x, y verify.Evidence) int { return cmp.Compare(x.Format, y.Format) })
	return nil
}

// signature is the evidence for people.
func (run *buildRun) signature(b readBack, by verify.Identity) *v1alpha1.ImageSignature {
	ref := run.build.Spec.Output.Repository + "@" + run.build.Status.Digest
	as := "--certificate-identity=" + by.Subject + " --certificate-oidc-issuer=" + by.Issuer
	if b.index.LogIndex == nil { // Without a log, a timestamp authority says when it was signed.
		as += " --insecure-ignore-tlog --use-signed-timestamps"
	}
	return &v1alpha1.ImageSignature{
		Identity:           b.index.Identity,
		Issuer:             b.index.Issuer,
		SignedAt:           metav1.NewTime(b.index.SignedAt),
		LogIndex:           b.index.LogIndex,
		Formats:            slices.Clone(b.formats),
		VerifyCommand:      strings.Join([]string{"cosign verify", as, ref}, " "),
		AttestationCommand: strings.Join([]string{"cosign verify-attestation --type=slsaprovenance1", as, ref}, " "),
		Attestations:       b.attestations,
	}
}
