package workload

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
)

const (
	// maxParts is the most containers and volumes of an object together.
	maxParts = 1024
	// maxValues is the most values of an object, whatever they are. It bounds memory before anything is decoded: a container that is
	// written as null has 4 bytes, and the struct for it 100 times as many. 16,384 of them take 34 MB; pods have hundreds of values.
	maxValues = 1 << 14
)

// owner is all that has a template for pods but CronJob. Each has more than this.
type owner struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

type cronJob struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		JobTemplate struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
	} `json:"spec"`
}

var decoders = map[metav1.GroupVersionKind]func([]byte) (*Object, error){
	{Version: "v1", Kind: "Pod"}:                        decodePod,
	{Version: "v1", Kind: "ReplicationController"}:      decodeOwner,
	{Group: "apps", Version: "v1", Kind: "Deployment"}:  decodeOwner,
	{Group: "apps", Version: "v1", Kind: "ReplicaSet"}:  decodeOwner,
	{Group: "apps", Version: "v1", Kind: "StatefulSet"}: decodeOwner,
	{Group: "apps", Version: "v1", Kind: "DaemonSet"}:   decodeOwner,
	{Group: "batch", Version: "v1", Kind: "Job"}:        decodeOwner,
	{Group: "batch", Version: "v1", Kind: "CronJob"}:    decodeCronJob,
}

// Decode reads an object of an admission request by the kind that the request says. That of the requests for the subresources
// ephemeralcontainers and resize of pods is Pod as well. Fields that the types do not have are no fault: a newer API server may
// send them. How many bytes raw may have is for the caller to say, who read them.
//
// It refuses kinds that it does not know, and objects without any container, which is what an object of another kind looks like.
func Decode(kind metav1.GroupVersionKind, raw []byte) (*Object, error) {
	decode, known := decoders[kind]
	if !known {
		return nil, fmt.Errorf("kind %q of %q has no pods that are known here: leave it out of the rules of the webhook", kind.Kind, metav1.GroupVersion{Group: kind.Group, Version: kind.Version})
	}
	if n := values(raw); n > maxValues {
		return nil, fmt.Errorf("the %s has %d values, and may have %d: make it smaller", kind.Kind, n, maxValues)
	}
	o, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("decoding the %s: %w", kind.Kind, err)
	}
	o.Kind = kind.Kind
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *Object) check() error {
	containers := len(o.Spec.InitContainers) + len(o.Spec.Containers) + len(o.Spec.EphemeralContainers)
	parts := containers + len(o.Spec.Volumes)
	switch {
	case containers == 0:
		return fmt.Errorf("%s.containers of the %s is empty: it needs a container", o.Path, o.Kind)
	case parts > maxParts:
		return fmt.Errorf("%s of the %s has %d containers and volumes, and may have %d: make it smaller", o.Path, o.Kind, parts, maxParts)
	}
	return nil
}

func decodePod(raw []byte) (*Object, error) {
	var p corev1.PodTemplateSpec // of a pod as well, but for its status
	err := json.Unmarshal(raw, &p)
	return &Object{Meta: &p.ObjectMeta, Owner: &p.ObjectMeta, Spec: &p.Spec, Path: "spec", IsPod: true}, err
}

func decodeOwner(raw []byte) (*Object, error) {
	var o owner
	err := json.Unmarshal(raw, &o)
	t := &o.Spec.Template
	return &Object{Meta: &t.ObjectMeta, Owner: &o.Metadata, Spec: &t.Spec, Path: "spec.template.spec"}, err
}

func decodeCronJob(raw []byte) (*Object, error) {
	var c cronJob
	err := json.Unmarshal(raw, &c)
	t := &c.Spec.JobTemplate.Spec.Template
	return &Object{Meta: &t.ObjectMeta, Owner: &c.Metadata, Spec: &t.Spec, Path: "spec.jobTemplate.spec.template.spec"}, err
}

// values counts the commas outside of strings, for there is one between any two values of a list or an object.
func values(raw []byte) int {
	if all := bytes.Count(raw, []byte{','}) + 1; all <= maxValues {
		return all // an upper bound, and quick
	}
	count, quoted := 1, false
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++ // only strings have it
		case ',':
			if !quoted {
				count++
			}
		}
	}
	return count
}
