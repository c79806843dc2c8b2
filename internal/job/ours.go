package job

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// madeFrom reports whether a pod has the label by which it is guarded, so that nobody but the Job controller can have made
// it, and runs the containers of a template on its volumes. What admission may add is ignored; nobody adds a container to
// debug a pod whose report is to be believed.
func madeFrom(template corev1.PodTemplateSpec, pod corev1.Pod) bool {
	return pod.Labels[LabelManagedBy] == template.Labels[LabelManagedBy] && sameSpec(template.Spec, pod.Spec)
}

func sameSpec(template, pod corev1.PodSpec) bool {
	return len(pod.EphemeralContainers) == 0 && sameContainers(template, template.InitContainers, pod.InitContainers) &&
		sameContainers(template, template.Containers, pod.Containers) &&
		!slices.ContainsFunc(template.Volumes, func(v corev1.Volume) bool {
			return !slices.ContainsFunc(pod.Volumes, func(p corev1.Volume) bool { return equality.Semantic.DeepEqual(v, p) })
		})
}

// sameContainers wants each of ours to be there, unchanged but for a digest that admission may pin, and no other
// container to see our volumes.
func sameContainers(template corev1.PodSpec, want, got []corev1.Container) bool {
	ours := 0
	for _, c := range got {
		i := slices.IndexFunc(want, func(w corev1.Container) bool { return w.Name == c.Name })
		switch {
		case i >= 0 && sameContainer(want[i], c):
			ours++
		case i >= 0 || mountsAny(c, template.Volumes):
			return false
		}
	}
	return ours == len(want)
}

func sameContainer(want, got corev1.Container) bool {
	pinned := got.Image == want.Image || strings.HasPrefix(got.Image, want.Image+"@")
	return pinned && slices.Equal(want.Command, got.Command) && slices.Equal(want.Args, got.Args) &&
		equality.Semantic.DeepEqual(want.Env, got.Env) && equality.Semantic.DeepEqual(want.VolumeMounts, got.VolumeMounts)
}

func mountsAny(c corev1.Container, volumes []corev1.Volume) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
	})
}
