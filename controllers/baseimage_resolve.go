package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

// GitResolver turns a ref of a repository into a commit and a Dockerfile.
type GitResolver interface {
	ResolveGit(ctx context.Context, git source.Git, dockerfile string) (pipeline.Revision, error)
}

// UpstreamResolver turns image references into digests.
type UpstreamResolver interface {
	Resolve(ctx context.Context, requests []upstream.Request, refresh upstream.Refresh) ([]pipeline.Upstream, error)
	// Poll only finds the digests, with as few and as cheap requests as there can be.
	Poll(ctx context.Context, requests []upstream.Request, refresh upstream.Refresh) ([]pipeline.Upstream, error)
}

// resolved are the inputs of a build, fixed.
type resolved struct {
	revision  pipeline.Revision
	upstreams []pipeline.Upstream
	judgedBy  judgedBy
}

// resolve fixes the source to a revision and every external image of its Dockerfile to a digest.
// Errors are pipeline faults.
func (r *BaseImageReconciler) resolve(ctx context.Context, image *v1alpha1.BaseImage) (*resolved, error) {
	revision, err := r.resolveSource(ctx, image)
	if err != nil {
		return nil, err
	}
	requests, err := upstreamRequests(&image.Spec, revision.Dockerfile)
	if err != nil {
		return nil, err
	}
	upstreams, err := r.Upstreams.Resolve(ctx, requests, upstream.Refresh(image.Spec.Upstream.Refresh))
	if err != nil {
		return nil, err
	}
	by, err := fileReader{live: r.Live}.judgedBy(ctx, image.Namespace, &image.Spec.DockerfilePolicy, &image.Spec.Scan)
	if err != nil {
		return nil, err
	}
	return &resolved{revision: revision, upstreams: upstreams, judgedBy: by}, nil
}

func (r *BaseImageReconciler) resolveSource(ctx context.Context, image *v1alpha1.BaseImage) (pipeline.Revision, error) {
	spec := &image.Spec
	if git := spec.Source.Git; git != nil {
		return r.resolveGit(ctx, image.Namespace, git, spec.Dockerfile)
	}
	files, changed, err := fileReader{live: r.Live}.read(ctx, image.Namespace, &spec.Source, image.CreationTimestamp.Time)
	if err != nil {
		return pipeline.Revision{}, err
	}
	return source.ResolveFiles(files, spec.Dockerfile, changed)
}

func (r *BaseImageReconciler) resolveGit(ctx context.Context, namespace string, git *v1alpha1.GitSource, dockerfile string) (pipeline.Revision, error) {
	credentials, err := gitCredentials(ctx, r.Live, namespace, git)
	if err != nil {
		return pipeline.Revision{}, err
	}
	return r.Git.ResolveGit(ctx, source.Git{URL: git.URL, Ref: git.Ref, Path: git.Path, Credentials: credentials, Tenant: namespace}, dockerfile)
}

// fileReader reads the files of sources that are Kubernetes objects.
type fileReader struct {
	// live is not a cache: the ConfigMaps of a whole cluster are not ours to keep in memory.
	live client.Reader
}

// read returns the files of an inline or ConfigMap source, and when they were made. inlineTime is that of the
// object that holds an inline source.
func (f fileReader) read(ctx context.Context, namespace string, src *v1alpha1.Source, inlineTime time.Time) (map[string][]byte, time.Time, error) {
	if inline := src.Inline; inline != nil {
		files := map[string][]byte{"Dockerfile": []byte(inline.Dockerfile)}
		for path, content := range inline.Files {
			files[path] = []byte(content)
		}
		return files, inlineTime, nil
	}
	if src.ConfigMapRef == nil {
		return nil, time.Time{}, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "spec.source: one of git, inline or configMapRef is required")
	}
	return f.readConfigMap(ctx, types.NamespacedName{Namespace: namespace, Name: src.ConfigMapRef.Name})
}

