//go:build apiserver

package apiserver

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/runtimetest"
)

const vulnerableID = "CVE-2022-48174"

func vulnerable() *scanner {
	return &scanner{finds: []finding{{vulnerableID, "Critical", "busybox-static", "1:1.35.0-4", "1:1.36.1-1"}}}
}

// A Dockerfile that the policy refuses starts no Job, and says why where people look.
func TestADockerfileThatIsRefusedStartsNoJob(t *testing.T) {
	o := newOperator(t, func(o *operator) { o.git.dockerfile = "FROM scratch\nADD x /\n" })
	image := o.image("denied")
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonDockerfilePolicyDenied)
	c := meta.FindStatusCondition(image.Status.Conditions, "Ready")
	for _, says := range []string{"deny_add: line 2", "deny_user_required", "deny_labels_required"} {
		if !strings.Contains(c.Message, says) {
			t.Errorf("Ready says %q, without %q", c.Message, says)
		}
	}
	if jobs := o.jobs(); len(jobs) != 0 {
		t.Errorf("there are %d Jobs", len(jobs))
	}
	build := o.awaitBuild(1)
	if r := build.Status.DockerfilePolicy; r == nil || r.Denied != 5 || r.Warned != 0 || len(r.Findings) != 5 {
		t.Errorf("the policy's result is %+v", build.Status.DockerfilePolicy)
	}
	if meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionBuilt).Reason != v1alpha1.ReasonPending {
		t.Errorf("conditions are %+v", build.Status.Conditions)
	}
}

// Rules of a team's ConfigMap are an input: another version of it builds again.
func TestRulesOfATeamDecideAndBuildAgain(t *testing.T) {
	o := newOperator(t)
	rules := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "rules"},
		Data: map[string]string{"team.rego": "package team\n\ndeny_everything contains \"nothing is good enough\"\n"}}
	image := o.image("strict", func(i *v1alpha1.BaseImage) {
		i.Spec.DockerfilePolicy.ExtraRules = &v1alpha1.LocalReference{Name: "rules"}
	})
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonPolicyNotFound)
	o.check(k8s.Create(t.Context(), rules), "making the rules")
	edit(o, image, "requesting a build", func(i *v1alpha1.BaseImage) {
		i.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "now"}
	})
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonDockerfilePolicyDenied)
	edit(o, rules, "changing the rules", func(c *corev1.ConfigMap) {
		c.Data["team.rego"] = "package team\n\nwarn_everything contains \"nothing is good enough\"\n"
	})
	o.later(image, 10*time.Minute)
	second := o.awaitBuild(2)
	if second.Spec.Reason != string(v1alpha1.BuildReasonPolicyChanged) || second.Spec.Inputs.Rules == "" {
		t.Errorf("the second build is for %s, with %+v", second.Spec.Reason, second.Spec.Inputs)
	}
	o.awaitPhase(second, v1alpha1.PhaseBuilding)
}

func TestAnImageWithAShellIsRefused(t *testing.T) {
	o := newOperator(t)
	o.files = []file{{"bin/sh", "\x7fELF", 0o755}}
	image := o.image("shell")
	for _, j := range o.awaitJobs(o.awaitBuild(1).Name) {
		o.succeed(j)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonInspectionFailed)
	if c := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(c.Message, "no-shell") || !strings.Contains(c.Message, "/bin/sh") {
		t.Errorf("Ready says %q", c.Message)
	}
	if jobs := o.jobs(); len(jobs) != 2 {
		t.Errorf("there are %d Jobs: a scan was started for an image that was refused", len(jobs))
	}
}

// What the scan Job has put into the registry is read back: whatever is not as it should be refuses the image.
func TestScansAreReadBack(t *testing.T) {
	other := "sha256:" + strings.Repeat("1", 64)
	for name, tc := range map[string]struct {
		scanner *scanner
		change  func(*v1alpha1.BaseImage)
		reason  string
		says    string
	}{
		"a critical vulnerability":  {vulnerable(), nil, pipeline.ReasonVulnerabilitiesFound, vulnerableID + " (Critical) in busybox-static 1:1.35.0-4, fixed in 1:1.36.1-1 (Grype; linux/amd64, linux/arm64)"},
		"reports on another image":  {&scanner{about: func(string) string { return other }}, nil, pipeline.ReasonReportInvalid, other},
		"databases of the past":     {&scanner{built: time.Now().Add(-121 * time.Hour)}, nil, pipeline.ReasonVulnerabilityDatabaseTooOld, "databases.maxAge"},
		"databases of the future":   {&scanner{built: time.Now().Add(25 * time.Hour)}, nil, pipeline.ReasonVulnerabilityDatabaseInvalid, "after the scan"},
		"a waiver that has expired": {vulnerable(), waiving(-time.Hour), pipeline.ReasonVulnerabilitiesFound, "expired on"},
		"a waiver that holds":       {vulnerable(), waiving(time.Hour), v1alpha1.ReasonPromoted, ""},
		"a threshold that lets it pass": {vulnerable(), func(i *v1alpha1.BaseImage) { i.Spec.Scan.Grype.FailOn = v1alpha1.ThresholdNever },
			v1alpha1.ReasonPromoted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.scanner.Store(tc.scanner)
			image := o.image("scanned", func(i *v1alpha1.BaseImage) {
				i.Spec.Retries = new(int32(0))
				if tc.change != nil {
					tc.change(i)
				}
			})
			for _, j := range o.awaitJobs(o.awaitBuildOf(image).Name) {
				o.succeed(j)
			}
			if tc.reason == v1alpha1.ReasonPromoted {
				o.awaitCondition(image, "Ready", metav1.ConditionTrue, tc.reason)
				return
			}
			o.awaitCondition(image, "Ready", metav1.ConditionFalse, tc.reason)
			if c := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(c.Message, tc.says) {
				t.Errorf("Ready says %q, without %q", c.Message, tc.says)
			}
			o.checkNoTag(image)
		})
	}
}

