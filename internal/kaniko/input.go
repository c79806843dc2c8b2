package kaniko

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxInput is the limit of a ConfigMap, of all its data together.
const maxInput = 1 << 20

// InputOptions are what a build's input is made of.
type InputOptions struct {
	Build *v1alpha1.BaseImageBuild
	// Dockerfiles for each platform, with references replaced by digests.
	Dockerfiles map[pipeline.Platform][]byte
	// Files of the context by path; nil for a git source.
	Files map[string][]byte
	// CABundle in PEM, may be empty.
	CABundle string
	// PrivateHosts may resolve to private addresses.
	PrivateHosts []string
	// TokenHosts may see the credentials of their registry.
	TokenHosts []pipeline.TokenHost
	// Limits of what the worker reads.
	Limits limits.Limits
}

// Input makes the ConfigMap that the fetch container reads. It is immutable: a build never
// changes under a running pod.
func Input(o InputOptions) (*corev1.ConfigMap, error) {
	in := pipeline.WorkerInput{
		SourceTime:   o.Build.Spec.SourceTime.UTC(),
		Repository:   o.Build.Spec.Output.Repository,
		PrivateHosts: o.PrivateHosts,
		TokenHosts:   o.TokenHosts,
		Limits:       o.Limits,
	}
	if git := o.Build.Spec.Source.Git; git != nil {
		in.Git = &pipeline.GitInput{URL: git.URL, Ref: git.Ref, Commit: o.Build.Spec.Inputs.Revision, Path: git.Path}
	}
	binary := map[string][]byte{}
	if o.CABundle != "" {
		binary[pipeline.CAFile] = []byte(o.CABundle)
	}
	for p, content := range o.Dockerfiles {
		binary[pipeline.DockerfileKey(p)] = content
	}
	for i, path := range slices.Sorted(maps.Keys(o.Files)) {
		if in.Files == nil {
			in.Files = map[string]string{}
		}
		key := fmt.Sprintf("file.%04d", i)
		in.Files[path], binary[key] = key, o.Files[path]
	}
	encoded, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encoding the build's input: %w", err)
	}
	binary[pipeline.InputFile] = encoded
	if err := checkSize(binary); err != nil {
		return nil, err
	}
	immutable := true
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: InputName(o.Build.Name), Namespace: o.Build.Namespace, Labels: job.Labels(o.Build)},
		Immutable:  &immutable,
		BinaryData: binary,
	}, nil
}

func checkSize(data map[string][]byte) error {
	total := 0
	for k, v := range data {
		total += len(k) + len(v)
	}
	if total > maxInput {
		return pipeline.Terminalf(pipeline.ReasonSourceTooLarge, "spec.source: Dockerfile, files and registries.caBundle have %d bytes together, a ConfigMap holds %d: use a git source", total, maxInput)
	}
	return nil
}
