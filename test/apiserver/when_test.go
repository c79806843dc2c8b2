//go:build apiserver

package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	buildjob "github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// promoted makes an image and builds it once.
func (o *operator) promoted(name string) *v1alpha1.BaseImage {
	o.t.Helper()
	image := o.image(name)
	for _, job := range o.awaitJobs(o.awaitBuildOf(image).Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	return image
}

// awaitAttempt waits for the n-th build of an image.
func (o *operator) awaitAttempt(image *v1alpha1.BaseImage, n int64) v1alpha1.BaseImageBuild {
	o.t.Helper()
	var found v1alpha1.BaseImageBuild
	o.await(fmt.Sprintf("attempt %d of %s", n, image.Name), func() (bool, string) {
		var looks []string
		for _, b := range o.buildsOf(image) {
			looks = append(looks, b.Name+" "+string(b.Status.Phase))
			if b.Spec.Attempt == n {
				found = b
				return true, ""
			}
		}
		return false, strings.Join(looks, ", ")
	})
	return found
}

func (o *operator) buildsOf(image *v1alpha1.BaseImage) []v1alpha1.BaseImageBuild {
	return slices.DeleteFunc(o.builds(), func(b v1alpha1.BaseImageBuild) bool { return b.Spec.BaseImage != image.Name })
}

// awaitPhase waits for the phase of a build, and returns the build.
func (o *operator) awaitPhase(build v1alpha1.BaseImageBuild, phase v1alpha1.BuildPhase) v1alpha1.BaseImageBuild {
	o.t.Helper()
	o.await(build.Name+" to be "+string(phase), func() (bool, string) {
		if err := reread(o.t.Context(), &build); err != nil {
			return false, err.Error()
		}
		return build.Status.Phase == phase, fmt.Sprintf("%s: %+v", build.Status.Phase, build.Status.Conditions)
	})
	return build
}

// later moves the clock and has the operator look at an image.
func (o *operator) later(image *v1alpha1.BaseImage, d time.Duration) {
	o.t.Helper()
	o.clock.SetTime(o.clock.Now().Add(d))
	o.touch(image)
}

// settle makes another image and waits for its build: what the operator had to do before is then done.
func (o *operator) settle(marker string) {
	o.t.Helper()
	o.awaitJobs(o.awaitBuildOf(o.image(marker)).Name)
}

func TestANewCommitIsBuiltExactlyOnce(t *testing.T) {
	o := newOperator(t)
	image := o.promoted("polled")
	o.later(image, 5*time.Minute)
	o.settle("marker-1")
	if got := len(o.buildsOf(image)); got != 1 {
		t.Fatalf("%d builds without a new commit, want 1", got)
	}
	o.git.set(commitB, nil)
	o.later(image, 5*time.Minute)
	second := o.awaitAttempt(image, 2)
	if second.Spec.Reason != "SourceChanged" || second.Spec.Reasons[0].Old != commitA || second.Spec.Reasons[0].New != commitB {
		t.Errorf("the build is for %+v", second.Spec.Reasons)
	}
	for _, job := range o.awaitJobs(second.Name) {
		o.succeed(job)
	}
	o.awaitPhase(second, v1alpha1.PhaseSucceeded)
	for range 3 {
		o.later(image, 5*time.Minute)
	}
	o.settle("marker-2")
	if got := len(o.buildsOf(image)); got != 2 {
		t.Errorf("%d builds of one new commit, want 2", got)
	}
	o.awaitCondition(image, "Resolved", metav1.ConditionTrue, "Succeeded")
	if got := image.Status.LatestBuild.Because; got != "SourceChanged: aaaaaaaaaaaa is now bbbbbbbbbbbb" {
		t.Errorf("status.latestBuild.because = %q", got)
	}
}

func TestASourceThatGoesAwayLeavesTheImageReady(t *testing.T) {
	o := newOperator(t)
	image := o.promoted("away")
	o.git.set("", pipeline.Transientf(pipeline.ReasonSourceUnavailable, "git.example: connection refused"))
	o.later(image, 5*time.Minute)
	o.awaitCondition(image, "Resolved", metav1.ConditionFalse, pipeline.ReasonSourceUnavailable)
	if !meta.IsStatusConditionTrue(image.Status.Conditions, "Ready") {
		t.Errorf("the image that was promoted is not ready: %+v", image.Status.Conditions)
	}
	o.git.set(commitA, nil)
	o.later(image, 5*time.Minute)
	o.awaitCondition(image, "Resolved", metav1.ConditionTrue, "Succeeded")
	if got := len(o.buildsOf(image)); got != 1 {
		t.Errorf("%d builds, want 1", got)
	}
}

func TestNewerInputsCancelARunningBuild(t *testing.T) {
	o := newOperator(t)
	image := o.image("edited")
	first := o.awaitAttempt(image, 1)
	jobs := o.awaitJobs(first.Name)
	edit(o, image, "editing the spec", func(i *v1alpha1.BaseImage) {
		i.Spec.BuildArgs = []v1alpha1.BuildArg{{Name: "VERSION", Value: "2"}}
	})
	second := o.awaitAttempt(image, 2)
	if second.Spec.Supersedes != first.Name {
		t.Errorf("the second build supersedes %q, want %q", second.Spec.Supersedes, first.Name)
	}
	first = o.awaitPhase(first, v1alpha1.PhaseSuperseded)
	c := meta.FindStatusCondition(first.Status.Conditions, "Succeeded")
	if c.Reason != "Superseded" || !strings.Contains(c.Message, second.Name) || first.Status.CompletedAt == nil {
		t.Errorf("the first build says %+v", c)
	}
	o.await("the Jobs of the first build to be cancelled", func() (bool, string) {
		left := slices.DeleteFunc(o.jobs(), func(j batchv1.Job) bool {
			return j.Labels[buildjob.LabelBuild] != first.Name || !j.DeletionTimestamp.IsZero()
		})
		return len(left) == 0, fmt.Sprintf("%d of %d left", len(left), len(jobs))
	})
	for _, job := range o.awaitJobs(second.Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	if image.Status.Image.Build != second.Name {
		t.Errorf("%s was promoted, want %s", image.Status.Image.Build, second.Name)
	}
}

func TestBuildsWaitForTheirTurn(t *testing.T) {
	o := newOperator(t, func(o *operator) { o.config.Builds.MaxConcurrent = 1 })
	running := o.image("running")
	first := o.awaitBuildOf(running)
	jobs := o.awaitJobs(first.Name)
	waiting := map[string]v1alpha1.BaseImageBuild{}
	for _, name := range []string{"second", "third"} {
		image := o.image(name)
		waiting[name] = o.awaitPhase(o.awaitBuildOf(image), v1alpha1.PhaseQueued)
		o.awaitCondition(image, "Ready", metav1.ConditionFalse, "Queued")
	}
	for name, want := range map[string]int32{"second": 1, "third": 2} {
		build := waiting[name]
		if got := build.Status.QueuePosition; got == nil || *got != want {
			t.Errorf("%s is at place %v, want %d", name, got, want)
		}
		if build.Status.StartedAt != nil {
			t.Errorf("%s has started at %s", name, build.Status.StartedAt)
		}
	}
	o.stop()
	o.start() // A new leader knows who runs.
	for _, job := range jobs {
		o.succeed(job)
	}
	o.awaitPhase(first, v1alpha1.PhaseSucceeded)
	second := waiting["second"]
	o.awaitJobs(second.Name)
	if got := o.awaitPhase(second, v1alpha1.PhaseBuilding); got.Status.QueuePosition != nil || got.Status.StartedAt == nil {
		t.Errorf("the build that runs has %+v", got.Status)
	}
	third := waiting["third"]
	o.await("the third to be first in the queue", func() (bool, string) {
		o.check(reread(t.Context(), &third), "reading the third build")
		return third.Status.QueuePosition != nil && *third.Status.QueuePosition == 1, fmt.Sprintf("%+v", third.Status)
	})
	o.check(k8s.Delete(t.Context(), &second), "deleting the build that runs")
	o.awaitJobs(third.Name)
}

func TestTwoImagesCannotWriteOneTag(t *testing.T) {
	o := newOperator(t)
	holder := o.promoted("holder")
	rival := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "a-rival"}, Spec: *holder.Spec.DeepCopy()}
	// One tag in common is enough.
	rival.Spec.Output.Tags = []v1alpha1.Tag{"2", "latest"}
	o.check(k8s.Create(t.Context(), rival), "creating the rival")
	o.awaitCondition(rival, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonOutputConflict)
	message := meta.FindStatusCondition(rival.Status.Conditions, "Ready").Message
	for _, want := range []string{o.namespace + "/holder", o.namespace + "/a-rival", holder.Spec.Output.Repository + ":latest", "spec.output"} {
		if !strings.Contains(message, want) {
			t.Errorf("%q does not name %s", message, want)
		}
	}
	if got := o.buildsOf(rival); len(got) != 0 {
		t.Errorf("the rival has %d builds", len(got))
	}
	o.touch(holder)
	o.settle("marker")
	o.awaitCondition(holder, "Ready", metav1.ConditionTrue, "Promoted")
	o.check(k8s.Delete(t.Context(), holder), "deleting the holder")
	o.awaitJobs(o.awaitBuildOf(rival).Name)
}