func (f fileReader) readConfigMap(ctx context.Context, key types.NamespacedName) (map[string][]byte, time.Time, error) {
	cm := &corev1.ConfigMap{}
	err := f.live.Get(ctx, key, cm)
	if apierrors.IsNotFound(err) {
		return nil, time.Time{}, pipeline.Terminalf(pipeline.ReasonSourceNotFound, "spec.source.configMapRef.name: there is no ConfigMap %q in namespace %q: create it, or name another", key.Name, key.Namespace)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading ConfigMap %s: %w", key, err)
	}
	files := map[string][]byte{}
	for name, content := range cm.Data {
		files[name] = []byte(content)
	}
	maps.Copy(files, cm.BinaryData)
	return files, cm.CreationTimestamp.Time, nil
}

// upstreamRequests lists the external images of a Dockerfile on all platforms, with the platforms that need each.
func upstreamRequests(spec *v1alpha1.BaseImageSpec, content []byte) ([]upstream.Request, error) {
	var requests []upstream.Request
	for _, p := range spec.Platforms {
		platform, err := pipeline.ParsePlatform(p.Platform)
		if err != nil {
			return nil, err
		}
		file, err := parseDockerfile(content, spec.Target, spec.BuildArgs, platform)
		if err != nil {
			return nil, err
		}
		for _, img := range file.Images() {
			requests = addRequest(requests, img, platform)
		}
	}
	return requests, nil
}

func addRequest(requests []upstream.Request, img dockerfile.Image, platform pipeline.Platform) []upstream.Request {
	i := slices.IndexFunc(requests, func(r upstream.Request) bool { return r.Ref == img.Ref })
	if i < 0 {
		return append(requests, upstream.Request{Ref: img.Ref, Platforms: []pipeline.Platform{platform}, Final: img.Final})
	}
	requests[i].Platforms = append(requests[i].Platforms, platform)
	requests[i].Final = requests[i].Final || img.Final
	return requests
}

func parseDockerfile(content []byte, target string, buildArgs []v1alpha1.BuildArg, platform pipeline.Platform) (*dockerfile.File, error) {
	args := platform.BuildArgs()
	for _, a := range buildArgs {
		args[a.Name] = a.Value
	}
	return dockerfile.Parse(content, dockerfile.Options{BuildArgs: args, Target: target, Platform: platform})
}

// changedInputs adds the resolved inputs to a plan, and the reasons that only they can tell.
func (p *plan) changedInputs(last v1alpha1.BuildInputs, res *resolved) {
	p.inputs.Revision = res.revision.ID
	p.inputs.Upstream = upstreamDigest(res.upstreams)
	p.inputs.Rules, p.inputs.VEX = res.judgedBy.rules, res.judgedBy.vex
	if last.Revision != "" && last.Revision != p.inputs.Revision {
		p.because(v1alpha1.BuildReasonSourceChanged, last.Revision, p.inputs.Revision)
	}
	if last.Upstream != "" && last.Upstream != p.inputs.Upstream {
		p.because(v1alpha1.BuildReasonUpstreamChanged, last.Upstream, p.inputs.Upstream)
	}
	if last.Revision == "" || p.has(v1alpha1.BuildReasonPolicyChanged) {
		return
	}
	if last.Rules != p.inputs.Rules {
		p.because(v1alpha1.BuildReasonPolicyChanged, last.Rules, p.inputs.Rules)
	} else if last.VEX != p.inputs.VEX {
		p.because(v1alpha1.BuildReasonPolicyChanged, last.VEX, p.inputs.VEX)
	}
}

func upstreamDigest(upstreams []pipeline.Upstream) string {
	pairs := []string{}
	for _, u := range upstreams {
		pairs = append(pairs, u.Ref+" "+u.Digest)
	}
	slices.Sort(pairs)
	raw, err := json.Marshal(pairs)
	if err != nil {
		panic("encoding strings: " + err.Error()) // Unreachable.
	}
	return digestOf(raw)
}

func reasonTypes(reasons []v1alpha1.BuildReason) string {
	names := make([]string, len(reasons))
	for i, r := range reasons {
		names[i] = string(r.Type)
	}
	return strings.Join(names, ",")
}
