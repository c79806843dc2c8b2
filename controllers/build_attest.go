package controllers

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/attest"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/scan"
)

// attest signs what is known of each platform and of the index: provenance, SBOMs, scans and tests. The statements follow
// from the build's record, its Jobs and reports in the registry, so that a build that was interrupted makes the same ones.
func (run *buildRun) attest(ctx context.Context) (done, error) {
	a, err := run.newAttestor(ctx)
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
	replaced, err := run.replaced(ctx)
	if err != nil {
		return done{}, err
	}
	subjects := run.subjects()
	run.attested = nil
	for _, subject := range subjects {
		statements, err := a.statements(ctx, subject)
		if err == nil {
			err = s.session.Attest(ctx, a.client, a.repo.Digest(subject.digest), statements, replaced)
		}
		if err != nil {
			return done{}, fmt.Errorf("attesting %s: %w", subject.name, err)
		}
		run.attested = append(run.attested, references(subject, statements)...)
	}
	message := fmt.Sprintf("Signed %d attestations of %s", len(run.attested), subjectNames(subjects))
	if a.unguarded != "" {
		message += "; the provenance names the builder " + attest.BuilderUnguarded + ": " + a.unguarded
	}
	return done{message: message}, nil
}

// replaced are the digests of the statements that were made for the image that is to be replaced, but for those that another
// BaseImage has too: both may publish the same digest, and one SBOM is of both.
func (run *buildRun) replaced(ctx context.Context) ([]string, error) {
	all := &v1alpha1.BaseImageList{}
	if err := run.List(ctx, all); err != nil {
		return nil, fmt.Errorf("listing BaseImages: %w", err)
	}
	var own, others []string
	for i := range all.Items {
		image := &all.Items[i]
		if image.Status.Image == nil || image.Status.Image.Signature == nil {
			continue
		}
		for _, a := range image.Status.Image.Signature.Attestations {
			if isOwnedBy(run.build, image.UID) {
				own = append(own, a.Digest)
			} else {
				others = append(others, a.Digest)
			}
		}
	}
	return slices.DeleteFunc(own, func(d string) bool { return slices.Contains(others, d) }), nil
}

func references(s subject, statements []pipeline.Statement) []v1alpha1.AttestationReference {
	var all []v1alpha1.AttestationReference
	for _, st := range statements {
		all = append(all, v1alpha1.AttestationReference{Subject: s.name, PredicateType: st.PredicateType, Digest: st.Digest()})
	}
	return all
}

// attestor makes the statements of one build.
type attestor struct {
	run    *buildRun
	client *registry.Client
	repo   name.Repository
	mode   attest.Mode
	// unguarded says why mode is the weaker one.
	unguarded string
}

func (run *buildRun) newAttestor(ctx context.Context) (*attestor, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return nil, err
	}
	why, err := run.unguarded(ctx)
	if err != nil {
		return nil, err
	}
	a := &attestor{run: run, client: client, repo: repo, mode: attest.ModeIsolated, unguarded: why}
	if why != "" {
		a.mode = attest.ModeUnguarded
	}
	return a, nil
}