func waiving(left time.Duration) func(*v1alpha1.BaseImage) {
	return func(i *v1alpha1.BaseImage) {
		i.Spec.Scan.Waivers = []v1alpha1.Waiver{{ID: vulnerableID, Reason: "a test", Expires: metav1.NewTime(time.Now().Add(left))}}
	}
}

func (o *operator) checkNoTag(image *v1alpha1.BaseImage) {
	o.t.Helper()
	ref, err := name.NewTag(image.Spec.Output.Repository+":latest", name.Insecure)
	o.check(err, "naming the tag")
	if d, err := remote.Head(ref); err == nil {
		o.t.Errorf("the tag of an image that was refused is %s", d.Digest)
	}
}

// Without nodes nothing can be tested, which is said and never counts as passed.
func TestPlatformsThatNoNodeCanRunAreSkipped(t *testing.T) {
	o := newOperator(t)
	image := o.image("untested")
	for _, j := range o.awaitJobs(o.awaitBuild(1).Name) {
		o.succeed(j)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	if image.Status.Image.Tests != "0/2, 2 skipped" {
		t.Errorf("tests are %q", image.Status.Image.Tests)
	}
	c := meta.FindStatusCondition(o.awaitBuild(1).Status.Conditions, v1alpha1.ConditionTestsPassed)
	if c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonTestsSkipped {
		t.Errorf("TestsPassed is %s (%s)", c.Status, c.Reason)
	}
}

// The probe's report is only believed if every check is there.
func TestProbesDecide(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "amd64", Labels: map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}}}
	if err := k8s.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k8s.Delete(t.Context(), node); err != nil && t.Context().Err() == nil {
			t.Errorf("deleting the node: %v", err)
		}
	})
	defer func() { _ = k8s.Delete(t.Context(), node) }()
	checks := []string{"user", "capabilities", "no-new-privileges", "seccomp", "no-token", "read-only-root", "ca-bundle", "time-zones", "no-shell", "no-package-manager"}
	for name, tc := range map[string]struct {
		failed, missing string
		ready           metav1.ConditionStatus
		reason, says    string
	}{
		"all passed":         {"", "", metav1.ConditionTrue, v1alpha1.ReasonPromoted, ""},
		"one failed":         {"no-shell", "", metav1.ConditionFalse, pipeline.ReasonTestsFailed, "linux/amd64 failed no-shell: here is one"},
		"one is not there":   {"", "read-only-root", metav1.ConditionFalse, pipeline.ReasonTestsFailed, "linux/amd64 failed read-only-root: the probe did not report on it"},
		"a name of its own":  {"made-up", "", metav1.ConditionFalse, pipeline.ReasonTestsFailed, "made-up"},
		"no report whatever": {"-", "", metav1.ConditionFalse, pipeline.ReasonProbeFailed, "left no report"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			image := o.image("probed", func(i *v1alpha1.BaseImage) {
				i.Spec.Platforms = []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}}
				i.Spec.Retries = new(int32(0))
			})
			build := o.awaitBuildOf(image)
			o.succeed(o.awaitJob(job.Name(build.Name, "amd64")))
			message, err := json.Marshal(probed(checks, tc.failed, tc.missing))
			o.check(err, "encoding a report")
			if tc.failed == "-" {
				message = []byte("panic: x")
			}
			o.end(o.awaitJob(job.Name(build.Name, "test-amd64")), runtimetest.ContainerTest, 0, string(message), batchv1.JobComplete, "")
			o.awaitCondition(image, "Ready", tc.ready, tc.reason)
			if c := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(c.Message, tc.says) {
				t.Errorf("Ready says %q, without %q", c.Message, tc.says)
			}
			if tests := o.awaitBuildOf(image).Status.Tests; tc.failed != "-" && (tests == nil || tests.Platforms[0].Report == "") {
				t.Errorf("the results are %+v: they should be kept with the image", tests)
			}
		})
	}
}

