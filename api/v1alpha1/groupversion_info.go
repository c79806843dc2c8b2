// Package v1alpha1 holds the kinds of the API group basewright.dev.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=basewright.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SchemeGroupVersion of every kind in this package.
var SchemeGroupVersion = schema.GroupVersion{Group: "basewright.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion, &BaseImage{}, &BaseImageList{}, &BaseImageBuild{}, &BaseImageBuildList{},
		&ImageAdmissionPolicy{}, &ImageAdmissionPolicyList{})
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