func TestAnOldImageCannotTakeATagByBeingEdited(t *testing.T) {
	o := newOperator(t)
	old := o.promoted("old")
	victim := o.promoted("victim")
	edit(o, old, "taking the tag", func(i *v1alpha1.BaseImage) { i.Spec.Output = victim.Spec.Output })
	o.awaitCondition(old, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonOutputConflict)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.BuildRequestedAtAnnotation+`":"1"}}}`))
	o.check(k8s.Patch(t.Context(), victim, patch), "requesting a build")
	o.awaitAttempt(victim, 2)
	if got := len(o.buildsOf(old)); got != 1 {
		t.Errorf("the old image has %d builds, want 1", got)
	}
}

func TestAFailureThatMayPassIsAttemptedAgain(t *testing.T) {
	o := newOperator(t)
	image := o.image("unlucky")
	first := o.awaitAttempt(image, 1)
	o.fail(o.awaitJobs(first.Name)[0], kaniko.ContainerPush, `{"reason":"RegistryUnavailable","message":"503","transient":true}`)
	o.awaitCondition(image, "Reconciling", metav1.ConditionTrue, pipeline.ReasonRegistryUnavailable)
	ready := meta.FindStatusCondition(image.Status.Conditions, "Ready")
	if !strings.HasSuffix(ready.Message, "(retry 1 of 3 follows)") || image.Status.NextBuildReason != v1alpha1.BuildReasonRetried {
		t.Errorf("Ready says %q, the next build is for %s", ready.Message, image.Status.NextBuildReason)
	}
	o.later(image, 2*time.Minute)
	second := o.awaitAttempt(image, 2)
	if second.Spec.Reason != "Retried" || second.Spec.Retry != 1 || second.Spec.Reasons[0].Old != first.Name {
		t.Errorf("the second build is for %+v", second.Spec.Reasons)
	}
	o.fail(o.awaitJobs(second.Name)[0], kaniko.ContainerKaniko, "no such package")
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, "BuildFailed")
	o.later(image, 2*time.Hour)
	o.settle("marker")
	if got := len(o.buildsOf(image)); got != 2 {
		t.Errorf("a failure that only a change can mend was attempted again: %d builds", got)
	}
}

