package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/config"
)

// defaults are those of an operator without any in its configuration.
func defaults() *config.Defaults { return &config.Default().Defaults }

func standard(image *v1alpha1.BaseImage) settings { return newSettings(&image.Spec, defaults()) }

func TestSettingsAreTheImagesOwnBeforeTheOperators(t *testing.T) {
	own := metav1.Duration{Duration: 7 * time.Minute}
	spec := v1alpha1.BaseImageSpec{Jitter: &own, StartingDeadline: &own, Timeout: &own, Retries: new(int32(0))}
	spec.Source.PollInterval, spec.Upstream.PollInterval = &own, &metav1.Duration{}
	d := own.Duration
	if got, want := newSettings(&spec, defaults()), (settings{jitter: d, startingDeadline: d, timeout: d, pollSource: d}); got != want {
		t.Errorf("settings = %+v, want %+v", got, want)
	}
	want := settings{jitter: 30 * time.Minute, startingDeadline: 24 * time.Hour, timeout: time.Hour, pollSource: 5 * time.Minute, pollUpstream: time.Hour, retries: 3}
	if got := newSettings(&v1alpha1.BaseImageSpec{}, defaults()); got != want {
		t.Errorf("settings = %+v, want the operator's %+v", got, want)
	}
	if got := newSettings(&v1alpha1.BaseImageSpec{Source: v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}}, defaults()); got.pollSource != 0 {
		t.Errorf("an inline source is polled every %s", got.pollSource)
	}
}

func TestPlatformsHaveTheOperatorsBuildPodsUnlessTheySayOtherwise(t *testing.T) {
	memory := func(s string) *corev1.ResourceRequirements {
		return &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(s)}}
	}
	pods := &config.BuildPods{Resources: memory("2Gi"), NodeSelector: map[string]string{"pool": "builds"}, Tolerations: []corev1.Toleration{{Key: "builds"}}}
	spec := &v1alpha1.BaseImageSpec{Platforms: []v1alpha1.PlatformBuild{{Platform: "linux/amd64"},
		{Platform: "linux/arm64", Resources: memory("8Gi"), NodeSelector: map[string]string{"pool": "arm"}, Tolerations: []corev1.Toleration{{Key: "arm"}}}}}
	got := platformsOf(spec, pods)
	for i, want := range []struct{ memory, pool, key string }{{"2Gi", "builds", "builds"}, {"8Gi", "arm", "arm"}} {
		if p := got[i]; p.Resources.Limits.Memory().String() != want.memory || p.NodeSelector["pool"] != want.pool || p.Tolerations[0].Key != want.key {
			t.Errorf("platform %s = %+v, want %+v", p.Platform, p, want)
		}
	}
	if spec.Platforms[0].Resources != nil {
		t.Error("the spec was changed")
	}
}
