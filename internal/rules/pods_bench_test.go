package rules_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/internal/rules"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func conforming() corev1.Container {
	return corev1.Container{
		Name:  "app",
		Image: "registry.example/app@sha256:0",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}},
		Ports:         []corev1.ContainerPort{{ContainerPort: 8080}},
		LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			ReadOnlyRootFilesystem:   new(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// question is about a pod in which nothing is wrong.
func question(containers int) rules.PodQuestion {
	spec := &corev1.PodSpec{
		AutomountServiceAccountToken: new(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	images := map[string]rules.ImageFacts{}
	for i := range containers {
		spec.Containers = append(spec.Containers, conforming())
		images["spec.containers["+string(rune('0'+i))+"].image"] = facts()
	}
	return rules.PodQuestion{
		Spec: spec, Meta: &metav1.ObjectMeta{Name: "app", Labels: map[string]string{"app": "app"}}, Path: "spec", Kind: "Pod", Namespace: "team",
		Images: images, Profile: "Restricted", Version: "1.37", Now: now,
		Parameters: rules.PodParameters{
			Users: []rules.UserRange{{Min: 65532, Max: 65532}}, ReadOnlyRootFilesystem: true, ServiceAccountToken: "Explicit",
			RequiredLimits: []string{"cpu", "memory"}, NoImageShells: true, ImageLabels: []string{"org.opencontainers.image.source"}, ImageMaxAge: 30 * 24 * time.Hour,
		},
	}
}

func facts() rules.ImageFacts {
	return rules.ImageFacts{
		Known: true, User: "65532:65532", SignedAt: now.Add(-24 * time.Hour), Shells: rules.ShellsNone,
		Labels: map[string]string{"org.opencontainers.image.source": "https://example.com"},
	}
}

func BenchmarkPods(b *testing.B) {
	defaults := question(3)
	defaults.Parameters = rules.PodParameters{Users: defaults.Parameters.Users, ReadOnlyRootFilesystem: true, ServiceAccountToken: "Explicit"}
	bad := question(3)
	bad.Spec.SecurityContext = nil
	for i := range bad.Spec.Containers {
		bad.Spec.Containers[i].SecurityContext = nil
	}
	for name, q := range map[string]rules.PodQuestion{"3 containers": question(3), "3 containers with default parameters": defaults, "9 containers": question(9), "3 containers with findings": bad} {
		b.Run(name, func(b *testing.B) {
			p, err := rules.CompilePods(nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				found, err := p.Evaluate(b.Context(), q)
				if err != nil || (len(found) == 0) != (name != "3 containers with findings") {
					b.Fatal(found, err)
				}
			}
		})
	}
}