func TestAPushSecretThatWasMendedBuildsAgain(t *testing.T) {
	o := newOperator(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "push"},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{}}`)}}
	o.check(k8s.Create(t.Context(), secret), "creating the Secret")
	image := o.image("refused", pushingWithSecret)
	first := o.awaitAttempt(image, 1)
	o.fail(o.awaitJobs(first.Name)[0], kaniko.ContainerPush, `{"reason":"PushDenied","message":"401"}`)
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, pipeline.ReasonPushDenied)
	o.later(image, 5*time.Minute)
	o.settle("marker")
	if got := len(o.buildsOf(image)); got != 1 {
		t.Fatalf("%d builds with the Secret that was refused", got)
	}
	edit(o, secret, "mending the Secret", func(s *corev1.Secret) {
		s.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{"registry.example":{"auth":"YTpi"}}}`)
	})
	o.later(image, 5*time.Minute)
	if second := o.awaitAttempt(image, 2); second.Spec.Reason != "CredentialsChanged" {
		t.Errorf("the second build is for %s", second.Spec.Reason)
	}
}

func pushingWithSecret(i *v1alpha1.BaseImage) {
	i.Spec.Output.PushSecretRef = &v1alpha1.LocalReference{Name: "push"}
}

// pushSecret makes a push Secret with a password for the registry, or replaces the one that is there, whatever it says.
func (o *operator) pushSecret(password string) *corev1.Secret {
	o.t.Helper()
	config := fmt.Sprintf(`{"auths":{%q:{"username":"operator","password":%q}}}`, o.host, password)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "push"},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)}}
	err := k8s.Create(o.t.Context(), secret)
	if apierrors.IsAlreadyExists(err) {
		err = k8s.Update(o.t.Context(), secret)
	}
	o.check(err, "writing the push Secret")
	return secret
}

