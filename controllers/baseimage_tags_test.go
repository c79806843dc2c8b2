package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

func TestATagHasOneNameHoweverItIsSpelt(t *testing.T) {
	for _, spelling := range []string{"ghcr.io/base/one", "GHCR.io/base/one", "ghcr.io./base/one", "ghcr.io:443/base/one", "ghcr.io:0443/base/one"} {
		image := &v1alpha1.BaseImage{Spec: v1alpha1.BaseImageSpec{Output: v1alpha1.Output{Repository: spelling, Tags: []v1alpha1.Tag{"1"}}}}
		if got := tagsOf(image); len(got) != 1 || got[0] != "ghcr.io/base/one:1" {
			t.Errorf("%s writes %v", spelling, got)
		}
	}
}

func TestWhoHasATag(t *testing.T) {
	const tag = "registry.example/base/one:latest"
	image := func(name string, age time.Duration, published ...string) *v1alpha1.BaseImage {
		i := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: "images", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_000_000, 0).Add(-age))}}
		if len(published) > 0 {
			i.Status.Image = &v1alpha1.PromotedImage{Repository: published[0]}
			for _, tag := range published[1:] {
				i.Status.Image.Tags = append(i.Status.Image.Tags, v1alpha1.Tag(tag))
			}
		}
		return i
	}
	tests := map[string]struct{ has, other *v1alpha1.BaseImage }{
		"the one that has published it, however young":       {image("a", 0, "registry.example/base/one", "latest"), image("b", time.Hour, "registry.example/base/two", "latest")},
		"the one that has published it by another spelling":  {image("a", 0, "Registry.example:443/base/one", "latest"), image("b", time.Hour)},
		"the one that publishes to the repository":           {image("a", 0, "registry.example/base/one", "1"), image("b", time.Hour)},
		"the one that publishes there, not elsewhere":        {image("a", 0, "registry.example/base/one", "1"), image("b", time.Hour, "registry.example/base/ones", "latest")},
		"one that is in use before one that has never built": {image("a", 0, "registry.example/base/two", "1"), image("b", time.Hour)},
		"the older of two that are new":                      {image("b", time.Hour), image("a", 0)},
		"the older of two that have published it":            {image("b", time.Hour, "registry.example/base/one", "latest"), image("a", 0, "registry.example/base/one", "latest")},
		"the first by name of two of the same second":        {image("a", 0), image("b", 0)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if !comesFirst(tc.has, tc.other, tag) || comesFirst(tc.other, tc.has, tag) {
				t.Errorf("%s does not come before %s", tc.has.Name, tc.other.Name)
			}
		})
	}
}
