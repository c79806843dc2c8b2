//go:build apiserver

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	fakeregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/prometheus/client_golang/prometheus"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	buildjob "github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/kaniko"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/sigstoretest"
	"github.com/ibshafique/base-images/internal/source"
	"github.com/ibshafique/base-images/internal/upstream"
)

const (
	awaitTimeout = 30 * time.Second
	pollInterval = 50 * time.Millisecond
)

// fakeGit answers with a Dockerfile without external images, or with an error.
type fakeGit struct {
	mu     sync.Mutex
	commit string
	// dockerfile at every commit.
	dockerfile string
	err        error
	calls      int
}

func (g *fakeGit) ResolveGit(context.Context, source.Git, string) (pipeline.Revision, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls++
	return pipeline.Revision{ID: g.commit, Time: time.Unix(1_700_000_000, 0), Dockerfile: []byte(g.dockerfile)}, g.err
}

func (g *fakeGit) set(commit string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.commit, g.err = commit, err
}

const (
	someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

	commitA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	commitB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// operator is the operator in a namespace of its own, with a clock that the test moves, on a registry in this process. The
// test plays kubelet and Job controller, which an apiserver alone does not have.
type operator struct {
	t         *testing.T
	namespace string
	clock     *clocktesting.FakePassiveClock
	config    *config.Operator
	git       *fakeGit
	host      string
	// metrics are those of the present process.
	metrics *prometheus.Registry
	stop    func()
	// authority of servers that the operator trusts, in PEM; may be nil.
	authority []byte
	// password that the registry asks for; empty for none.
	password string
	// built is the config of the images that build pods push, and files are what is in them.
	built v1.Config
	files []file
	// sigstore is where it signs, as a ServiceAccount of its namespace.
	sigstore *sigstoretest.Sigstore
	// scanner plays the scan Jobs.
	scanner atomic.Pointer[scanner]
}

// asking asks for the password of the user "operator", if there is one.
func (o *operator) asking(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, given, _ := r.BasicAuth(); given != o.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "{}", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func newOperator(t *testing.T, change ...func(*operator)) *operator {
	t.Helper()
	o := &operator{t: t, built: conformingConfig(), namespace: newNamespace(t), git: &fakeGit{commit: commitA, dockerfile: conforming},
		clock: clocktesting.NewFakePassiveClock(time.Now()), config: config.Default()}
	o.config.Images = config.Images{
		Kaniko: "kaniko.example/kaniko@" + someDigest, Worker: "worker.example/worker@" + someDigest,
		Syft: "scanners.example/syft@" + someDigest, Trivy: "scanners.example/trivy@" + someDigest, Grype: "scanners.example/grype@" + someDigest,
	}
	for _, c := range change {
		c(o)
	}
	server := httptest.NewServer(o.asking(fakeregistry.New(fakeregistry.Logger(log.New(io.Discard, "", 0)))))
	t.Cleanup(server.Close)
	o.host = strings.TrimPrefix(server.URL, "http://")
	o.scanner.Store(&scanner{})
	o.sigstore = sigstoretest.New(t)
	o.check(k8s.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: signerAccount}}), "making the ServiceAccount that signs")
	o.start()
	t.Cleanup(func() { o.stop() })
	played := make(chan struct{})
	go func() { defer close(played); o.playScans() }()
	t.Cleanup(func() { <-played })
	return o
}

// start runs the reconcilers in a manager, as cmd/operator does.
func (o *operator) start() {
	o.t.Helper()
	opts := controllers.CacheOptions()
	opts.DefaultNamespaces = map[string]cache.Config{o.namespace: {}}
	skip := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Cache: opts,
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: ctrlconfig.Controller{SkipNameValidation: &skip}})
	o.check(err, "making the manager")
	ctx, cancel := context.WithCancel(context.Background())
	reg, err := registry.New(registry.Config{UnsafeLoopback: true, CABundle: o.authority})
	o.check(err, "making the registry client")
	counted := metrics.New(o.clock)
	o.check(controllers.SetUp(ctx, mgr, controllers.Options{Config: o.config, Registry: reg, Git: o.git,
		Upstreams: upstream.Resolver{Registry: reg}, Rules: rules.UnsafeHere{}, Signing: o.signing(mgr), Version: "v0.0.0-test", Clock: o.clock, Metrics: counted, Watchdog: controllers.NewWatchdog(o.clock)}), "setting up")
	o.metrics = prometheus.NewPedanticRegistry()
	o.check(o.metrics.Register(counted), "registering the metrics")
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	o.stop = func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Errorf("stopping the operator: %v", err)
		}
		o.stop = func() {}
	}
}

