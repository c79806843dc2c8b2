package controllers

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/index"
	"github.com/ibshafique/base-images/internal/inspect"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// index reads back what the Jobs pushed, checks that each image is for its platform, and pushes the index
// by digest. What a build pod says of itself is only where to look.
func (run *buildRun) index(ctx context.Context) (done, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return done{}, err
	}
	var images []index.Image
	run.build.Status.Platforms = nil
	for _, p := range run.build.Spec.Platforms {
		img, facts, err := run.check(ctx, client, repo, p.Platform)
		if err != nil {
			return done{}, fmt.Errorf("%s: %w", p.Platform, err)
		}
		images = append(images, img)
		run.build.Status.Platforms = append(run.build.Status.Platforms,
			v1alpha1.PlatformImage{Platform: p.Platform, Digest: img.Digest, Size: facts.CompressedBytes})
	}
	annotations, err := run.annotations()
	if err != nil {
		return done{}, err
	}
	assembled, err := index.Assemble(index.Input{Images: images, Annotations: annotations})
	if err != nil {
		return done{}, err
	}
	ref, err := index.Push(ctx, client, repo, assembled)
	if err != nil {
		return done{}, err
	}
	run.build.Status.Digest = ref.DigestStr()
	return done{message: fmt.Sprintf("Pushed the index %s", ref)}, nil
}

func (run *buildRun) check(ctx context.Context, client *registry.Client, repo name.Repository, platform string) (index.Image, inspect.Facts, error) {
	p, err := pipeline.ParsePlatform(platform)
	if err != nil {
		return index.Image{}, inspect.Facts{}, err
	}
	described, img, err := index.Read(ctx, client, repo, index.Image{Platform: p, Digest: run.digests[platform]})
	if err != nil {
		return index.Image{}, inspect.Facts{}, err
	}
	// A digest names its content: what was once inspected is not downloaded again because a push has failed since.
	key := platform + "@" + described.Digest
	if facts, ok := run.inspected.Get(key); ok {
		return described, facts, nil
	}
	leave, err := run.enterInspection(ctx, "to inspect "+described.Digest)
	if err != nil {
		return described, inspect.Facts{}, err
	}
	defer leave()
	facts, err := inspect.Image(ctx, img, p, client.Limits())
	if err == nil {
		run.inspected.Add(key, facts)
	}
	return described, facts, err
}

// annotations date the index with its source, so that the same inputs give the same digest.
func (run *buildRun) annotations() (index.Annotations, error) {
	spec := &run.build.Spec
	a := index.Annotations{Created: spec.SourceTime.Time, Revision: spec.Inputs.Revision}
	if spec.Source.Git != nil {
		a.Source = spec.Source.Git.URL
	}
	platform, err := pipeline.ParsePlatform(spec.Platforms[0].Platform)
	if err != nil {
		return a, err
	}
	file, err := parseDockerfile([]byte(spec.Dockerfile), spec.Target, spec.BuildArgs, platform)
	if err != nil {
		return a, err
	}
	base, ok := file.Base()
	for _, u := range spec.Upstreams {
		if ok && u.Ref == base {
			a.BaseName, a.BaseDigest = u.Name, u.Digest
		}
	}
	return a, nil
}

// output is the repository to publish to, with the push secret's credentials.
func (run *buildRun) output(ctx context.Context) (*registry.Client, name.Repository, error) {
	keychain, err := run.keychain(ctx)
	if err != nil {
		return nil, name.Repository{}, err
	}
	client := run.Registry
	if keychain != nil {
		client = client.With(keychain)
	}
	repo, err := client.Repository(run.build.Spec.Output.Repository)
	return client, repo, err
}

// reach asks the registry for a tag, before a Job is started whose push would only find out after the build that it is
// away, or that its name is misspelt. What else it answers does not matter: who may write may not be who may read.
func (run *buildRun) reach(ctx context.Context) error {
	client, repo, err := run.output(ctx)
	if err != nil {
		return err
	}
	_, err = client.Head(ctx, repo.Tag(string(run.build.Spec.Output.Tags[0])))
	if pipeline.IsTransient(err) || err != nil && reasonOf(err) == pipeline.ReasonRegistryAddress {
		return err
	}
	return nil
}

// keychain reads the push secret; nil without one. A secret that is missing may still come.
func (run *buildRun) keychain(ctx context.Context) (authn.Keychain, error) {
	ref := run.build.Spec.Output.PushSecretRef
	if ref == nil {
		return nil, nil
	}
	secret := &corev1.Secret{}
	err := run.Live.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, pipeline.Transientf(pipeline.ReasonPushSecretInvalid, "spec.output.pushSecretRef.name: there is no Secret %q in namespace %q: create one of type %s", ref.Name, run.build.Namespace, corev1.SecretTypeDockerConfigJson)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the push secret %q: %w", ref.Name, err)
	}
	config, ok := secret.Data[corev1.DockerConfigJsonKey]
	if secret.Type != corev1.SecretTypeDockerConfigJson || !ok {
		return nil, pipeline.Transientf(pipeline.ReasonPushSecretInvalid, "spec.output.pushSecretRef.name: Secret %q has type %q: make it one of type %s", ref.Name, secret.Type, corev1.SecretTypeDockerConfigJson)
	}
	return registry.KeychainFromDockerConfig(config)
}

// enterInspection waits for one of the places in which much memory may be used.
func (run *buildRun) enterInspection(ctx context.Context, what string) (leave func(), err error) {
	select {
	case run.inspecting <- struct{}{}:
		return func() { <-run.inspecting }, nil
	case <-ctx.Done():
		return nil, pipeline.Transientf(pipeline.ReasonRegistryTimeout, "waiting %s, behind images and reports that come slowly: %w", what, ctx.Err())
	}
}
