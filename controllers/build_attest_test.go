package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func TestOnlyStatementsOfTheSameImageAreReplaced(t *testing.T) {
	attested := func(name string, digests ...string) *v1alpha1.BaseImage {
		image := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: "team-" + name, Name: name, UID: types.UID(name)}}
		image.Status.Image = &v1alpha1.PromotedImage{Signature: &v1alpha1.ImageSignature{}}
		for _, d := range digests {
			image.Status.Image.Signature.Attestations = append(image.Status.Image.Signature.Attestations, v1alpha1.AttestationReference{Digest: d})
		}
		return image
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	unsigned := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "unsigned", UID: "unsigned"}}
	for desc, tt := range map[string]struct {
		owner types.UID
		want  []string
	}{
		"its own, but not what another one has too": {"mine", []string{"provenance", "scan"}},
		"nothing of an image that was never signed": {"unsigned", nil},
		"nothing of an image that is gone":          {"gone", nil},
	} {
		t.Run(desc, func(t *testing.T) {
			c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(attested("mine", "provenance", "scan", "sbom"), attested("theirs", "sbom", "other"), unsigned.DeepCopy()).Build()
			build := &v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: tt.owner, Controller: new(true)}}}}
			got, err := (&buildRun{BuildReconciler: &BuildReconciler{Client: c}, build: build}).replaced(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
