package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/source"
)

// mendedBySecret are the failures of a build that a new push Secret may mend.
var mendedBySecret = []string{
	pipeline.ReasonPushDenied, pipeline.ReasonRegistryUnauthorized, pipeline.ReasonRegistryDenied, pipeline.ReasonRepositoryNotFound,
	pipeline.ReasonRegistryCredentials,
}

// pushSecretMended adds a reason if the newest build was refused and its push Secret is another one since then. These
// attempts count, and come apart, as retries do: some Secrets are written every few minutes, without being mended.
func (r *BaseImageReconciler) pushSecretMended(ctx context.Context, s *state, p *plan) (bool, error) {
	newest := s.newest()
	if newest == nil || s.image.Spec.Output.PushSecretRef == nil || newest.Spec.Retry >= s.set.retries || !refusedWithSecret(newest) {
		return false, nil
	}
	// Nobody tells of Secrets: they are not watched, because watching them means reading them all.
	p.comeBack(s.now.Add(resolveAgain))
	if newest.Spec.Retry > 0 && s.now.Before(newest.Status.CompletedAt.Add(retryDelay(newest.Spec.Retry, string(s.image.UID)))) {
		return false, nil
	}
	version, err := r.pushSecretVersion(ctx, s.image)
	if err != nil || version == newest.Spec.Inputs.PushSecret {
		return false, err
	}
	p.retry = newest.Spec.Retry + 1
	p.because(v1alpha1.BuildReasonCredentialsChanged, newest.Spec.Inputs.PushSecret, version)
	return true, nil
}

// refusedWithSecret reports whether a build has failed for want of a better push Secret.
func refusedWithSecret(build *v1alpha1.BaseImageBuild) bool {
	c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionSucceeded)
	return build.Status.Phase == v1alpha1.PhaseFailed && build.Status.CompletedAt != nil && build.Spec.Inputs.PushSecret != "" &&
		c != nil && slices.Contains(mendedBySecret, c.Reason)
}

// pushSecretVersion changes whenever the push Secret does, and says nothing of its content; "none" for one that does not
// exist, and nothing where the spec names none.
func (r *BaseImageReconciler) pushSecretVersion(ctx context.Context, image *v1alpha1.BaseImage) (string, error) {
	ref := image.Spec.Output.PushSecretRef
	if ref == nil {
		return "", nil
	}
	secret := &corev1.Secret{}
	err := r.Live.Get(ctx, types.NamespacedName{Namespace: image.Namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return "none", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the push secret %q: %w", ref.Name, err)
	}
	return digestOf([]byte(string(secret.UID) + "/" + secret.ResourceVersion)), nil
}

// gitCredentials reads the Secret of a private repository; nil for a public one.
func gitCredentials(ctx context.Context, live client.Reader, namespace string, git *v1alpha1.GitSource) (*source.Credentials, error) {
	if git.SecretRef == nil {
		return nil, nil
	}
	secret := &corev1.Secret{}
	err := live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: git.SecretRef.Name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceSecretInvalid, "spec.source.git.secretRef.name: there is no Secret %q in namespace %q: create it, or name another", git.SecretRef.Name, namespace)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the git secret %q: %w", git.SecretRef.Name, err)
	}
	return source.CredentialsFromSecret(git.URL, secret.Data)
}