// signerAccount is the ServiceAccount that signs, in the namespace of its operator.
const signerAccount = "signer"

func (o *operator) signing(mgr ctrl.Manager) controllers.Signing {
	o.t.Helper()
	identity := controllers.NewSignerIdentity(mgr.GetClient(), client.ObjectKey{Namespace: o.namespace, Name: signerAccount}, "sigstore", clock.RealClock{})
	signer, err := sign.New(sign.Options{
		FulcioURL: o.sigstore.Fulcio.URL, RekorURL: o.sigstore.Rekor.URL, HTTP: http.DefaultClient,
		Token: func(ctx context.Context) (string, error) { return o.exchange(ctx, identity) }, Material: o.sigstore.Material, Formats: o.config.Sigstore.Formats, Limits: o.config.Limits.Signatures,
	})
	o.check(err, "making the signer")
	return controllers.Signing{Signer: signer, Identity: identity, TrustRoot: o.sigstore.Material}
}

// exchange gives a token that this Sigstore knows for one of the apiserver's, whose keys it does not know.
func (o *operator) exchange(ctx context.Context, identity *controllers.SignerIdentity) (string, error) {
	issuer, _, err := identity.Identity(ctx)
	if err != nil {
		return "", err
	}
	return o.sigstore.Token(issuer, o.namespace, signerAccount), nil
}

func (o *operator) check(err error, doing string) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", doing, err)
	}
}

func (o *operator) await(what string, done func() (bool, string)) {
	o.t.Helper()
	deadline := time.NewTimer(awaitTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, looks := done()
		if ok {
			return
		}
		select {
		case <-deadline.C:
			o.t.Fatalf("waited %s for %s; last seen: %s", awaitTimeout, what, looks)
		case <-tick.C:
		}
	}
}

// image makes a BaseImage. Its changes are in it from the start: the operator looks at it at once.
func (o *operator) image(name string, change ...func(*v1alpha1.BaseImage)) *v1alpha1.BaseImage {
	o.t.Helper()
	image := &v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name},
		Spec: v1alpha1.BaseImageSpec{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images"}},
			Output: v1alpha1.Output{Repository: o.host + "/base/" + name, Tags: []v1alpha1.Tag{"1", "latest"}},
			// Far away: only the tests that move the clock see it.
			Jitter: &metav1.Duration{},
		}}
	for _, c := range change {
		c(image)
	}
	o.check(k8s.Create(o.t.Context(), image), "creating the BaseImage")
	return image
}

// awaitCondition waits for a condition and reason of the image.
func (o *operator) awaitCondition(image *v1alpha1.BaseImage, kind string, status metav1.ConditionStatus, reason string) {
	o.t.Helper()
	o.await(fmt.Sprintf("%s=%s (%s) of %s", kind, status, reason, image.Name), func() (bool, string) {
		if err := reread(o.t.Context(), image); err != nil {
			return false, err.Error()
		}
		c := meta.FindStatusCondition(image.Status.Conditions, kind)
		return c != nil && c.Status == status && c.Reason == reason && image.Status.ObservedGeneration == image.Generation,
			fmt.Sprintf("%+v", image.Status)
	})
}

func (o *operator) builds() []v1alpha1.BaseImageBuild {
	o.t.Helper()
	list := &v1alpha1.BaseImageBuildList{}
	o.check(k8s.List(o.t.Context(), list, client.InNamespace(o.namespace)), "listing builds")
	slices.SortFunc(list.Items, func(a, b v1alpha1.BaseImageBuild) int { return int(a.Spec.Attempt - b.Spec.Attempt) })
	return list.Items
}

func (o *operator) jobs() []batchv1.Job {
	o.t.Helper()
	list := &batchv1.JobList{}
	o.check(k8s.List(o.t.Context(), list, client.InNamespace(o.namespace)), "listing Jobs")
	return list.Items
}

// awaitJobs waits until a build has its Jobs.
func (o *operator) awaitJobs(build string) []batchv1.Job {
	o.t.Helper()
	var jobs []batchv1.Job
	o.await("the Jobs of "+build, func() (bool, string) {
		jobs = slices.DeleteFunc(o.jobs(), func(j batchv1.Job) bool {
			return j.Labels[buildjob.LabelBuild] != build || j.Labels[buildjob.LabelJob] != ""
		})
		return len(jobs) == 2, fmt.Sprintf("%d Jobs", len(jobs))
	})
	return jobs
}