func TestAPushSecretThatIsRotatedWhileABuildRuns(t *testing.T) {
	for name, rotatedInTime := range map[string]bool{"before it is needed again": true, "too late": false} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t, func(o *operator) { o.password = "new" })
			o.pushSecret("old")
			image := o.image("rotated", pushingWithSecret)
			first := o.awaitAttempt(image, 1)
			jobs := o.awaitJobs(first.Name)
			if rotatedInTime {
				o.pushSecret("new")
			}
			for _, job := range jobs {
				o.succeed(job)
			}
			want := first.Name
			if !rotatedInTime {
				o.awaitPhase(first, v1alpha1.PhaseFailed)
				o.pushSecret("new")
				o.later(image, time.Minute)
				second := o.awaitAttempt(image, 2)
				if second.Spec.Reason != "CredentialsChanged" {
					t.Errorf("the second build is for %s", second.Spec.Reason)
				}
				for _, job := range o.awaitJobs(second.Name) {
					o.succeed(job)
				}
				want = second.Name
			}
			o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
			if image.Status.Image.Build != want {
				t.Errorf("%s was promoted, want %s", image.Status.Image.Build, want)
			}
		})
	}
}

func TestOnePlatformThatFailsFailsTheBuildAndIsNamed(t *testing.T) {
	o := newOperator(t)
	image := o.image("half")
	build := o.awaitAttempt(image, 1)
	for _, job := range o.awaitJobs(build.Name) {
		if job.Labels[buildjob.LabelArchitecture] == "amd64" {
			o.succeed(job)
		} else {
			o.fail(job, kaniko.ContainerKaniko, "no such package")
		}
	}
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, "BuildFailed")
	if message := meta.FindStatusCondition(image.Status.Conditions, "Ready").Message; !strings.Contains(message, "linux/arm64: container kaniko exited with 1: no such package") || strings.Contains(message, "linux/amd64") {
		t.Errorf("Ready says %q", message)
	}
	if image.Status.Image != nil {
		t.Errorf("%+v was promoted", image.Status.Image)
	}
}

