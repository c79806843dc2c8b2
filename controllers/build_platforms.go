package controllers

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
)

// buildPlatforms runs one Job for each platform and collects the digests that they report.
func (run *buildRun) buildPlatforms(ctx context.Context) (done, error) {
	run.digests, run.built = map[string]string{}, evidence{}
	var failures []error
	for _, p := range run.build.Spec.Platforms {
		digest, err := run.buildPlatform(ctx, p)
		if err != nil {
			failures = append(failures, err)
			if pipeline.IsTerminal(err) {
				break // Nothing is started for a build that has failed.
			}
			continue
		}
		run.digests[p.Platform] = digest
	}
	if err := worst(failures); err != nil {
		run.yield()
		return done{}, err
	}
	return done{message: fmt.Sprintf("Built and pushed %s", platformNames(run.build.Spec.Platforms))}, nil
}

func (run *buildRun) buildPlatform(ctx context.Context, p v1alpha1.PlatformBuild) (string, error) {
	platform, err := pipeline.ParsePlatform(p.Platform)
	if err != nil {
		return "", err
	}
	job, pods, err := run.follow(ctx, task{
		name:    kaniko.JobName(run.build.Name, platform),
		subject: p.Platform,
		running: v1alpha1.ReasonBuilding,
		make:    func(ctx context.Context) (*batchv1.Job, error) { return run.buildJob(ctx, p) },
	})
	if err != nil {
		return "", err
	}
	run.built = run.built.with(job)
	return kaniko.Outcome(job, pods, run.Config.Limits.Build)
}

// buildJob is the Job of a platform, for which it creates the build's input.
func (run *buildRun) buildJob(ctx context.Context, p v1alpha1.PlatformBuild) (*batchv1.Job, error) {
	if err := run.reach(ctx); err != nil {
		return nil, err
	}
	images, err := run.images.pinned(ctx, run.Registry, run.Config.Images)
	if err != nil {
		return nil, err
	}
	input, err := run.ensureInput(ctx)
	if err != nil {
		return nil, err
	}
	return kaniko.Job(kaniko.JobOptions{
		Build:       run.build,
		Platform:    p,
		KanikoImage: images.Kaniko,
		WorkerImage: images.Worker,
		Input:       input,
		Limits:      run.Config.Limits.Build,
	})
}

// ensureInput makes the ConfigMap that the Jobs read. One that exists must be what would be made.
func (run *buildRun) ensureInput(ctx context.Context) (*corev1.ConfigMap, error) {
	dockerfiles, err := run.pinnedDockerfiles()
	if err != nil {
		return nil, err
	}
	files, err := run.files(ctx)
	if err != nil {
		return nil, err
	}
	input, err := kaniko.Input(kaniko.InputOptions{
		Build:        run.build,
		Dockerfiles:  dockerfiles,
		Files:        files,
		CABundle:     run.Config.Registries.CABundle,
		PrivateHosts: run.Config.Registries.Private(),
		TokenHosts:   run.Config.Registries.TokenHosts,
		Limits:       run.Config.Limits,
	})
	if err != nil {
		return nil, err
	}
	return input, run.ensureSame(ctx, input)
}

// pinnedDockerfiles has, for each platform, the Dockerfile with every external image replaced by its digest.
func (run *buildRun) pinnedDockerfiles() (map[pipeline.Platform][]byte, error) {
	spec := &run.build.Spec
	pulls := map[string]string{}
	for _, u := range spec.Upstreams {
		pulls[u.Ref] = u.Pull
	}
	out := map[pipeline.Platform][]byte{}
	for _, p := range spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			return nil, err
		}
		file, err := parseDockerfile([]byte(spec.Dockerfile), spec.Target, spec.BuildArgs, platform)
		if err != nil {
			return nil, err
		}
		if out[platform], err = file.Rewrite(pulls); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// files of an inline or ConfigMap source, which must still be what the build was resolved from.
func (run *buildRun) files(ctx context.Context) (map[string][]byte, error) {
	spec := &run.build.Spec
	if spec.Source.Git != nil {
		return nil, nil
	}
	files, changed, err := fileReader{live: run.Live}.read(ctx, run.build.Namespace, &spec.Source, spec.SourceTime.Time)
	if err != nil {
		return nil, err
	}
	revision, err := source.ResolveFiles(files, spec.DockerfilePath, changed)
	if err != nil {
		return nil, err
	}
	if revision.ID != spec.Inputs.Revision {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceChanged, "spec.source: the files have changed since the build was decided (%s is now %s): request a new build by the annotation "+v1alpha1.BuildRequestedAtAnnotation, spec.Inputs.Revision, revision.ID)
	}
	return files, nil
}

func platformNames(platforms []v1alpha1.PlatformBuild) string {
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = p.Platform
	}
	return strings.Join(names, " and ")
}