// awaitBuild waits for the n-th build.
func (o *operator) awaitBuild(attempt int) v1alpha1.BaseImageBuild {
	o.t.Helper()
	var builds []v1alpha1.BaseImageBuild
	o.await(fmt.Sprintf("build %d", attempt), func() (bool, string) {
		builds = o.builds()
		return len(builds) >= attempt, fmt.Sprintf("%d builds", len(builds))
	})
	return builds[attempt-1]
}

// push does what a build pod does: it pushes an image for the Job's platform, and its container reports the digest.
func (o *operator) push(job *batchv1.Job, architecture string) string {
	o.t.Helper()
	cf := &v1.ConfigFile{OS: "linux", Architecture: architecture, Config: o.built, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}}}
	img, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), cf)
	o.check(err, "making an image")
	img = o.withFiles(img, o.files)
	digest, err := img.Digest()
	o.check(err, "hashing an image")
	ref, err := name.NewDigest(o.host+"/base/"+job.Labels[buildjob.LabelBaseImage]+"@"+digest.String(), name.Insecure)
	o.check(err, "naming an image")
	o.check(remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: "operator", Password: o.password})), "pushing an image")
	return digest.String()
}

// succeed ends a Job as the kubelet and the Job controller do.
func (o *operator) succeed(job batchv1.Job) {
	o.t.Helper()
	digest := o.push(&job, job.Labels[buildjob.LabelArchitecture])
	report, err := json.Marshal(pipeline.WorkerReport{Digest: digest})
	o.check(err, "encoding a report")
	o.end(job, kaniko.ContainerPush, 0, string(report), batchv1.JobComplete, "")
}

func (o *operator) fail(job batchv1.Job, container, log string) {
	o.t.Helper()
	o.end(job, container, 1, log, batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded)
}

func (o *operator) end(job batchv1.Job, container string, code int32, message string, how batchv1.JobConditionType, reason string) {
	o.t.Helper()
	o.check(o.ends(job, container, code, message, how, reason), "ending Job "+job.Name)
}

func (o *operator) ends(job batchv1.Job, container string, code int32, message string, how batchv1.JobConditionType, reason string) error {
	ctx := o.t.Context()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name + "-pod",
		Labels:          map[string]string{batchv1.JobNameLabel: job.Name, buildjob.LabelManagedBy: buildjob.ManagedBy, buildjob.LabelBuild: job.Labels[buildjob.LabelBuild]},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&job, batchv1.SchemeGroupVersion.WithKind("Job"))}},
		Spec: *job.Spec.Template.Spec.DeepCopy()}
	if err := k8s.Create(ctx, pod); err != nil {
		return fmt.Errorf("creating a pod: %w", err)
	}
	err := statusWritten(ctx, pod, func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: container,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}}
	})
	if err != nil {
		return fmt.Errorf("ending a pod: %w", err)
	}
	return statusWritten(ctx, &job, func(j *batchv1.Job) {
		now := metav1.Now()
		before := batchv1.JobSuccessCriteriaMet
		if how == batchv1.JobFailed {
			before = batchv1.JobFailureTarget
		} else {
			j.Status.CompletionTime, j.Status.Succeeded = &now, 1
		}
		j.Status.StartTime = &now
		for _, kind := range []batchv1.JobConditionType{before, how} {
			j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: now})
		}
	})
}

