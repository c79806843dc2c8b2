//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/hack/publish"
)

// TestOtherKaniko builds with the other fork that is supported, through the setting that a platform team would
// change. It changes the operator for every image, so no other test runs beside it.
func TestOtherKaniko(t *testing.T) {
	demo := filepath.Join(checkout, "bin", "demo")
	t.Cleanup(func() {
		// Not t.Context, which has ended here.
		if out, err := runIn(checkout, demo, "install"); err != nil {
			t.Errorf("restoring the operator: %v\n%s", err, out)
		}
	})
	const fork = registryHost + "/sandbox/kaniko-chainguard:v1.25.6"
	run(t, []string{"KANIKO_IMAGE=" + fork}, demo, "install")
	url, commit, err := publish.Directory(t.Context(), checkout, "e2e-other-kaniko", "images")
	if err != nil {
		t.Fatal(err)
	}
	images := createBaseImages(t, newNamespace(t), url)
	for _, image := range images {
		checkIndex(t, awaitReady(t, image), url, commit)
	}
	for _, job := range buildJobsOf(t.Context(), t, images[0]) {
		if got := job.Spec.Template.Spec.InitContainers[1].Image; !strings.HasPrefix(got, fork) {
			t.Errorf("Job %s was built with %s", job.Name, got)
		}
	}
}
