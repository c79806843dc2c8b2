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

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/hack/publish"
	buildjob "github.com/ibshafique/base-images/internal/job"
)

const copyOnly = "FROM " + alpine + " AS certificates\n" +
	"FROM scratch\n" +
	"COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"

// TestSameInputsGiveTheSameDigest builds a COPY-only image twice.
func TestSameInputsGiveTheSameDigest(t *testing.T) {
	image := inline(newNamespace(t), "twice", copyOnly)
	create(t, image)
	first := awaitReady(t, image)
	request(t, image, "again")
	second := awaitReady(t, image)
	if second.Status.LatestBuild.Attempt != 2 || second.Status.LatestBuild.Reason != "Requested" {
		t.Errorf("the second build is %+v", second.Status.LatestBuild)
	}
	if first.Status.Image.Digest != second.Status.Image.Digest {
		t.Errorf("digests differ: %s, then %s", first.Status.Image.Digest, second.Status.Image.Digest)
	}
}

// TestRunOnBothPlatforms executes RUN on both platforms, and has it look for anything worth stealing.
func TestRunOnBothPlatforms(t *testing.T) {
	image := inline(newNamespace(t), "run", "FROM "+alpine+" AS build\n"+
		"ARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\n"+
		"RUN mkdir /out && echo \"$TARGETPLATFORM $TARGETOS $TARGETARCH $(uname -m)\" > /out/platform\n"+
		"RUN test ! -e /var/run/secrets/kubernetes.io && test ! -e /push-credentials && test ! -e /input && test ! -e /kaniko/.docker/config.json\n"+
		"RUN ! env | grep -iE 'token|password|secret'\n"+
		"RUN chown 65532:65532 /out/platform && chmod 0400 /out/platform\n"+
		"FROM scratch\nCOPY --from=build /bin/busybox /bin/busybox\nCOPY --from=build /out/platform /platform\n"+
		"ENTRYPOINT [\"/bin/busybox\", \"cat\", \"/platform\"]\n")
	if !emulated(t) {
		t.Log("this kernel has no binfmt_misc: only linux/amd64 is built, because RUN can't run for linux/arm64")
		image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
	}
	create(t, image)
	ready := awaitReady(t, image)
	want := map[string]string{"linux/amd64": "linux/amd64 linux amd64 x86_64", "linux/arm64": "linux/arm64 linux arm64 aarch64"}
	for _, p := range ready.Status.Image.Platforms {
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = image.Namespace, "run-"+strings.TrimPrefix(p.Platform, "linux/")
		pod.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "image", Image: image.Spec.Output.Repository + "@" + p.Digest, SecurityContext: restricted()}}}
		create(t, pod)
		eventually(t, buildTimeout, "pod "+pod.Name+" to succeed", func(ctx context.Context) (bool, string) {
			err := k8s.Get(ctx, client.ObjectKeyFromObject(pod), pod)
			return err == nil && pod.Status.Phase == corev1.PodSucceeded, fmt.Sprint(err, pod.Status)
		})
		if got := strings.TrimSpace(podLog(t, pod, "image")); got != want[p.Platform] {
			t.Errorf("%s says %q, want %q", p.Platform, got, want[p.Platform])
		}
	}
}

