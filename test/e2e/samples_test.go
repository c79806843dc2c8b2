//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/hack/publish"
)

// TestSamples applies every file of config/samples, with the sandbox's servers in place of those that don't exist, and
// waits until each BaseImage is Ready.
func TestSamples(t *testing.T) {
	url, _, err := publish.Directory(t.Context(), checkout, "e2e-samples", "images")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(checkout, "config", "samples", "baseimage_*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("config/samples has no samples (%v)", err)
	}
	ns := newNamespace(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			for _, image := range applySample(t, file, ns, url) {
				run(t, nil, kubectl, "wait", "--for=condition=Ready", "--timeout="+buildTimeout.String(), "--namespace="+ns, "baseimage/"+image.Name)
				ready := awaitReady(t, image)
				for _, tag := range image.Spec.Output.Tags {
					if got := pull(t, ready, tag).Digest.String(); got != ready.Status.Image.Digest {
						t.Errorf("tag %s is %s, status says %s", tag, got, ready.Status.Image.Digest)
					}
				}
			}
		})
	}
}

func applySample(t *testing.T, file, namespace, url string) []*v1alpha1.BaseImage {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var images []*v1alpha1.BaseImage
	for doc := range bytes.SplitSeq(raw, []byte("\n---\n")) {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch kind.Kind {
		case "ConfigMap":
			cm := &corev1.ConfigMap{}
			decode(t, file, doc, cm)
			cm.Namespace = namespace
			create(t, cm)
		case "BaseImage":
			image := &v1alpha1.BaseImage{}
			decode(t, file, doc, image)
			image.Namespace = namespace
			image.Spec.Output.Repository = registryHost + "/" + namespace + "/" + image.Name
			if image.Spec.Source.Git != nil {
				image.Spec.Source.Git.URL = url
			}
			create(t, image)
			images = append(images, image)
		default:
			t.Fatalf("%s has a %q: the test doesn't know what to await", file, kind.Kind)
		}
	}
	if len(images) == 0 {
		t.Fatalf("%s has no BaseImage", file)
	}
	return images
}

func decode(t *testing.T, file string, doc []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(doc, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestPolicySamples applies every policy of config/samples as it is, and waits until it is in force.
func TestPolicySamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(checkout, "config", "samples", "imageadmissionpolicy_*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("config/samples has no policies (%v)", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			run(t, nil, kubectl, "apply", "-f", file)
			t.Cleanup(func() {
				if out, err := runIn(checkout, kubectl, "delete", "--ignore-not-found", "-f", file); err != nil {
					t.Errorf("deleting a sample: %v\n%s", err, out)
				}
			})
			names := strings.FieldsSeq(run(t, nil, kubectl, "get", "-f", file, "-o", "jsonpath={range .items[*]}{.kind}/{.metadata.name} {end}{.kind}/{.metadata.name}"))
			for name := range names {
				if policy, is := strings.CutPrefix(name, "ImageAdmissionPolicy/"); is {
					awaitPolicy(t, &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: policy}})
				}
			}
		})
	}
}
