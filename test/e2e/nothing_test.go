//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const (
	metadataURL = "http://169.254.169.254/latest/meta-data/iam/security-credentials/sandbox-node"
	// metadataToken is what the stand-in gives away.
	metadataToken = "sandbox-metadata-token"
)

// TestABuildFindsNothingToSteal has a Dockerfile look for whatever could be used to sign, to push or to talk to the cluster
// or the cloud. Its build fails at the first thing that it finds.
func TestABuildFindsNothingToSteal(t *testing.T) {
	ns := newNamespace(t)
	anyPodReachesTheMetadataService(t, ns)
	image := inline(ns, "thief", "FROM "+alpine+" AS thief\n"+
		"RUN test ! -e /var/run/secrets && test ! -e /run/secrets && test ! -e /push-credentials && test ! -e /git-credentials && test ! -e /input\n"+
		"RUN test ! -e /kaniko/.docker/config.json && test ! -e /root/.docker\n"+
		"RUN ! cat /proc/*/environ | tr '\\0' '\\n' | grep -v ^DOCKER_CREDENTIAL_GCR_CONFIG= | grep -iE 'token|password|secret|credential|sigstore'\n"+
		"RUN ! grep -rlE 'eyJ[h]bGciOi|BEGIN .*PRIVATE [K]EY' /workspace /tmp /etc /home /root 2>/dev/null\n"+
		"RUN ! grep -E 'kubernetes.io~(secret|projected)' /proc/mounts\n"+
		"RUN ! timeout 10 wget -q -O - "+metadataURL+"\n"+
		"RUN ! timeout 10 wget -q -O - http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token\n"+
		"FROM scratch\nCOPY --from=thief /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n")
	image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
	create(t, image)
	asked := metadataRequests(t)
	awaitReady(t, image)
	if now := metadataRequests(t); now != asked {
		t.Errorf("the metadata service was asked %d times meanwhile", now-asked)
	}
}

// anyPodReachesTheMetadataService makes sure that the test means something.
func anyPodReachesTheMetadataService(t *testing.T, namespace string) {
	t.Helper()
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name = namespace, "anybody"
	pod.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "ask", Image: standIn(t, "amd64"),
		Command: []string{"/bin/busybox", "wget", "-q", "-O", "-", metadataURL}}}}
	create(t, pod)
	eventually(t, buildTimeout, "pod anybody to end", func(ctx context.Context) (bool, string) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed), fmt.Sprint(err, pod.Status)
	})
	if log := podLog(t, pod, "ask"); !strings.Contains(log, metadataToken) {
		t.Fatalf("an ordinary pod does not reach the metadata service, which says nothing of builds: %s", log)
	}
}

func metadataRequests(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "logs", "metadata.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(raw), "\n")
}
