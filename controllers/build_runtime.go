package controllers

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/runtimetest"
)

// +kubebuilder:rbac:groups="",resources=nodes,verbs=list;watch

// test runs a pod of the image for each platform that a node can run, and keeps what its probe says.
func (run *buildRun) test(ctx context.Context) (done, error) {
	var failures []error
	results := make([]v1alpha1.PlatformTests, len(run.build.Spec.Platforms))
	for i, p := range run.build.Spec.Platforms {
		var err error
		if results[i], err = run.testPlatform(ctx, p); err != nil {
			failures = append(failures, err)
			if pipeline.IsTerminal(err) {
				break
			}
		}
	}
	if err := worst(failures); err != nil {
		run.yield()
		return done{}, err
	}
	run.build.Status.Tests = &v1alpha1.TestResult{Summary: runtimetest.Summary(results), Platforms: results}
	message, kept := runtimetest.Message(results), run.keepTests(ctx, results)
	switch {
	case anyIs(results, v1alpha1.TestFailed): // Also if the registry has gone meanwhile.
		return done{}, pipeline.Terminalf(pipeline.ReasonTestsFailed, "%s", message)
	case kept != nil:
		return done{}, kept
	case anyIs(results, v1alpha1.TestSkipped):
		return done{message: message, reason: v1alpha1.ReasonTestsSkipped, unknown: true}, nil
	}
	return done{message: message}, nil
}

func anyIs(results []v1alpha1.PlatformTests, outcome v1alpha1.TestOutcome) bool {
	return slices.ContainsFunc(results, func(r v1alpha1.PlatformTests) bool { return r.Outcome == outcome })
}

func (run *buildRun) testPlatform(ctx context.Context, p v1alpha1.PlatformBuild) (v1alpha1.PlatformTests, error) {
	platform, err := pipeline.ParsePlatform(p.Platform)
	if err != nil {
		return v1alpha1.PlatformTests{}, err
	}
	name := runtimetest.JobName(run.build.Name, platform)
	started, err := run.findJob(ctx, name)
	if err != nil {
		return v1alpha1.PlatformTests{}, err
	}
	if started == nil {
		can, err := run.canRun(ctx, platform, p.NodeSelector)
		if err != nil || !can {
			return runtimetest.Skipped(platform), err
		}
	}
	job, pods, err := run.follow(ctx, task{
		name:    name,
		subject: p.Platform,
		running: v1alpha1.ReasonTesting,
		make:    func(ctx context.Context) (*batchv1.Job, error) { return run.testJob(ctx, p) },
	})
	if err != nil {
		return v1alpha1.PlatformTests{}, err
	}
	if err := run.testsThis(job, p.Platform); err != nil {
		return v1alpha1.PlatformTests{}, err
	}
	report, err := runtimetest.Outcome(job, pods, run.Config.Limits.Build)
	if err != nil {
		return v1alpha1.PlatformTests{}, err
	}
	return runtimetest.Results(report, platform, run.build.Spec.Tests), nil
}

// testsThis refuses a Job that has tested another image: somebody has deleted the Jobs before it, and what they made anew
// is not what it was.
func (run *buildRun) testsThis(job *batchv1.Job, platform string) error {
	want := run.build.Spec.Output.Repository + "@" + run.digestOf(platform)
	for _, c := range job.Spec.Template.Spec.Containers {
		if c.Name == runtimetest.ContainerTest && c.Image != want {
			return pipeline.Retryablef(v1alpha1.ReasonConflict, "%s: Job %s tests %s, and %s was built: find out who deletes Jobs in namespace %s", platform, job.Name, c.Image, want, job.Namespace)
		}
	}
	return nil
}

// canRun looks at the labels of the cluster's nodes. One that is cordoned counts: its pod waits, and says so.
func (run *buildRun) canRun(ctx context.Context, p pipeline.Platform, selector map[string]string) (bool, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	if err := run.List(ctx, list); err != nil {
		return false, fmt.Errorf("listing nodes: %w", err)
	}
	var nodes []runtimetest.NodeFacts
	for _, n := range list.Items {
		nodes = append(nodes, runtimetest.NodeFacts{Labels: n.Labels})
	}
	return runtimetest.CanRun(nodes, p, selector), nil
}

func (run *buildRun) testJob(ctx context.Context, p v1alpha1.PlatformBuild) (*batchv1.Job, error) {
	images, err := run.images.pinned(ctx, run.Registry, run.Config.Images)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(run.build.Status.Platforms, func(b v1alpha1.PlatformImage) bool { return b.Platform == p.Platform })
	built := run.build.Status.Platforms[i]
	facts, err := run.factsOf(ctx, built)
	if err != nil {
		return nil, err
	}
	uid, gid, err := userOf(facts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Platform, err)
	}
	return runtimetest.Job(runtimetest.JobOptions{
		Build:       run.build,
		Platform:    p,
		Image:       run.build.Spec.Output.Repository + "@" + built.Digest,
		UID:         uid,
		GID:         gid,
		WorkerImage: images.Worker,
		Tests:       run.build.Spec.Tests,
	})
}

// userOf reads what the config of an image declares, of which inspection has seen that it is numeric. Without a group it
// is the one of the user's entry in /etc/passwd, as with every container runtime.
func userOf(facts inspect.Facts) (uid, gid int64, err error) {
	left, right, grouped := strings.Cut(facts.User, ":")
	if uid, err = strconv.ParseInt(left, 10, 64); err == nil && grouped {
		gid, err = strconv.ParseInt(right, 10, 64)
	}
	if err != nil {
		return 0, 0, pipeline.Terminalf(pipeline.ReasonInspectionFailed, "the image declares the user %.100q: write USER 65532:65532", facts.User)
	}
	if account, ok := facts.Passwd.Find(uid); !grouped && ok {
		gid = account.GID
	}
	return uid, gid, nil
}

// keepTests leaves the results with the image, as documents that can be attested. The same tests give the same document.
func (run *buildRun) keepTests(ctx context.Context, results []v1alpha1.PlatformTests) error {
	images, err := run.images.pinned(ctx, run.Registry, run.Config.Images)
	if err != nil {
		return err
	}
	client, repo, err := run.output(ctx)
	if err != nil {
		return err
	}
	for i := range results {
		if results[i].Outcome == v1alpha1.TestSkipped {
			continue
		}
		document, err := runtimetest.Predicate(runtimetest.PredicateOptions{Result: results[i], WorkerImage: images.Worker, Tests: run.build.Spec.Tests})
		if err != nil {
			return err
		}
		subject, err := client.Head(ctx, repo.Digest(run.digestOf(results[i].Platform)))
		if err != nil {
			return err
		}
		ref, err := client.PushArtifact(ctx, repo, registry.Artifact{Type: pipeline.ArtifactTestResult, Subject: subject, Title: "test-result.json", Content: bytes.NewReader(document)})
		if err != nil {
			return err
		}
		results[i].Report = ref.DigestStr()
	}
	return nil
}

// digestOf is the digest of the manifest that was built for a platform.
func (run *buildRun) digestOf(platform string) string {
	for _, p := range run.build.Status.Platforms {
		if p.Platform == platform {
			return p.Digest
		}
	}
	return ""
}
