// Package workload finds the images of pods, and of what makes pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob and
// ReplicationController.
//
// One iterator yields them all, with the field for people and the pointer for patches: those of init, regular and ephemeral
// containers and of image volumes. A test walks the types of Kubernetes and fails if there is another place for an image.
// Nothing of an object makes it skip one.
package workload

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Object is a pod, or something that makes pods of a template.
type Object struct {
	// Kind of the object, such as Pod or Deployment.
	Kind string
	// Meta is that of the pod or of the template.
	Meta *metav1.ObjectMeta
	// Owner is the metadata of the object itself; of a pod, the same as Meta.
	Owner *metav1.ObjectMeta
	// Spec of the pod or of the template.
	Spec *corev1.PodSpec
	// Path of Spec in the object: spec, spec.template.spec or spec.jobTemplate.spec.template.spec.
	Path string
	// IsPod: this is what runs, and not a template for it.
	IsPod bool
}

// Kind is what an image is for. It is for people: nothing is decided by it.
type Kind string

// What images are for.
const (
	InitContainer      Kind = "init container"
	Container          Kind = "container"
	EphemeralContainer Kind = "ephemeral container"
	ImageVolume        Kind = "image volume"
)

// Image is one use of an image.
type Image struct {
	// Field has the reference, such as spec.containers[1].image.
	Field string
	// Name of the container or volume.
	Name string
	// Kind of use.
	Kind Kind
	// Reference as it stands in the object. It may be empty, or not a reference at all.
	Reference string
	// Pointer to the field (RFC 6901), such as /spec/containers/1/image.
	Pointer string
}
