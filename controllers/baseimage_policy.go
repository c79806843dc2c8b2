package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// gates are the parts of a spec by which a build is judged.
type gates struct {
	DockerfilePolicy v1alpha1.DockerfilePolicy `json:"dockerfilePolicy,omitzero"`
	Scan             v1alpha1.ScanPolicy       `json:"scan,omitzero"`
	Tests            v1alpha1.TestPolicy       `json:"tests,omitzero"`
}

// gatesDigest names what a spec asks of a build; empty if it leaves that to the defaults. As with specDigest, what it
// gives for a spec must never change.
func gatesDigest(spec *v1alpha1.BaseImageSpec) string {
	g := gates{DockerfilePolicy: spec.DockerfilePolicy, Scan: spec.Scan, Tests: spec.Tests}
	if equality.Semantic.DeepEqual(g, gates{}) {
		return ""
	}
	raw, err := json.Marshal(g)
	if err != nil {
		panic(fmt.Sprintf("encoding a spec: %v", err)) // Unreachable, as in specDigest.
	}
	return digestOf(raw)
}

// judgedBy are digests of the ConfigMaps that spec.dockerfilePolicy and spec.scan name; empty without any.
type judgedBy struct{ rules, vex string }

func (f fileReader) judgedBy(ctx context.Context, namespace string, policy *v1alpha1.DockerfilePolicy, scan *v1alpha1.ScanPolicy) (judgedBy, error) {
	rules, err := f.policyFiles(ctx, namespace, fieldExtraRules, policy.ExtraRules)
	if err != nil {
		return judgedBy{}, err
	}
	vex, err := f.policyFiles(ctx, namespace, fieldVEX, scan.VEXRef)
	return judgedBy{rules: filesDigest(rules), vex: filesDigest(vex)}, err
}

// Fields that name a ConfigMap by which a build is judged.
const (
	fieldExtraRules = "spec.dockerfilePolicy.extraRules.name"
	fieldVEX        = "spec.scan.vexRef.name"
)

// policyFiles reads the keys of such a ConfigMap; nil without a reference. field is for whoever has to mend it.
func (f fileReader) policyFiles(ctx context.Context, namespace, field string, ref *v1alpha1.LocalReference) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	cm := &corev1.ConfigMap{}
	err := f.live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, cm)
	if apierrors.IsNotFound(err) {
		return nil, pipeline.Retryablef(pipeline.ReasonPolicyNotFound, "%s: there is no ConfigMap %q in namespace %q: create it, or name another", field, ref.Name, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %s/%s: %w", namespace, ref.Name, err)
	}
	files := map[string][]byte{}
	for key, content := range cm.Data {
		files[key] = []byte(content)
	}
	maps.Copy(files, cm.BinaryData)
	return files, nil
}

// filesDigest names the content of a ConfigMap; empty for none.
func filesDigest(files map[string][]byte) string {
	if files == nil {
		return ""
	}
	return pipeline.InputDigest(files)
}
