//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/hack/publish"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

// polledOften is the shortest interval there is.
func polledOften() *metav1.Duration { return &metav1.Duration{Duration: time.Minute} }

// onlyAMD64 builds for one platform, which is enough where platforms are not what is tested.
func onlyAMD64(image *v1alpha1.BaseImage) *v1alpha1.BaseImage {
	image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
	return image
}

// fromGit publishes a context with one Dockerfile and makes an image of it.
func fromGit(t *testing.T, namespace, repository, content string) *v1alpha1.BaseImage {
	t.Helper()
	image := onlyAMD64(inline(namespace, "git", ""))
	image.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: publishFile(t, repository, content), Path: "context"}, PollInterval: polledOften()}
	return image
}

func publishFile(t *testing.T, repository, content string) (url string) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\n"+conforming+"# "+content+"\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd), 0o644))
	url, _, err := publish.FS(t.Context(), checkout, repository, "context", dir)
	must(t, err)
	return url
}

// awaitAttempt waits until an image is ready by its n-th build, and returns that build.
func awaitAttempt(t *testing.T, image *v1alpha1.BaseImage, n int64) v1alpha1.BaseImageBuild {
	t.Helper()
	ready := await(t, image, fmt.Sprintf("Ready by build %d", n), func(i *v1alpha1.BaseImage) bool {
		if c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
			t.Fatalf("%s failed instead: %s: %s", i.Name, c.Reason, c.Message)
		}
		return isReady(i) && i.Status.LatestBuild.Attempt == n
	})
	var build v1alpha1.BaseImageBuild
	must(t, k8s.Get(t.Context(), client.ObjectKey{Namespace: image.Namespace, Name: ready.Status.LatestBuild.Name}, &build))
	*image = *ready
	return build
}

// awaitHeld waits until an image is not ready for a reason, in words.
func awaitHeld(t *testing.T, image *v1alpha1.BaseImage, reason string, says ...string) {
	t.Helper()
	found := await(t, image, fmt.Sprintf("held up by %s, saying %q", reason, says), func(i *v1alpha1.BaseImage) bool {
		ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == reason && !slices.ContainsFunc(says, func(want string) bool { return !strings.Contains(ready.Message, want) })
	})
	t.Logf("%s: %s", reason, meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionReady).Message)
}

func TestANewCommitIsBuiltExactlyOnce(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	image := fromGit(t, ns, "e2e-commits", "one")
	create(t, image)
	awaitAttempt(t, image, 1)
	for n := int64(2); n <= 3; n++ {
		before := image.Status.Image
		publishFile(t, "e2e-commits", fmt.Sprint(n))
		build := awaitAttempt(t, image, n)
		if build.Spec.Reason != "SourceChanged" || build.Spec.Reasons[0].Old != before.Revision || build.Spec.Reasons[0].New != build.Spec.Inputs.Revision {
			t.Errorf("build %d is for %+v", n, build.Spec.Reasons)
		}
		if image.Status.Image.Digest == before.Digest {
			t.Errorf("build %d has the digest of the one before", n)
		}
	}
}

// moveTag has a tag point to an image for linux/amd64 that nobody has seen, and returns its digest.
func moveTag(t *testing.T, ref name.Tag, label string) string {
	t.Helper()
	from, err := name.ParseReference(standIn(t, "amd64"))
	must(t, err)
	base, err := remote.Image(from, registryOptions(t))
	must(t, err)
	img, err := mutate.Config(base, v1.Config{Labels: map[string]string{"label": label}})
	must(t, err)
	must(t, remote.Write(ref, img, registryOptions(t), remote.WithAuth(pusher(t))))
	digest, err := img.Digest()
	must(t, err)
	return digest.String()
}

// pusher may write to the registry.
func pusher(t *testing.T) authn.Authenticator {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "docker", "config.json"))
	must(t, err)
	keychain, err := registry.KeychainFromDockerConfig(raw)
	must(t, err)
	host, err := name.NewRegistry(registryHost)
	must(t, err)
	auth, err := keychain.Resolve(host)
	must(t, err)
	return auth
}

func TestANewUpstreamIsBuiltExactlyOnce(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	ref, err := name.NewTag(registryHost + "/" + ns + "/upstream:1")
	must(t, err)
	moveTag(t, ref, "1")
	image := onlyAMD64(inline(ns, "follows", "FROM "+ref.String()+"\n"))
	image.Spec.Upstream.PollInterval = polledOften()
	create(t, image)
	awaitAttempt(t, image, 1)
	for n := int64(2); n <= 3; n++ {
		digest := moveTag(t, ref, fmt.Sprint(n))
		build := awaitAttempt(t, image, n)
		if build.Spec.Reason != "UpstreamChanged" || build.Spec.Upstreams[0].Digest != digest {
			t.Errorf("build %d is for %s with %+v, want upstream %s", n, build.Spec.Reason, build.Spec.Upstreams, digest)
		}
	}
}

