package controllers

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/codescanning"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// maxUploads of one build are attempted: the last about six hours after the first.
	maxUploads = 10
	// tokenKey of the Secret that spec.scan.github.tokenSecretRef names.
	tokenKey = "token"
	// defaultRef is that of spec.scan.github.ref.
	defaultRef = "refs/heads/main"
)

// upload sends what Trivy found to GitHub, once a build has ended well or badly: that neither delays nor decides
// anything, and the findings of a refused image are those that people want to see. How it goes is a condition.
func (r *BuildReconciler) upload(ctx context.Context, run *buildRun) (ctrl.Result, error) {
	if wait, due := run.uploadDue(); !due {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	limited, cancel := context.WithTimeout(ctx, run.Config.Limits.Build.PassTimeout.Std())
	defer cancel()
	before := run.build.DeepCopy()
	progress := &v1alpha1.CodeScanningUpload{}
	if known := run.build.Status.CodeScanning; known != nil {
		progress = known.DeepCopy()
	}
	progress.Attempts++
	failure := run.uploadMissing(limited, progress)
	progress.NextAttempt = run.nextUpload(progress.Attempts, failure)
	run.build.Status.CodeScanning = progress
	meta.SetStatusCondition(&run.build.Status.Conditions, uploaded(run.build, failure))
	if equality.Semantic.DeepEqual(before.Status, run.build.Status) {
		return ctrl.Result{}, nil
	}
	if err := r.Status().Update(ctx, run.build); err != nil {
		return unwritten(err)
	}
	r.uploadEvent(before, run.build)
	wait, _ := run.uploadDue()
	return ctrl.Result{RequeueAfter: wait}, nil
}

// uploadDue reports whether an upload is to be attempted now, or after which time; zero for never.
func (run *buildRun) uploadDue() (wait time.Duration, due bool) {
	st := &run.build.Status
	if run.build.Spec.Scan.GitHub == nil || st.Scan == nil || len(st.Scan.Platforms) == 0 || st.Phase == v1alpha1.PhaseSuperseded {
		return 0, false
	}
	if st.CodeScanning == nil {
		return 0, true
	}
	if st.CodeScanning.NextAttempt == nil {
		return 0, false
	}
	wait = st.CodeScanning.NextAttempt.Sub(run.Clock.Now())
	return max(wait, time.Second), wait <= 0
}

// nextUpload is when to try again; nil for never. A token that is refused may be mended.
func (run *buildRun) nextUpload(attempts int32, failure error) *metav1.Time {
	if failure == nil || attempts >= maxUploads || pipeline.IsTerminal(failure) && !pipeline.IsRetryable(failure) && reasonOf(failure) != pipeline.ReasonGitHubTokenInvalid {
		return nil
	}
	pause := retryDelay(attempts-1, string(run.build.UID))
	if t, ok := errors.AsType[*pipeline.Transient](failure); ok {
		pause = max(pause, t.After)
	}
	return new(metav1.NewTime(run.Clock.Now().Add(pause)))
}

// uploaded is the condition that says how it went.
func uploaded(build *v1alpha1.BaseImageBuild, failure error) metav1.Condition {
	github, progress := build.Spec.Scan.GitHub, build.Status.CodeScanning
	c := metav1.Condition{Type: v1alpha1.ConditionSARIFUploaded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded, ObservedGeneration: build.Generation,
		Message: fmt.Sprintf("%s has what Trivy found, at %s", github.Repository, shorten(build.Spec.Inputs.Revision))}
	switch {
	case failure == nil:
		return c
	case progress.NextAttempt != nil:
		c.Message = fmt.Sprintf("%s (attempt %d of %d; the next follows)", failure, progress.Attempts, maxUploads)
	case progress.Attempts >= maxUploads:
		c.Message = fmt.Sprintf("%s (it was the last of %d attempts)", failure, maxUploads)
	default:
		c.Message = failure.Error()
	}
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasonOf(failure), sentence(c.Message)
	return c
}

// uploadMissing uploads what GitHub does not have yet, and notes it.
func (run *buildRun) uploadMissing(ctx context.Context, progress *v1alpha1.CodeScanningUpload) error {
	token, err := run.githubToken(ctx)
	if err != nil {
		return err
	}
	for _, p := range run.build.Status.Scan.Platforms {
		if slices.ContainsFunc(progress.Uploads, func(u v1alpha1.SARIFUpload) bool { return u.Platform == p.Platform }) {
			continue
		}
		id, err := run.uploadPlatform(ctx, p, token)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Platform, err)
		}
		progress.Uploads = append(progress.Uploads, v1alpha1.SARIFUpload{Platform: p.Platform, ID: truncate(id, 128)})
	}
	return nil
}

func (run *buildRun) uploadPlatform(ctx context.Context, p v1alpha1.PlatformReports, token string) (string, error) {
	client, repo, err := run.output(ctx)
	if err != nil {
		return "", err
	}
	leave, err := run.enterInspection(ctx, "to upload SARIF")
	if err != nil {
		return "", err
	}
	defer leave()
	_, sarif, err := client.ReadArtifact(ctx, repo.Digest(p.SARIF), registry.ArtifactWant{Type: pipeline.ArtifactSARIF, Subject: run.digestOf(p.Platform), Limit: int64(run.Config.Limits.Scan.ReportBytes)})
	if err != nil {
		return "", err
	}
	spec := &run.build.Spec
	request := codescanning.Request{
		APIURL:     run.Config.GitHub.APIURL,
		Repository: spec.Scan.GitHub.Repository,
		Ref:        spec.Scan.GitHub.Ref,
		Commit:     spec.Inputs.Revision,
		Category:   "basewright/" + spec.BaseImage + "/" + strings.ReplaceAll(p.Platform, "/", "-"),
		Token:      token,
		SARIF:      sarif,
	}
	if request.Ref == "" {
		request.Ref = defaultRef
	}
	if spec.Source.Git != nil {
		request.Path = path.Join(spec.Source.Git.Path, spec.DockerfilePath)
	}
	return codescanning.Client{Transport: run.Registry.HTTPClient().Transport, Now: run.Clock.Now}.Upload(ctx, request)
}

// githubToken may still come, or be mended.
func (run *buildRun) githubToken(ctx context.Context) (string, error) {
	ref := run.build.Spec.Scan.GitHub.TokenSecretRef
	secret := &corev1.Secret{}
	err := run.Live.Get(ctx, types.NamespacedName{Namespace: run.build.Namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return "", pipeline.Transientf(pipeline.ReasonGitHubTokenInvalid, "spec.scan.github.tokenSecretRef.name: there is no Secret %q in namespace %q: create one with the key %s", ref.Name, run.build.Namespace, tokenKey)
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %s: %w", ref.Name, err)
	}
	token := strings.TrimSpace(string(secret.Data[tokenKey]))
	if token == "" {
		return "", pipeline.Transientf(pipeline.ReasonGitHubTokenInvalid, "spec.scan.github.tokenSecretRef.name: Secret %q has no key %s: put a GitHub token there that may write security events", ref.Name, tokenKey)
	}
	return token, nil
}

// uploadEvent tells of an upload that has come to an end or to another failure.
func (r *BuildReconciler) uploadEvent(before, after *v1alpha1.BaseImageBuild) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionSARIFUploaded)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionSARIFUploaded)
	switch {
	case was != nil && was.Status == is.Status && was.Reason == is.Reason:
	case is.Status == metav1.ConditionTrue:
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, v1alpha1.ConditionSARIFUploaded, actionUpload, "%s", truncate(is.Message, maxNote))
	default:
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, actionUpload, "%s", truncate(is.Message, maxNote))
	}
}