// ownRepository has this project's Dockerfile with what one of its images needs: programs are large for a git repository.
func ownRepository(t *testing.T, program string, programs ...string) *v1alpha1.GitSource {
	t.Helper()
	dir := t.TempDir()
	for _, file := range append(programs, "Dockerfile", "images/base/scratch-plus/passwd", "images/base/scratch-plus/group") {
		raw, err := os.ReadFile(filepath.Join(checkout, file))
		if err != nil {
			t.Fatalf("run make binaries first: %v", err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	url, _, err := publish.FS(t.Context(), checkout, "e2e-own-"+program, "src", dir)
	if err != nil {
		t.Fatal(err)
	}
	return &v1alpha1.GitSource{URL: url, Path: "src"}
}

// TestOwnDockerfile has the operator build its own image from this project's Dockerfile, and runs it.
func TestOwnDockerfile(t *testing.T) {
	ns := newNamespace(t)
	for program, says := range map[string]string{"operator": "-leader-elect", "worker": "usage: worker fetch|install-probe"} {
		image := inline(ns, program, "")
		image.Spec.Target = program
		if program == "operator" {
			image.Spec.Source = v1alpha1.Source{Git: ownRepository(t, program, "bin/linux-amd64/operator")}
			image.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
		} else {
			image.Spec.Source = v1alpha1.Source{Git: ownRepository(t, program, "bin/linux-amd64/worker", "bin/linux-arm64/worker", "bin/linux-amd64/probe.gz", "bin/linux-arm64/probe.gz")}
		}
		create(t, image)
		ready := awaitReady(t, image)
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = ns, program
		pod.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true)}, // The image names a numeric user.
			Containers:      []corev1.Container{{Name: "image", Image: ready.Status.Image.Reference, SecurityContext: restricted()}}}
		if program == "operator" {
			pod.Spec.Containers[0].Args = []string{"--help"}
		}
		create(t, pod)
		eventually(t, buildTimeout, "pod "+program+" to end", func(ctx context.Context) (bool, string) {
			err := k8s.Get(ctx, client.ObjectKeyFromObject(pod), pod)
			return err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed), fmt.Sprint(err, pod.Status)
		})
		if log := podLog(t, pod, "image"); !strings.Contains(log, says) {
			t.Errorf("%s says %q, want %q in it", program, log, says)
		}
	}
}

// TestFailures shows what a person reads when a build can't succeed, and that no tag is made.
func TestFailures(t *testing.T) {
	ns := newNamespace(t)
	amd64 := standIn(t, "amd64")
	tests := map[string]struct {
		image  *v1alpha1.BaseImage
		change func(*v1alpha1.BaseImage)
		reason string
		says   []string
	}{
		"an amd64 program in the arm64 image is refused": {
			image:  inline(ns, "wrong-machine", "FROM "+amd64+" AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /bin/busybox\n"),
			reason: "WrongArchitecture", says: []string{"linux/arm64", "bin/busybox"}},
		"a failing RUN shows the end of its log": {
			image:  inline(ns, "run-fails", "FROM "+alpine+"\nRUN echo nothing to be found here >&2; exit 3\n"),
			reason: "BuildFailed", says: []string{"container kaniko exited with 3", "nothing to be found here"}},
		"a base image that does not exist is named": {
			image:  inline(ns, "no-base", "FROM "+registryHost+"/mirror/no-such-image:1\n"),
			reason: "UpstreamNotFound", says: []string{registryHost + "/mirror/no-such-image:1"}},
		"a Dockerfile that can't be parsed names the line": {
			image:  inline(ns, "unparsable", "FROM "+alpine+"\nRUNN true\n"),
			reason: "DockerfileInvalid", says: []string{"line 2", "RUNN"}},
		"a push without credentials is denied": {
			image:  inline(ns, "no-credentials", copyOnly),
			change: func(i *v1alpha1.BaseImage) { i.Spec.Output.PushSecretRef = nil },
			reason: "PushDenied", says: []string{"push"}},
		"a reference without digest is refused where the policy asks for one": {
			image:  inline(ns, "unpinned", copyOnly),
			change: func(i *v1alpha1.BaseImage) { i.Spec.Upstream.Refresh = v1alpha1.RefreshNever },
			reason: "UpstreamUnpinned", says: []string{alpine}},
		"a schedule that can't be read is named": {
			image:  inline(ns, "no-schedule", copyOnly),
			change: func(i *v1alpha1.BaseImage) { i.Spec.Schedule = "every now and then" },
			reason: "ScheduleInvalid", says: []string{"spec.schedule", "every now and then"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.change != nil {
				tc.change(tc.image)
			}
			create(t, tc.image)
			ready := awaitStalled(t, tc.image)
			t.Logf("%s: %s", ready.Reason, ready.Message)
			if ready.Reason != tc.reason {
				t.Errorf("reason = %s, want %s", ready.Reason, tc.reason)
			}
			for _, want := range tc.says {
				if !strings.Contains(ready.Message, want) {
					t.Errorf("the message does not say %q", want)
				}
			}
			if out := run(t, nil, kubectl, "get", "baseimage", "--namespace="+ns, tc.image.Name, "-o", "jsonpath={.status.image}"); out != "" {
				t.Errorf("an image was promoted: %s", out)
			}
		})
	}
}