// probed is a report in which all checks have passed but one that has failed and one that is not there.
func probed(checks []string, failed, missing string) pipeline.ProbeReport {
	if failed != "" && !slices.Contains(checks, failed) {
		checks = append(slices.Clone(checks), failed)
	}
	report := pipeline.ProbeReport{}
	for _, name := range checks {
		check := pipeline.ProbeCheck{Name: name, Outcome: pipeline.ProbePassed}
		if name == failed {
			check.Outcome, check.Message = pipeline.ProbeFailed, "here is one"
		}
		if name != missing {
			report.Checks = append(report.Checks, check)
		}
	}
	return report
}

func (o *operator) awaitJob(name string) batchv1.Job {
	o.t.Helper()
	var found batchv1.Job
	o.await("Job "+name, func() (bool, string) {
		for _, j := range o.jobs() {
			if j.Name == name {
				found = j
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d Jobs", len(o.jobs()))
	})
	return found
}

// github is the part of its API that takes SARIF.
type github struct {
	mu       sync.Mutex
	refusals []int
	got      []string
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	if len(g.refusals) > 0 {
		status := g.refusals[0]
		g.refusals = g.refusals[1:]
		http.Error(w, `{"message":"not now"}`, status)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintf(w, `{"id":"upload-%d"}`, len(g.got))
}

func (g *github) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.got...)
}

// The findings of an image that was refused are uploaded too, a failure is a condition, and it is tried again.
func TestFindingsAreUploadedToGitHub(t *testing.T) {
	hub := &github{refusals: []int{http.StatusServiceUnavailable}}
	server := httptest.NewTLSServer(hub)
	t.Cleanup(server.Close)
	o := newOperator(t, func(o *operator) {
		o.config.GitHub.APIURL = server.URL
		o.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	})
	o.scanner.Store(vulnerable())
	image := o.image("shared", func(i *v1alpha1.BaseImage) {
		i.Spec.Scan.GitHub = &v1alpha1.GitHubCodeScanning{Repository: "example/images", TokenSecretRef: v1alpha1.LocalReference{Name: "github"}}
	})
	build := o.awaitBuildOf(image)
	for _, j := range o.awaitJobs(build.Name) {
		o.succeed(j)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonVulnerabilitiesFound)
	o.awaitUpload(build, metav1.ConditionFalse, pipeline.ReasonGitHubTokenInvalid)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "github"}, Data: map[string][]byte{"token": []byte("s3cret\n")}}
	o.check(k8s.Create(t.Context(), secret), "making the Secret")
	for _, want := range []struct {
		status metav1.ConditionStatus
		reason string
	}{{metav1.ConditionFalse, pipeline.ReasonCodeScanningUnavailable}, {metav1.ConditionTrue, v1alpha1.ReasonSucceeded}} {
		o.stop()
		o.clock.SetTime(o.clock.Now().Add(2 * time.Hour)) // A restart goes on where the other has left off.
		o.start()
		o.awaitUpload(build, want.status, want.reason)
	}
	requests := hub.requests()
	if len(requests) != 3 || requests[2] != "POST /repos/example/images/code-scanning/sarifs Bearer s3cret" {
		t.Errorf("GitHub got %q", requests)
	}
	got := o.awaitPhase(build, v1alpha1.PhaseFailed)
	if len(got.Status.CodeScanning.Uploads) != 2 || got.Status.CodeScanning.NextAttempt != nil || got.Status.CodeScanning.Attempts != 3 {
		t.Errorf("the upload is %+v", got.Status.CodeScanning)
	}
	if raw, err := json.Marshal(got); err != nil || strings.Contains(string(raw), "s3cret") {
		t.Errorf("the token is in the status (%v)", err)
	}
}

func (o *operator) awaitUpload(build v1alpha1.BaseImageBuild, status metav1.ConditionStatus, reason string) {
	o.t.Helper()
	o.await(fmt.Sprintf("SARIFUploaded=%s (%s)", status, reason), func() (bool, string) {
		now := v1alpha1.BaseImageBuild{}
		if err := k8s.Get(o.t.Context(), client.ObjectKeyFromObject(&build), &now); err != nil {
			return false, err.Error()
		}
		c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionSARIFUploaded)
		return c != nil && c.Status == status && c.Reason == reason, fmt.Sprintf("%+v", c)
	})
}

// A build whose scan runs when the operator ends goes on with the same Jobs.
func TestARestartDuringAScanStartsNothingTwice(t *testing.T) {
	o := newOperator(t)
	o.scanner.Store(&scanner{silent: true})
	image := o.image("restarted")
	build := o.awaitBuild(1)
	for _, j := range o.awaitJobs(build.Name) {
		o.succeed(j)
	}
	scan := o.awaitJob(job.Name(build.Name, "scan"))
	o.stop()
	o.start()
	o.scanner.Store(&scanner{})
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	if again := o.awaitJob(job.Name(build.Name, "scan")); again.UID != scan.UID || len(o.jobs()) != 3 {
		t.Errorf("there are %d Jobs, and the scan is %s, before %s", len(o.jobs()), again.UID, scan.UID)
	}
	if scan.Labels[job.LabelBuild] != build.Name {
		t.Errorf("labels of the scan are %v", scan.Labels)
	}
}