// statements about one manifest.
func (a *attestor) statements(ctx context.Context, s subject) ([]pipeline.Statement, error) {
	provenance, err := attest.Provenance(attest.ProvenanceInput{
		Build:      a.run.build,
		Of:         s.name,
		Mode:       a.mode,
		Version:    a.run.Version,
		Kaniko:     a.run.built.images[kaniko.ContainerKaniko],
		Worker:     a.run.built.images[kaniko.ContainerPush],
		FinishedOn: a.run.built.endAfter(a.run.build.Status.StartedAt.Time),
	})
	if err != nil || s.name == pipeline.SubjectIndex {
		return []pipeline.Statement{provenance}, err
	}
	all := []pipeline.Statement{provenance}
	for _, of := range []func(context.Context, subject) ([]pipeline.Statement, error){a.scan, a.tests} {
		more, err := of(ctx, s)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// scan has what the scan of a platform left in the registry.
func (a *attestor) scan(ctx context.Context, s subject) ([]pipeline.Statement, error) {
	platform, err := pipeline.ParsePlatform(s.name)
	if err != nil {
		return nil, err
	}
	about := attest.Subject{Name: a.run.build.Spec.Output.Repository, Digest: s.digest}
	reports := a.reportsOn(s.name)
	var all []pipeline.Statement
	for _, one := range []struct {
		digest, kind string
		statement    func(content []byte) (pipeline.Statement, error)
	}{
		{reports.SPDX, pipeline.ArtifactSPDX, func(c []byte) (pipeline.Statement, error) { return attest.SPDX(about, c) }},
		{reports.CycloneDX, pipeline.ArtifactCycloneDX, func(c []byte) (pipeline.Statement, error) { return attest.CycloneDX(about, c) }},
		{reports.Grype, pipeline.ArtifactGrype, func(c []byte) (pipeline.Statement, error) {
			return a.vulnerabilities(about, attest.Grype, scan.ContainerOn(scan.ContainerGrype, platform), c)
		}},
		{reports.Trivy, pipeline.ArtifactTrivy, func(c []byte) (pipeline.Statement, error) {
			return a.vulnerabilities(about, attest.Trivy, scan.ContainerOn(scan.ContainerTrivy, platform), c)
		}},
	} {
		content, err := a.report(ctx, s, one.digest, one.kind)
		if err != nil {
			return nil, err
		}
		st, err := one.statement(content)
		if err != nil {
			return nil, err
		}
		all = append(all, st)
	}
	return all, nil
}

func (a *attestor) reportsOn(platform string) v1alpha1.PlatformReports {
	for _, p := range a.run.build.Status.Scan.Platforms {
		if p.Platform == platform {
			return p
		}
	}
	return v1alpha1.PlatformReports{}
}

func (a *attestor) vulnerabilities(about attest.Subject, scanner attest.Scanner, container string, report []byte) (pipeline.Statement, error) {
	in := attest.VulnerabilitiesInput{
		Subject: about, Scanner: scanner, Report: report, Image: a.run.scanned.images[container],
		StartedOn: a.run.scanned.start, FinishedOn: a.run.scanned.end, BuildUID: a.run.build.UID, Mode: a.mode,
		DatabaseLocation: map[attest.Scanner]string{
			attest.Grype: a.run.Config.Databases.Grype.Location, attest.Trivy: a.run.Config.Databases.Trivy.Location,
		}[scanner],
	}
	for _, d := range a.run.build.Status.Scan.Databases {
		if d.Scanner == string(scanner) {
			in.DatabaseBuilt = d.BuiltAt.Time
		}
	}
	return attest.Vulnerabilities(in)
}

// tests has nothing of a platform that was skipped.
func (a *attestor) tests(ctx context.Context, s subject) ([]pipeline.Statement, error) {
	for _, p := range a.run.build.Status.Tests.Platforms {
		if p.Platform != s.name || p.Outcome == v1alpha1.TestSkipped {
			continue
		}
		predicate, err := a.report(ctx, s, p.Report, pipeline.ArtifactTestResult)
		if err != nil {
			return nil, err
		}
		st, err := attest.TestResult(attest.Subject{Name: a.run.build.Spec.Output.Repository, Digest: s.digest}, predicate)
		return []pipeline.Statement{st}, err
	}
	return nil, nil
}

func (a *attestor) report(ctx context.Context, s subject, digest, kind string) ([]byte, error) {
	_, content, err := a.client.ReadArtifact(ctx, a.repo.Digest(digest),
		registry.ArtifactWant{Type: kind, Subject: s.digest, Limit: int64(a.run.Config.Limits.Scan.ReportBytes)})
	return content, err
}