// TestOperatorKilledMidBuild kills the operator's pod again and again while a build runs: the result is that of an
// undisturbed build, and no Job is made twice.
func TestOperatorKilledMidBuild(t *testing.T) {
	url, _, err := publish.Directory(t.Context(), checkout, "e2e-killed", "images")
	if err != nil {
		t.Fatal(err)
	}
	ns := newNamespace(t)
	newImage := func(name string) *v1alpha1.BaseImage {
		image := inline(ns, name, "")
		image.Spec.Source = v1alpha1.Source{Git: &v1alpha1.GitSource{URL: url, Ref: "main", Path: "images/base/scratch-plus"}}
		return image
	}
	undisturbed := newImage("undisturbed")
	create(t, undisturbed)
	want := awaitReady(t, undisturbed).Status.Image

	image := newImage("disturbed")
	create(t, image)
	killOperator(t) // Before, or just after, it has seen the image.
	jobs := awaitJobs(t, image)
	killOperator(t) // While Kaniko runs.
	eventually(t, buildTimeout, "the Jobs to end without an operator that saw them start", func(ctx context.Context) (bool, string) {
		now := buildJobsOf(ctx, t, image)
		ended := !slices.ContainsFunc(now, func(j batchv1.Job) bool { return !buildjob.Ended(&j) })
		return ended, fmt.Sprintf("%d Jobs", len(now))
	})
	killOperator(t) // While the index is made or promoted, or just after.

	got := awaitReady(t, image)
	if got.Status.Image.Digest != want.Digest {
		t.Errorf("digest = %s, an undisturbed build gives %s", got.Status.Image.Digest, want.Digest)
	}
	if got.Status.LatestBuild.Attempt != 1 {
		t.Errorf("it took %d builds, want 1", got.Status.LatestBuild.Attempt)
	}
	after := uids(buildJobsOf(t.Context(), t, image))
	if !slices.Equal(after, uids(jobs)) {
		t.Errorf("Jobs = %v, at first they were %v", after, uids(jobs))
	}
}

func awaitJobs(t *testing.T, image *v1alpha1.BaseImage) []batchv1.Job {
	t.Helper()
	var jobs []batchv1.Job
	eventually(t, buildTimeout, "two Jobs of "+image.Name, func(ctx context.Context) (bool, string) {
		jobs = buildJobsOf(ctx, t, image)
		return len(jobs) == 2, fmt.Sprintf("%d Jobs", len(jobs))
	})
	return jobs
}

func jobsOf(ctx context.Context, t *testing.T, image *v1alpha1.BaseImage) []batchv1.Job {
	t.Helper()
	list := &batchv1.JobList{}
	if err := k8s.List(ctx, list, client.InNamespace(image.Namespace), client.MatchingLabels{buildjob.LabelBaseImage: image.Name}); err != nil {
		t.Fatalf("listing Jobs: %v", err)
	}
	return list.Items
}

// buildJobsOf are the Jobs that build platforms.
func buildJobsOf(ctx context.Context, t *testing.T, image *v1alpha1.BaseImage) []batchv1.Job {
	t.Helper()
	return slices.DeleteFunc(jobsOf(ctx, t, image), func(j batchv1.Job) bool { return j.Labels[buildjob.LabelJob] != "" })
}

func uids(jobs []batchv1.Job) []types.UID {
	var all []types.UID
	for _, j := range jobs {
		all = append(all, j.UID)
	}
	slices.Sort(all)
	return all
}

// killOperator kills the operator's pods without a chance to tidy up, and waits for the next one.
func killOperator(t *testing.T) {
	t.Helper()
	start := time.Now()
	run(t, nil, kubectl, "--namespace=basewright-system", "delete", "pod", "--force", "--grace-period=0",
		"--selector=app.kubernetes.io/component=operator")
	run(t, nil, kubectl, "--namespace=basewright-system", "rollout", "status", "deployment/basewright-operator", "--timeout=5m")
	t.Logf("killed the operator; the next one was up after %s", time.Since(start).Round(time.Millisecond))
}