func TestABuildGoesFromApplyToPromoted(t *testing.T) {
	o := newOperator(t)
	image := o.image("good")
	build := o.awaitBuild(1)
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, "Building")
	for _, job := range o.awaitJobs(build.Name) {
		if !metav1.IsControlledBy(&job, &build) {
			t.Errorf("Job %s is not owned by its build", job.Name)
		}
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	for _, tag := range image.Spec.Output.Tags {
		ref, err := name.NewTag(image.Spec.Output.Repository+":"+string(tag), name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		d, err := remote.Head(ref)
		if err != nil || d.Digest.String() != image.Status.Image.Digest {
			t.Errorf("tag %s is %v (%v), want %s", tag, d, err, image.Status.Image.Digest)
		}
	}
	if got := len(o.builds()); got != 1 {
		t.Errorf("there are %d builds, want 1", got)
	}
	if c := meta.FindStatusCondition(image.Status.Conditions, "Reconciling"); c != nil {
		t.Errorf("Reconciling is left over: %v", c)
	}
}

func TestARestartOfTheOperatorStartsNothing(t *testing.T) {
	o := newOperator(t)
	image := o.image("restarted")
	jobs := o.awaitJobs(o.awaitBuild(1).Name)
	o.stop()
	o.start() // While the Jobs run.
	for _, job := range jobs {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	version := image.ResourceVersion
	o.stop()
	o.start() // At rest.
	marker := o.image("marker")
	o.awaitJobs(o.awaitBuildOf(marker).Name)
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	if image.ResourceVersion != version {
		t.Errorf("the image was written without need: %s is now %s", version, image.ResourceVersion)
	}
	if got := len(o.builds()); got != 2 {
		t.Errorf("there are %d builds, want one of each image", got)
	}
	if got := len(o.jobs()); got != 5 {
		t.Errorf("there are %d Jobs, want two of each build, and a scan", got)
	}
}

func (o *operator) awaitBuildOf(image *v1alpha1.BaseImage) v1alpha1.BaseImageBuild {
	o.t.Helper()
	var found v1alpha1.BaseImageBuild
	o.await("a build of "+image.Name, func() (bool, string) {
		for _, b := range o.builds() {
			if b.Spec.BaseImage == image.Name {
				found = b
				return true, ""
			}
		}
		return false, "none"
	})
	return found
}

func TestTheScheduleBuildsOnceWhenItIsDue(t *testing.T) {
	o := newOperator(t)
	image := o.image("weekly")
	build := o.awaitBuild(1)
	for _, job := range o.awaitJobs(build.Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	due, err := time.Parse(time.RFC3339, image.Status.NextBuild)
	if err != nil || due.Weekday() != time.Sunday {
		t.Fatalf("nextBuild = %q (%v), want a Sunday", image.Status.NextBuild, err)
	}
	o.git.set(commitB, nil)
	o.clock.SetTime(due.Add(time.Hour))
	o.touch(image)
	second := o.awaitBuild(2)
	if second.Spec.Reason != "Scheduled,SourceChanged" || second.Spec.Inputs.ScheduledFor != due.UTC().Format(time.RFC3339) {
		for _, b := range o.builds() {
			t.Logf("%s: %+v of %+v", b.Name, b.Spec.Reasons, b.Spec.Inputs)
		}
		t.Errorf("the second build is for %q at %q", second.Spec.Reason, second.Spec.Inputs.ScheduledFor)
	}
	if second.Spec.Inputs.Revision != commitB {
		t.Errorf("revision = %s, want the new one", second.Spec.Inputs.Revision)
	}
}

// touch makes the operator look at an image: the clock of the test does not wake its queue.
func (o *operator) touch(image *v1alpha1.BaseImage) {
	o.t.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"metadata":{"annotations":{"touched":"%d"}}}`, time.Now().UnixNano())))
	o.check(k8s.Patch(o.t.Context(), image, patch), "touching the image")
}

func TestAFailedBuildKeepsTheImageAndWaitsForAChange(t *testing.T) {
	o := newOperator(t)
	image := o.image("fails")
	for _, job := range o.awaitJobs(o.awaitBuild(1).Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	good := image.Status.Image.Digest

	edit(o, image, "changing the spec", func(i *v1alpha1.BaseImage) {
		i.Spec.BuildArgs = []v1alpha1.BuildArg{{Name: "VERSION", Value: "2"}}
	})
	second := o.awaitBuild(2)
	jobs := o.awaitJobs(second.Name)
	o.fail(jobs[0], kaniko.ContainerKaniko, "E: Unable to locate package nginx")
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, "BuildFailed")
	if ready := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(ready.Message, "Unable to locate package nginx") {
		t.Errorf("Ready says %q, want the end of the log", ready.Message)
	}
	if image.Status.Image.Digest != good {
		t.Errorf("the image is %s, want the last good one %s", image.Status.Image.Digest, good)
	}
	o.await("the other Job to be cancelled", func() (bool, string) {
		left := slices.DeleteFunc(o.jobs(), func(j batchv1.Job) bool {
			return j.Labels[buildjob.LabelBuild] != second.Name || !j.DeletionTimestamp.IsZero()
		})
		return len(left) == 1 && left[0].Name == jobs[0].Name, fmt.Sprintf("%d Jobs left", len(left))
	})
	o.touch(image)
	o.touch(o.image("marker"))
	o.awaitBuild(3) // That of the marker.
	if got := slices.DeleteFunc(o.builds(), func(b v1alpha1.BaseImageBuild) bool { return b.Spec.BaseImage != image.Name }); len(got) != 2 {
		t.Errorf("the failed build was repeated without a change: %d builds", len(got))
	}
	edit(o, image, "changing the spec again", func(i *v1alpha1.BaseImage) { i.Spec.BuildArgs[0].Value = "3" })
	o.await("a changed input to build after a failure", func() (bool, string) {
		n := len(slices.DeleteFunc(o.builds(), func(b v1alpha1.BaseImageBuild) bool { return b.Spec.BaseImage != image.Name }))
		return n == 3, fmt.Sprintf("%d builds", n)
	})
}

func TestWhatABuildPodReportsIsChecked(t *testing.T) {
	o := newOperator(t)
	image := o.image("lies")
	for _, job := range o.awaitJobs(o.awaitBuild(1).Name) {
		// Both platforms claim the amd64 image.
		report, err := json.Marshal(pipeline.WorkerReport{Digest: o.push(&job, "amd64")})
		o.check(err, "encoding a report")
		o.end(job, kaniko.ContainerPush, 0, string(report), batchv1.JobComplete, "")
	}
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, pipeline.ReasonPlatformMismatch)
	ref, err := name.NewTag(image.Spec.Output.Repository+":latest", name.Insecure)
	o.check(err, "naming the tag")
	if _, err := remote.Head(ref); err == nil {
		t.Error("a tag was made")
	}
}

func TestAChildOfSomebodyElseIsNotAdopted(t *testing.T) {
	o := newOperator(t)
	o.stop()
	image := o.image("squatted")
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace,
		Name: kaniko.JobName(buildjob.BuildName("squatted", 1, string(image.UID), "1"), pipeline.Platform{OS: "linux", Architecture: "arm64"})},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{Name: "c", Image: "evil.example/evil"}}}}}}
	o.check(k8s.Create(t.Context(), job), "creating somebody else's Job")
	o.start()
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonConflict)
	if ready := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(ready.Message, job.Name) {
		t.Errorf("Ready says %q, want the Job's name", ready.Message)
	}
}

func TestASourceThatCannotBeReachedIsRetriedUntilItCan(t *testing.T) {
	o := newOperator(t)
	o.git.set("", pipeline.Transientf(pipeline.ReasonSourceUnavailable, "git.example: connection refused"))
	image := o.image("unreachable")
	o.awaitCondition(image, "Reconciling", metav1.ConditionTrue, pipeline.ReasonSourceUnavailable)
	if got := len(o.builds()); got != 0 {
		t.Errorf("%d builds were made without a source", got)
	}
	o.git.set(commitA, nil)
	o.awaitJobs(o.awaitBuild(1).Name)
}

func TestSuspendKeepsBuildsFromStarting(t *testing.T) {
	o := newOperator(t)
	image := o.image("suspended", func(i *v1alpha1.BaseImage) { i.Spec.Suspend = true })
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, "Suspended")
	if image.Status.NextBuild != "" || len(o.builds()) != 0 {
		t.Errorf("next build %q, %d builds: want none", image.Status.NextBuild, len(o.builds()))
	}
	edit(o, image, "resuming", func(i *v1alpha1.BaseImage) { i.Spec.Suspend = false })
	o.awaitBuild(1)
}

func TestAPodThatOnlyClaimsToBeOfTheJobIsNotBelieved(t *testing.T) {
	o := newOperator(t)
	image := o.image("forged")
	jobs := o.awaitJobs(o.awaitBuild(1).Name)
	forged := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "aaa",
		Labels:          map[string]string{batchv1.JobNameLabel: jobs[0].Name},
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&jobs[0], batchv1.SchemeGroupVersion.WithKind("Job"))}},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: kaniko.ContainerPush, Image: "evil.example/evil"}}}}
	o.check(k8s.Create(t.Context(), forged), "forging a pod")
	report, err := json.Marshal(pipeline.WorkerReport{Digest: o.push(&jobs[0], jobs[0].Labels[buildjob.LabelArchitecture])})
	o.check(err, "encoding a report")
	editStatus(o, forged, "forging its report", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: kaniko.ContainerPush,
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: string(report)}}}}
	})
	o.succeed(jobs[0])
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonConflict)
	if image.Status.Image != nil {
		t.Errorf("an image was promoted: %+v", image.Status.Image)
	}
}

func TestAnInputOfSomebodyElseIsNotUsed(t *testing.T) {
	o := newOperator(t)
	image := o.image("fed", func(i *v1alpha1.BaseImage) { i.Spec.Output.PushSecretRef = &v1alpha1.LocalReference{Name: "later"} })
	build := o.awaitBuild(1)
	o.await("the build to wait for the Secret", func() (bool, string) {
		o.check(reread(t.Context(), &build), "reading the build")
		c := meta.FindStatusCondition(build.Status.Conditions, "Built")
		return c != nil && c.Reason == pipeline.ReasonPushSecretInvalid, fmt.Sprintf("%+v", build.Status)
	})
	input := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: kaniko.InputName(build.Name),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&build, v1alpha1.SchemeGroupVersion.WithKind("BaseImageBuild"))}},
		BinaryData: map[string][]byte{pipeline.InputFile: []byte("{}")}}
	o.check(k8s.Create(t.Context(), input), "feeding an input")
	o.check(k8s.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "later"},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte("{}")}}), "creating the Secret")
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonInputChanged)
	if jobs := slices.DeleteFunc(o.jobs(), func(j batchv1.Job) bool { return j.Labels[buildjob.LabelBuild] != build.Name }); len(jobs) != 0 {
		t.Errorf("%d Jobs were made of it", len(jobs))
	}
}

func TestATimedOutBuildFailsAndEndsItsJobs(t *testing.T) {
	o := newOperator(t)
	image := o.image("slow")
	build := o.awaitBuild(1)
	jobs := o.awaitJobs(build.Name)
	o.clock.SetTime(build.CreationTimestamp.Add(time.Hour + time.Second))
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"yes"}}}`))
	// It may have been cancelled already: anything wakes the operator.
	o.check(client.IgnoreNotFound(k8s.Patch(t.Context(), &jobs[0], patch)), "touching a Job")
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonTimedOut)
	o.await("its Jobs to be cancelled", func() (bool, string) {
		left := slices.DeleteFunc(o.jobs(), func(j batchv1.Job) bool { return !j.DeletionTimestamp.IsZero() })
		return len(left) == 0, fmt.Sprintf("%d Jobs left", len(left))
	})
}

