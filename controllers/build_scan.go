package controllers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/scan"
)

// scan has a Job make SBOMs and look for vulnerabilities, and judges what it has put into the registry. What the Job says
// of itself is only where to look.
func (run *buildRun) scan(ctx context.Context) (done, error) {
	job, pods, err := run.follow(ctx, task{
		name:    scan.JobName(run.build.Name),
		subject: "scan",
		running: v1alpha1.ReasonScanning,
		make:    run.scanJob,
	})
	if err != nil {
		run.yield()
		return done{}, err
	}
	reports, err := scan.Outcome(job, pods, run.Config.Limits.Build)
	if err != nil {
		run.yield()
		return done{}, err
	}
	run.scanned = evidence{}.with(job)
	vex, err := run.vex(ctx)
	if err != nil {
		return done{}, err
	}
	platforms, err := run.readReports(ctx, reports)
	if err != nil {
		return done{}, err
	}
	verdict := scan.Judge(scan.GateInput{
		Repository: run.build.Spec.Output.Repository,
		Index:      run.build.Status.Digest,
		Platforms:  platforms,
		Policy:     run.build.Spec.Scan,
		VEX:        vex,
		MaxAge:     run.Config.Databases.MaxAge.Std(),
		Scanned:    ended(job, run.Clock.Now()),
		Now:        run.Clock.Now(),
	})
	run.build.Status.Scan = new(verdict.Result())
	return done{message: verdict.Message(), reason: verdict.Reason()}, verdict.Err()
}

// ended is when a Job completed.
func ended(job *batchv1.Job, now time.Time) time.Time {
	if job.Status.CompletionTime != nil {
		return job.Status.CompletionTime.Time
	}
	return now
}

// scanJob is the Job of a scan, for which it creates the input.
func (run *buildRun) scanJob(ctx context.Context) (*batchv1.Job, error) {
	images, err := run.images.pinned(ctx, run.Registry, run.Config.Images)
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, p := range run.build.Status.Platforms {
		digests[p.Platform] = p.Digest
	}
	input, err := scan.Input(scan.InputOptions{
		Build:         run.build,
		Images:        digests,
		TrivyDatabase: run.Config.Databases.Trivy.Location,
		GrypeDatabase: run.Config.Databases.Grype.Location,
		CABundle:      run.Config.Registries.CABundle,
		PrivateHosts:  run.Config.Registries.Private(),
		TokenHosts:    run.Config.Registries.TokenHosts,
		Limits:        run.Config.Limits,
	})
	if err != nil {
		return nil, err
	}
	if err := run.ensureSame(ctx, input); err != nil {
		return nil, err
	}
	return scan.Job(scan.JobOptions{
		Build:       run.build,
		Images:      digests,
		WorkerImage: images.Worker,
		SyftImage:   images.Syft,
		GrypeImage:  images.Grype,
		TrivyImage:  images.Trivy,
		Input:       input,
		Limits:      run.Config.Limits.Scan,
		// It may scan images of several platforms: none of theirs fits.
		NodeSelector: run.Config.Defaults.BuildPods.NodeSelector,
		Tolerations:  run.Config.Defaults.BuildPods.Tolerations,
	})
}

// vex reads the documents of spec.scan.vexRef; nil without any.
func (run *buildRun) vex(ctx context.Context) (*scan.VEX, error) {
	files, err := fileReader{live: run.Live}.policyFiles(ctx, run.build.Namespace, fieldVEX, run.build.Spec.Scan.VEXRef)
	if err != nil || files == nil {
		return nil, err
	}
	if err := asDecided(fieldVEX, filesDigest(files), run.build.Spec.Inputs.VEX); err != nil {
		return nil, err
	}
	return scan.ParseVEX(files)
}

