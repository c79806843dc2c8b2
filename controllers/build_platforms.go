package controllers

import (
	"context"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	buildjob "github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
)

// buildPlatforms runs one Job for each platform and collects the digests that they report.
func (run *buildRun) buildPlatforms(ctx context.Context) (string, error) {
	run.digests = map[string]string{}
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
		return "", err
	}
	return fmt.Sprintf("Built and pushed %s", platformNames(run.build.Spec.Platforms)), nil
}

// yield gives the slot to others while nothing but suspended Jobs is left to wait for: whoever holds them back may take
// days. Resumed, they run at once, whatever the queue has.
func (run *buildRun) yield() {
	if run.suspended && run.active == 0 {
		run.wake(run.queue.leave(nameOf(run.build)))
	}
}

func (run *buildRun) buildPlatform(ctx context.Context, p v1alpha1.PlatformBuild) (string, error) {
	platform, err := pipeline.ParsePlatform(p.Platform)
	if err != nil {
		return "", err
	}
	job, err := run.findJob(ctx, platform)
	if err != nil {
		return "", err
	}
	if job == nil {
		run.active++
		return "", run.startJob(ctx, p)
	}
	run.noteTimes(job)
	pods, err := run.podsOf(ctx, job)
	if err != nil {
		return "", err
	}
	if len(pods) == 0 && !buildjob.Ended(job) && !run.suspended {
		return "", run.whyNoPod(ctx, p.Platform, job)
	}
	if err := run.whyNotStarted(ctx, p.Platform, pods); err != nil {
		return "", err
	}
	return kaniko.Outcome(job, pods, run.Config.Limits.Build)
}

// noteTimes sees whether somebody holds a Job back: then its time has not begun.
func (run *buildRun) noteTimes(job *batchv1.Job) {
	switch {
	case buildjob.Ended(job):
	case ptr.Deref(job.Spec.Suspend, false):
		run.suspended = true
	default:
		run.active++
	}
	if job.Status.StartTime != nil && job.Status.StartTime.After(run.resumed) {
		run.resumed = job.Status.StartTime.Time
	}
}

func (run *buildRun) findJob(ctx context.Context, platform pipeline.Platform) (*batchv1.Job, error) {
	job := &batchv1.Job{}
	err := run.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: kaniko.JobName(run.build.Name, platform)}, job)
	if apierrors.IsNotFound(err) || (err == nil && !metav1.IsControlledBy(job, run.build)) {
		return nil, nil // One of somebody else is refused when ours is created.
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Job for %s: %w", platform, err)
	}
	return job, nil
}

// podsOf reads the pods of a Job: from the apiserver once it has ended, because a cache that is behind the Job
// would hide the digest.
func (run *buildRun) podsOf(ctx context.Context, job *batchv1.Job) ([]corev1.Pod, error) {
	var reader client.Reader = run.Client
	if buildjob.Ended(job) {
		reader = run.Live
	}
	pods := &corev1.PodList{}
	err := reader.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
	}
	var own []corev1.Pod
	for _, pod := range pods.Items {
		if metav1.IsControlledBy(&pod, job) {
			own = append(own, pod)
		}
	}
	return own, nil
}

// startJob creates the build's input and the Job of a platform.
func (run *buildRun) startJob(ctx context.Context, p v1alpha1.PlatformBuild) error {
	if !run.Clock.Now().Before(run.deadline()) {
		return pipeline.Waitingf(v1alpha1.ReasonBuilding, "%s: no Job was started", p.Platform)
	}
	if err := run.reach(ctx); err != nil {
		return err
	}
	images, err := run.images.pinned(ctx, run.Registry, run.Config.Images)
	if err != nil {
		return err
	}
	input, err := run.ensureInput(ctx)
	if err != nil {
		return err
	}
	job, err := kaniko.Job(kaniko.JobOptions{
		Build:       run.build,
		Platform:    p,
		KanikoImage: images.Kaniko,
		WorkerImage: images.Worker,
		Input:       input,
		Limits:      run.Config.Limits.Build,
	})
	if err != nil {
		return err
	}
	if err := run.children().ensure(ctx, run.build, job); err != nil {
		return refusedJob(p.Platform, job.Name, err)
	}
	return pipeline.Waitingf(v1alpha1.ReasonBuilding, "%s: Job %s was created", p.Platform, job.Name)
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
	made := input.DeepCopy()
	if err := run.children().ensure(ctx, run.build, made); err != nil {
		return nil, fmt.Errorf("creating ConfigMap %s: %w", input.Name, err)
	}
	if pipeline.InputDigest(made.BinaryData) != pipeline.InputDigest(input.BinaryData) || len(made.Data) > 0 {
		return nil, pipeline.Retryablef(pipeline.ReasonInputChanged, "ConfigMap %s is not what the operator makes of this build: somebody has written it, or the operator's configuration has changed", input.Name)
	}
	return input, nil
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

// end gives the slot back and ends the Jobs that still run. Ended ones stay, for their logs.
func (run *buildRun) end(ctx context.Context) error {
	for _, p := range run.build.Spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			continue // Such a platform never had a Job.
		}
		job, err := run.findJob(ctx, platform)
		if err != nil {
			return err
		}
		if job == nil || buildjob.Ended(job) {
			continue
		}
		err = run.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground), client.Preconditions{UID: &job.UID})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("cancelling Job %s: %w", job.Name, err)
		}
	}
	run.wake(run.queue.leave(nameOf(run.build)))
	return nil
}

func (run *buildRun) children() children {
	return children{client: run.Client, live: run.Live}
}

func platformNames(platforms []v1alpha1.PlatformBuild) string {
	names := make([]string, len(platforms))
	for i, p := range platforms {
		names[i] = p.Platform
	}
	return strings.Join(names, " and ")
}
