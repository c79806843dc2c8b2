package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BuildArg is one ARG of the Dockerfile.
type BuildArg struct {
	// name of the argument. TARGETPLATFORM, TARGETOS and TARGETARCH are always set by the operator.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['TARGETPLATFORM', 'TARGETOS', 'TARGETARCH'])",message="is set by the operator for each platform",reason=FieldValueForbidden
	Name string `json:"name"`

	// value of the argument. It is visible in the image's history: never a secret.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// PlatformBuild is a platform to build for, and how its pod is scheduled.
type PlatformBuild struct {
	// platform in OCI form. A node of another architecture builds it through emulation.
	//
	// +required
	// +kubebuilder:validation:Enum=linux/amd64;linux/arm64
	Platform string `json:"platform"`

	// nodeSelector of the build pod. Default: the operator's, any node unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// tolerations of the build pod. Default: the operator's, none unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// resources of the container that runs the Dockerfile. Default: the operator's, requests of 250m CPU and 512Mi
	// memory and a limit of 2Gi memory unless it is configured otherwise.
	//
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// Output says where an image is published.
type Output struct {
	// repository without tag or digest, with its registry: registry.example/team/image.
	//
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`
	// +kubebuilder:validation:XValidation:rule="self.split('/')[0].contains('.') || self.split('/')[0].contains(':') || self.split('/')[0] == 'localhost'",message="must start with a registry host, for example registry.example/team/image",reason=FieldValueInvalid
	Repository string `json:"repository"`

	// tags that move to the new index when everything has succeeded. Default: latest.
	//
	// +optional
	// +kubebuilder:default={"latest"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	Tags []Tag `json:"tags,omitempty"`

	// pushSecretRef names a Secret of type kubernetes.io/dockerconfigjson that may push to
	// repository. Default: push without credentials.
	//
	// +optional
	PushSecretRef *LocalReference `json:"pushSecretRef,omitempty"`
}

// Tag of an image (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests).
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._-]*$`
// +kubebuilder:validation:XValidation:rule="!self.matches('^sha256-[0-9a-f]{64}')",message="must not begin with sha256- and a digest: such tags hold signatures and attestations",reason=FieldValueInvalid
type Tag string

// RefreshPolicy says what a build does with the references in the Dockerfile.
//
// +kubebuilder:validation:Enum=Always;IfUnpinned;Never
type RefreshPolicy string

const (
	// RefreshAlways moves every reference with a tag, pinned or not, to what the tag says now.
	RefreshAlways RefreshPolicy = "Always"
	// RefreshIfUnpinned keeps pinned digests and resolves tags.
	RefreshIfUnpinned RefreshPolicy = "IfUnpinned"
	// RefreshNever refuses a reference without a digest.
	RefreshNever RefreshPolicy = "Never"
)

// UpstreamPolicy is about the external images of the Dockerfile: FROM and COPY --from.
type UpstreamPolicy struct {
	// refresh says which digest a build uses. Always: the one that the tag has now, also where
	// the Dockerfile pins tag@digest. IfUnpinned: the pinned one, else the tag's. Never:
	// the pinned one; a reference without digest is refused. Default: Always.
	//
	// +optional
	// +kubebuilder:default=Always
	Refresh RefreshPolicy `json:"refresh,omitempty"`

	// pollInterval is how often the registries are asked whether a tag that a build would use has another digest; 0s
	// turns that off. Default: the operator's, 1h unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && (duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('168h')))",message="must be 0s, or between 1m and 168h",reason=FieldValueInvalid
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
}
