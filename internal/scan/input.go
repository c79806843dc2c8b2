package scan

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// InputOptions are what the input of a scan is made of.
type InputOptions struct {
	Build *v1alpha1.BaseImageBuild
	// Images are digests of the platforms' manifests, by platform.
	Images map[string]string
	// TrivyDatabase and GrypeDatabase are where the databases come from.
	TrivyDatabase, GrypeDatabase string
	// CABundle in PEM, may be empty.
	CABundle string
	// PrivateHosts may resolve to private addresses.
	PrivateHosts []string
	// TokenHosts may see the credentials of their registry.
	TokenHosts []pipeline.TokenHost
	// Limits of what the worker reads.
	Limits limits.Limits
}

// Input makes the ConfigMap that the worker reads. It is immutable: a scan never changes under a running pod.
func Input(o InputOptions) (*corev1.ConfigMap, error) {
	encoded, err := json.Marshal(pipeline.WorkerInput{
		SourceTime:   o.Build.Spec.SourceTime.UTC(),
		Repository:   o.Build.Spec.Output.Repository,
		PrivateHosts: o.PrivateHosts,
		TokenHosts:   o.TokenHosts,
		Scan:         &pipeline.ScanInput{Images: o.Images, TrivyDatabase: o.TrivyDatabase, GrypeDatabase: o.GrypeDatabase},
		Limits:       o.Limits,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the input of the scan: %w", err)
	}
	data := map[string][]byte{pipeline.InputFile: encoded}
	if o.CABundle != "" {
		data[pipeline.CAFile] = []byte(o.CABundle)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: InputName(o.Build.Name), Namespace: o.Build.Namespace, Labels: labelsOf(job.Labels(o.Build))},
		Immutable:  new(true),
		BinaryData: data,
	}, nil
}