func TestWhatTheClusterRefusesIsSaid(t *testing.T) {
	o := newOperator(t)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "no-jobs"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/jobs.batch": *zero()}}}
	o.check(k8s.Create(t.Context(), quota), "creating a quota")
	editStatus(o, quota, "playing the quota controller", func(q *corev1.ResourceQuota) {
		q.Status = corev1.ResourceQuotaStatus{Hard: q.Spec.Hard, Used: corev1.ResourceList{"count/jobs.batch": *zero()}}
	})
	o.awaitQuota()
	image := o.image("refused")
	o.awaitMessage(image, pipeline.ReasonQuotaExceeded, "exceeded quota: no-jobs", "count/jobs.batch", "raise it")
	o.awaitEvent(o.awaitBuildOf(image).Name, pipeline.ReasonQuotaExceeded)

	o.check(k8s.Delete(t.Context(), quota), "deleting the quota")
	jobs := o.awaitJobs(o.awaitBuildOf(image).Name)
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "refused"}, Type: "Warning", Reason: "FailedCreate",
		InvolvedObject: corev1.ObjectReference{Kind: "Job", APIVersion: "batch/v1", Namespace: o.namespace, Name: jobs[0].Name, UID: jobs[0].UID},
		Message:        `Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false`}
	o.check(k8s.Create(t.Context(), event), "playing the Job controller")
	o.awaitMessage(image, pipeline.ReasonPodRefused, "label pod-security.kubernetes.io/enforce", "restricted:latest", jobs[0].Name)
}

// awaitQuota waits until the apiserver refuses Jobs because of a quota, which it knows from a cache of its own.
func (o *operator) awaitQuota() {
	o.t.Helper()
	o.await("the quota to count", func() (bool, string) {
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, GenerateName: "one-too-many-"},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
				Containers: []corev1.Container{{Name: "c", Image: "image.example/image"}}}}}}
		err := k8s.Create(o.t.Context(), job, client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "exceeded quota"), fmt.Sprint(err)
	})
}

// awaitMessage waits until the build of an image is held up for a reason, in words that the image's Ready repeats.
func (o *operator) awaitMessage(image *v1alpha1.BaseImage, reason string, says ...string) {
	o.t.Helper()
	o.await(image.Name+" to be held up by "+reason, func() (bool, string) {
		o.check(reread(o.t.Context(), image), "reading the image")
		ready := meta.FindStatusCondition(image.Status.Conditions, "Ready")
		if ready == nil {
			return false, "no condition"
		}
		missing := slices.DeleteFunc(slices.Concat([]string{reason}, says), func(s string) bool { return strings.Contains(ready.Message, s) })
		return len(missing) == 0, fmt.Sprintf("%q lacks %q", ready.Message, missing)
	})
}

func TestTheQueueOfKueueIsPassedOnAndWaitedFor(t *testing.T) {
	o := newOperator(t)
	image := o.image("kueue", func(i *v1alpha1.BaseImage) {
		i.Labels = map[string]string{"kueue.x-k8s.io/queue-name": "builds", "team": "platform"}
	})
	build := o.awaitBuildOf(image)
	jobs := o.awaitJobs(build.Name)
	for i := range jobs {
		if got := jobs[i].Labels["kueue.x-k8s.io/queue-name"]; got != "builds" || jobs[i].Labels["team"] != "" {
			t.Errorf("Job %s has the labels %v", jobs[i].Name, jobs[i].Labels)
		}
		edit(o, &jobs[i], "suspending a Job, as Kueue does", suspended)
	}
	o.awaitMessage(image, "suspended")
	o.clock.SetTime(o.clock.Now().Add(5 * time.Hour)) // More than spec.timeout: waiting for Kueue does not count.
	for i := range jobs {
		edit(o, &jobs[i], "resuming a Job", resumed)
		editStatus(o, &jobs[i], "starting a Job", func(j *batchv1.Job) {
			j.Status.StartTime = new(metav1.NewTime(o.clock.Now()))
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionFalse, Reason: "JobResumed"}}
		})
	}
	o.awaitMessage(image, "is running")
}

func suspended(j *batchv1.Job) { j.Spec.Suspend = new(true) }

func resumed(j *batchv1.Job) { j.Spec.Suspend = new(false) }