func TestADeletedBuildIsReplacedAndNotTakenForASuccess(t *testing.T) {
	o := newOperator(t)
	image := o.image("deleted")
	for _, job := range o.awaitJobs(o.awaitBuild(1).Name) {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	edit(o, image, "changing the spec", func(i *v1alpha1.BaseImage) {
		i.Spec.BuildArgs = []v1alpha1.BuildArg{{Name: "VERSION", Value: "2"}}
	})
	second := o.awaitBuild(2)
	o.awaitJobs(second.Name)
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, "Building")
	o.check(k8s.Delete(t.Context(), &second), "deleting a build")
	var third v1alpha1.BaseImageBuild
	o.await("attempt 3", func() (bool, string) {
		builds := o.builds()
		third = builds[len(builds)-1]
		return third.Spec.Attempt == 3, third.Name
	})
	if third.Spec.Reason != "BuildDeleted" {
		t.Errorf("the third build is for %s, want BuildDeleted", third.Spec.Reason)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, "Building")
}

func TestOldBuildsAreRemoved(t *testing.T) {
	o := newOperator(t)
	image := o.image("many", func(i *v1alpha1.BaseImage) {
		i.Spec.History = v1alpha1.History{Failed: new(int32(1)), Successful: new(int32(1))}
	})
	for n := 1; n <= 3; n++ {
		var build v1alpha1.BaseImageBuild
		o.await(fmt.Sprintf("attempt %d", n), func() (bool, string) {
			for _, b := range o.builds() {
				if b.Spec.Attempt == int64(n) {
					build = b
					return true, ""
				}
			}
			return false, "no such attempt"
		})
		o.fail(o.awaitJobs(build.Name)[0], kaniko.ContainerKaniko, "no luck")
		o.awaitPhase(build, v1alpha1.PhaseFailed) // The image may still say so of the build before.
		o.awaitCondition(image, "Stalled", metav1.ConditionTrue, "BuildFailed")
		patch := client.RawPatch("application/merge-patch+json", []byte(fmt.Sprintf(`{"metadata":{"annotations":{"%s":"%d"}}}`, v1alpha1.BuildRequestedAtAnnotation, n)))
		o.check(k8s.Patch(t.Context(), image, patch), "requesting a build")
	}
	o.await("only the newest failed build beside the running one", func() (bool, string) {
		var attempts []int64
		for _, b := range o.builds() {
			attempts = append(attempts, b.Spec.Attempt)
		}
		return slices.Equal(attempts, []int64{3, 4}), fmt.Sprint(attempts)
	})
}