func TestAPrivateRepositoryIsReadWithItsSecret(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	image := fromGit(t, ns, "private-e2e", "secret sauce")
	create(t, image)
	awaitHeld(t, image, pipeline.ReasonSourceDenied, "spec.source.git.secretRef")
	token, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "git-token"))
	must(t, err)
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "git"}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"username": []byte("reader"), "password": []byte(strings.TrimSpace(string(token)))}})
	edit(t, image, func(i *v1alpha1.BaseImage) { i.Spec.Source.Git.SecretRef = &v1alpha1.LocalReference{Name: "git"} })
	awaitReady(t, image)
	for _, what := range []string{"baseimages", "baseimagebuilds", "jobs", "configmaps", "events"} {
		if out := run(t, nil, kubectl, "--namespace="+ns, "get", what, "-o", "yaml"); strings.Contains(out, strings.TrimSpace(string(token))) {
			t.Errorf("the token is in %s", what)
		}
	}
}

// edit changes an image, again if somebody else has changed it meanwhile.
func edit(t *testing.T, image *v1alpha1.BaseImage, change func(*v1alpha1.BaseImage)) {
	t.Helper()
	eventually(t, time.Minute, "the edit of "+image.Name, func(ctx context.Context) (bool, string) {
		now := &v1alpha1.BaseImage{}
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(image), now); err != nil {
			return false, err.Error()
		}
		change(now)
		if err := k8s.Update(ctx, now); err != nil {
			return false, err.Error()
		}
		*image = *now
		return true, ""
	})
}

func TestAnEditCancelsTheRunningBuild(t *testing.T) {
	t.Parallel()
	image := onlyAMD64(inline(newNamespace(t), "edited", "FROM "+alpine+"\nRUN sleep 3600\n"))
	create(t, image)
	awaitRunning(t, image, "kaniko")
	edit(t, image, func(i *v1alpha1.BaseImage) {
		i.Spec.Source.Inline.Dockerfile = "FROM scratch\nCOPY Dockerfile /\n" + conforming
	})
	second := awaitAttempt(t, image, 2)
	var first v1alpha1.BaseImageBuild
	must(t, k8s.Get(t.Context(), client.ObjectKey{Namespace: image.Namespace, Name: second.Spec.Supersedes}, &first))
	if first.Status.Phase != v1alpha1.PhaseSuperseded || image.Status.Image.Build != second.Name {
		t.Errorf("the first build is %s, %s was promoted", first.Status.Phase, image.Status.Image.Build)
	}
	eventually(t, buildTimeout, "the pod of the cancelled build to go", func(ctx context.Context) (bool, string) {
		pods := podsOf(ctx, t, image.Namespace)
		left := slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Labels["basewright.dev/build"] != first.Name })
		return len(left) == 0, fmt.Sprintf("%d pods", len(left))
	})
}

// awaitRunning waits until a container of a build pod runs, and returns the pod.
func awaitRunning(t *testing.T, image *v1alpha1.BaseImage, container string) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	eventually(t, buildTimeout, container+" of "+image.Name+" to run", func(ctx context.Context) (bool, string) {
		for _, pod := range podsOf(ctx, t, image.Namespace) {
			for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
				if s.Name == container && s.State.Running != nil {
					found = &pod
					return true, ""
				}
			}
		}
		return false, "it does not"
	})
	return found
}

func podsOf(ctx context.Context, t *testing.T, namespace string) []corev1.Pod {
	t.Helper()
	list := &corev1.PodList{}
	if err := k8s.List(ctx, list, client.InNamespace(namespace)); err != nil {
		t.Fatalf("listing pods: %v", err)
	}
	return list.Items
}

func TestTooLittleMemoryIsSaid(t *testing.T) {
	t.Parallel()
	// It asks for 4 GiB of memory at once and touches it.
	image := onlyAMD64(inline(newNamespace(t), "greedy", "FROM "+alpine+"\nRUN tail /dev/zero\n"))
	image.Spec.Platforms[0].Resources = &corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("192Mi")}}
	create(t, image)
	ready := awaitStalled(t, image)
	t.Logf("%s: %s", ready.Reason, ready.Message)
	if ready.Reason != pipeline.ReasonOutOfMemory || !strings.Contains(ready.Message, "spec.platforms[].resources.limits.memory") {
		t.Errorf("%s: %s", ready.Reason, ready.Message)
	}
}

func TestAnEvictedBuildIsAttemptedAgain(t *testing.T) {
	t.Parallel()
	image := onlyAMD64(inline(newNamespace(t), "evicted", "FROM "+alpine+"\nRUN sleep 10\n"))
	create(t, image)
	pod := awaitRunning(t, image, "kaniko")
	must(t, clientset.PolicyV1().Evictions(pod.Namespace).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}))
	awaitHeld(t, image, pipeline.ReasonPodEvicted, "(retry 1 of 3 follows)")
	if build := awaitAttempt(t, image, 2); build.Spec.Reason != "Retried" || build.Spec.Retry != 1 {
		t.Errorf("the second build is for %+v", build.Spec.Reasons)
	}
}

func TestARegistryThatGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	outage := func(repository string) (end func()) {
		_, err := sandbox("outage", repository, "begin")
		must(t, err)
		end = func() { _, _ = sandbox("outage", repository, "end") }
		t.Cleanup(end)
		return end
	}
	ref, err := name.NewTag(registryHost + "/" + ns + "/upstream:1")
	must(t, err)
	moveTag(t, ref, "1")
	image := onlyAMD64(inline(ns, "flaky", "FROM "+ref.String()+"\nRUN sleep 10\n"))
	backUpstream, backOutput := outage(ns+"/upstream"), outage(ns+"/flaky")
	create(t, image)
	awaitHeld(t, image, pipeline.ReasonRegistryUnavailable, ref.String())
	backUpstream()
	awaitHeld(t, image, pipeline.ReasonRegistryUnavailable, ns+"/flaky")
	backOutput()
	awaitRunning(t, image, "kaniko")
	backOutput = outage(ns + "/flaky")
	eventually(t, buildTimeout, "the push to meet the outage", func(ctx context.Context) (bool, string) {
		log := podLog(t, awaitRunning(t, image, "push"), "push")
		return strings.Contains(log, "try 2 of"), log
	})
	backOutput()
	awaitAttempt(t, image, 1)
}

func TestWhatTheClusterRefusesIsSaid(t *testing.T) {
	t.Parallel()
	t.Run("a quota of Jobs", func(t *testing.T) {
		t.Parallel()
		image, quota := refusedBy(t, "count/jobs.batch")
		awaitHeld(t, image, pipeline.ReasonQuotaExceeded, "exceeded quota: small", "count/jobs.batch")
		must(t, k8s.Delete(t.Context(), quota))
		awaitAttempt(t, image, 1)
	})
	t.Run("a quota of pods", func(t *testing.T) {
		t.Parallel()
		image, quota := refusedBy(t, "pods")
		awaitHeld(t, image, pipeline.ReasonQuotaExceeded, "exceeded quota: small", "pods=1")
		must(t, k8s.Delete(t.Context(), quota))
		awaitAttempt(t, image, 1)
	})
	t.Run("Pod Security", func(t *testing.T) {
		t.Parallel()
		ns := newNamespace(t)
		run(t, nil, kubectl, "label", "namespace", ns, "pod-security.kubernetes.io/enforce=restricted")
		image := onlyAMD64(inline(ns, "insecure", "FROM scratch\nCOPY Dockerfile /\n"))
		create(t, image)
		awaitHeld(t, image, pipeline.ReasonPodRefused, "pod-security.kubernetes.io/enforce", "restricted")
		run(t, nil, kubectl, "label", "--overwrite", "namespace", ns, "pod-security.kubernetes.io/enforce=baseline")
		awaitAttempt(t, image, 1)
	})
	t.Run("no node", func(t *testing.T) {
		t.Parallel()
		image := onlyAMD64(inline(newNamespace(t), "nowhere", "FROM scratch\nCOPY Dockerfile /\n"))
		image.Spec.Platforms[0].NodeSelector = map[string]string{"no-such": "node"}
		create(t, image)
		awaitHeld(t, image, pipeline.ReasonPodUnschedulable, "spec.platforms[]", "didn't match Pod's node affinity/selector")
		edit(t, image, func(i *v1alpha1.BaseImage) { i.Spec.Platforms[0].NodeSelector = nil })
		awaitAttempt(t, image, 2)
	})
}

// refusedBy is an image in a namespace with a quota that allows none of a resource.
func refusedBy(t *testing.T, counted corev1.ResourceName) (*v1alpha1.BaseImage, *corev1.ResourceQuota) {
	t.Helper()
	ns := newNamespace(t)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "small"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{counted: resource.MustParse("0")}}}
	create(t, quota)
	eventually(t, time.Minute, "the quota to be counted", func(ctx context.Context) (bool, string) {
		err := k8s.Get(ctx, client.ObjectKeyFromObject(quota), quota)
		return err == nil && len(quota.Status.Hard) > 0, fmt.Sprint(err, quota.Status)
	})
	image := onlyAMD64(inline(ns, "refused", "FROM scratch\nCOPY Dockerfile /\n"))
	create(t, image)
	return image, quota
}

func TestTwoImagesCannotWriteOneTag(t *testing.T) {
	t.Parallel()
	holder := onlyAMD64(inline(newNamespace(t), "holder", "FROM scratch\nCOPY Dockerfile /\n"))
	create(t, holder)
	awaitReady(t, holder)
	rival := onlyAMD64(inline(newNamespace(t), "rival", "FROM scratch\nCOPY Dockerfile /\n"))
	rival.Spec.Output = holder.Spec.Output
	create(t, rival)
	if ready := awaitStalled(t, rival); ready.Reason != v1alpha1.ReasonOutputConflict || !strings.Contains(ready.Message, holder.Namespace+"/holder") || !strings.Contains(ready.Message, rival.Namespace+"/rival") {
		t.Errorf("%s: %s", ready.Reason, ready.Message)
	}
}