func TestABuildThatNobodyDecidedIsRefused(t *testing.T) {
	o := newOperator(t)
	decided := o.awaitBuildOf(o.image("real"))
	forged := &v1alpha1.BaseImageBuild{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "forged", Labels: decided.Labels}, Spec: *decided.Spec.DeepCopy()}
	o.check(k8s.Create(t.Context(), forged), "making a build by hand")
	got := o.awaitPhase(*forged, v1alpha1.PhaseFailed)
	if c := meta.FindStatusCondition(got.Status.Conditions, "Succeeded"); c.Reason != v1alpha1.ReasonConflict || !strings.Contains(c.Message, "belongs to no BaseImage") {
		t.Errorf("the forged build says %+v", c)
	}
	for _, job := range o.jobs() {
		if job.Labels[buildjob.LabelBuild] == forged.Name {
			t.Errorf("Job %s was made for it", job.Name)
		}
	}
}

func TestDeletionDoesNotWaitForARegistryThatIsGone(t *testing.T) {
	o := newOperator(t)
	image := o.image("doomed", func(i *v1alpha1.BaseImage) { i.Spec.Output.Repository = "registry.invalid/base/doomed" })
	o.awaitBuildOf(image)
	o.check(k8s.Delete(t.Context(), image, client.PropagationPolicy(metav1.DeletePropagationBackground)), "deleting the image")
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(image), image); !apierrors.IsNotFound(err) {
		t.Errorf("the image is still there (%v): %v", err, image.Finalizers)
	}
}

func TestARunningBuildOutlivesSuspension(t *testing.T) {
	o := newOperator(t)
	image := o.image("paused")
	build := o.awaitBuildOf(image)
	jobs := o.awaitJobs(build.Name)
	edit(o, image, "suspending", func(i *v1alpha1.BaseImage) { i.Spec.Suspend = true })
	for _, job := range jobs {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	o.git.set(commitB, nil)
	o.later(image, 24*time.Hour)
	o.settle("marker")
	if got := len(o.buildsOf(image)); got != 1 {
		t.Errorf("%d builds of a suspended image, want 1", got)
	}
}

func zero() *resource.Quantity { return resource.NewQuantity(0, resource.DecimalSI) }

func TestABuildThatSomebodyHoldsBackLeavesItsSlotToOthers(t *testing.T) {
	o := newOperator(t, func(o *operator) { o.config.Builds.MaxConcurrent = 1 })
	held := o.image("held")
	jobs := o.awaitJobs(o.awaitBuildOf(held).Name)
	other := o.awaitPhase(o.awaitBuildOf(o.image("other")), v1alpha1.PhaseQueued)
	for i := range jobs {
		edit(o, &jobs[i], "suspending a Job", suspended)
	}
	o.awaitJobs(other.Name)
	for i := range jobs {
		edit(o, &jobs[i], "resuming a Job", resumed)
	}
	o.awaitMessage(held, "is running")
}

func TestABuildThatCannotBeDeletedDoesNotHoldUpItsImage(t *testing.T) {
	o := newOperator(t)
	image := o.image("stuck")
	first := o.awaitBuildOf(image)
	o.awaitJobs(first.Name)
	o.check(k8s.Patch(t.Context(), &first, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":["example.com/forever"]}}`))), "adding a finalizer")
	o.check(k8s.Delete(t.Context(), &first), "deleting the build")
	second := o.awaitAttempt(image, 2)
	if second.Spec.Reason != "BuildDeleted" {
		t.Errorf("the second build is for %s", second.Spec.Reason)
	}
	for _, job := range o.awaitJobs(second.Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	o.check(k8s.Patch(t.Context(), &first, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))), "letting it go")
}

// awaitEvent waits for a Warning about an object.
func (o *operator) awaitEvent(name, reason string) {
	o.t.Helper()
	o.await("an event "+reason+" of "+name, func() (bool, string) {
		list := &eventsv1.EventList{}
		o.check(k8s.List(o.t.Context(), list, client.InNamespace(o.namespace)), "listing events")
		var seen []string
		for _, e := range list.Items {
			seen = append(seen, e.Regarding.Name+": "+e.Type+" "+e.Reason)
			if e.Regarding.Name == name && e.Reason == reason && e.Type == corev1.EventTypeWarning {
				return true, ""
			}
		}
		return false, strings.Join(seen, ", ")
	})
}