// readReports reads what the Job has pushed about each platform, which must be all that were built. Reports can be
// large: as with images, few are read at a time.
func (run *buildRun) readReports(ctx context.Context, claimed map[string]pipeline.ScanReports) ([]scan.PlatformInput, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return nil, err
	}
	leave, err := run.enterInspection(ctx, "to read the reports of the scan")
	if err != nil {
		return nil, err
	}
	defer leave()
	var all []scan.PlatformInput
	for _, p := range run.build.Status.Platforms {
		reports, ok := claimed[p.Platform]
		if !ok || len(claimed) != len(run.build.Status.Platforms) {
			return nil, pipeline.Terminalf(pipeline.ReasonReportInvalid, "the scan Job reports on %s: it should be on what was built", slices.Sorted(maps.Keys(claimed)))
		}
		r := reportReader{client: client, repo: repo, run: run, reports: reports}
		read, err := r.read(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Platform, err)
		}
		all = append(all, read)
	}
	return all, nil
}

// reportReader reads the reports on one platform.
type reportReader struct {
	client  *registry.Client
	repo    name.Repository
	run     *buildRun
	reports pipeline.ScanReports
	subject scan.Subject
}

func (r *reportReader) read(ctx context.Context, p v1alpha1.PlatformImage) (scan.PlatformInput, error) {
	config, err := r.config(ctx, p.Digest)
	if err != nil {
		return scan.PlatformInput{}, err
	}
	r.subject = scan.Subject{Platform: p.Platform, Manifest: p.Digest, Config: config}
	in := scan.PlatformInput{Subject: r.subject, Reports: r.reports}
	bounds := r.run.Config.Limits.Scan
	_, content, err := r.artifact(ctx, r.reports.CycloneDX, pipeline.ArtifactCycloneDX)
	if err != nil {
		return in, err
	}
	if in.SBOM, err = scan.ReadSBOM(bytes.NewReader(content), r.subject, bounds); err != nil {
		return in, err
	}
	if _, content, err = r.artifact(ctx, r.reports.Grype, pipeline.ArtifactGrype); err != nil {
		return in, err
	}
	if in.Grype, err = scan.ReadGrype(bytes.NewReader(content), r.subject, bounds); err != nil {
		return in, err
	}
	if in.Trivy, err = r.trivy(ctx); err != nil {
		return in, err
	}
	return in, r.rest(ctx)
}

// trivy does not say in its report when its database was made: the worker, which has seen it, does.
func (r *reportReader) trivy(ctx context.Context) (scan.Report, error) {
	artifact, content, err := r.artifact(ctx, r.reports.Trivy, pipeline.ArtifactTrivy)
	if err != nil {
		return scan.Report{}, err
	}
	built, err := time.Parse(time.RFC3339, artifact.Annotations[pipeline.AnnotationDatabaseBuilt])
	if err != nil {
		return scan.Report{}, pipeline.Terminalf(pipeline.ReasonReportInvalid, "Trivy's report does not say when its database was made (annotation %s): %w", pipeline.AnnotationDatabaseBuilt, err)
	}
	return scan.ReadTrivy(bytes.NewReader(content), r.subject, built, r.run.Config.Limits.Scan)
}

// rest are the reports that the gate does not read, and that people and attestations will: they must be there.
func (r *reportReader) rest(ctx context.Context) error {
	for _, report := range []struct{ digest, kind string }{{r.reports.SPDX, pipeline.ArtifactSPDX}, {r.reports.SARIF, pipeline.ArtifactSARIF}} {
		if _, _, err := r.artifact(ctx, report.digest, report.kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *reportReader) artifact(ctx context.Context, digest, kind string) (registry.Artifact, []byte, error) {
	return r.client.ReadArtifact(ctx, r.repo.Digest(digest), registry.ArtifactWant{Type: kind, Subject: r.subject.Manifest, Limit: int64(r.run.Config.Limits.Scan.ReportBytes)})
}

// config is the digest of an image's config, by which Trivy knows the image.
func (r *reportReader) config(ctx context.Context, digest string) (string, error) {
	found, err := r.client.Manifest(ctx, r.repo.Digest(digest))
	if err != nil {
		return "", err
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Raw))
	if err != nil {
		return "", pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading manifest %s: %w", digest, err)
	}
	return m.Config.Digest.String(), nil
}
