package imagepolicy

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// ClusterAPIVersion of the ClusterImagePolicies that are read.
const ClusterAPIVersion = "policy.sigstore.dev/v1beta1"

// DecodeCluster reads a ClusterImagePolicy. A field that its types don't know makes an error: it would be ignored, whatever it asks for.
// The object has as much as could be read, its images at least if they could.
func DecodeCluster(raw []byte) (*v1beta1.ClusterImagePolicy, error) {
	type document struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            json.RawMessage   `json:"spec"`
	}
	d := document{}
	if err := json.Unmarshal(raw, &d); err != nil {
		return &v1beta1.ClusterImagePolicy{}, undecodable(err)
	}
	o := &v1beta1.ClusterImagePolicy{TypeMeta: d.TypeMeta, ObjectMeta: d.Metadata}
	strict := json.NewDecoder(bytes.NewReader(d.Spec))
	strict.DisallowUnknownFields()
	err := strict.Decode(&o.Spec)
	if err == nil {
		return o, nil
	}
	images := struct{ Images []v1beta1.ImagePattern }{}
	if json.Unmarshal(d.Spec, &images) == nil {
		o.Spec = v1beta1.ClusterImagePolicySpec{Images: images.Images}
	}
	return o, undecodable(err)
}

func undecodable(err error) error {
	return &pipeline.Terminal{Reason: pipeline.ReasonPolicyUnsupported, Err: fmt.Errorf("spec: not supported: %s", truncate(oneLine(err.Error()), maxProblem))}
}
