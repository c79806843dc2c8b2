package webhook

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/pullsecret"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// askTimeout of one question to the apiserver.
	askTimeout = 2 * time.Second
	// absentFor is how long something that there was not is not asked for again. A watch that brings it ends that at once.
	absentFor = 10 * time.Second
	// maxAbsent objects are remembered.
	maxAbsent = 1000
)

// absentee is an object that there was not.
type absentee struct{ kind, namespace, name string }

// found is an object, or that there is none.
type found[T any] struct{ value T }

func (c *Cluster) askNamespace(ctx context.Context, name string) (map[string]string, error) {
	labels, err := c.askedNamespaces.Do(ctx, name, askTimeout, func(ctx context.Context) (map[string]string, error) {
		namespace, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return namespace.Labels, nil
	})
	return labels, unasked(ctx, "Namespace "+name, err)
}

func (c *Cluster) askAccount(ctx context.Context, namespace, name string) ([]corev1.LocalObjectReference, error) {
	who := absentee{"ServiceAccount", namespace, name}
	if c.isAbsent(who) {
		return nil, nil
	}
	got, err := c.askedAccounts.Do(ctx, namespace+"/"+name, askTimeout, func(ctx context.Context) (f found[[]corev1.LocalObjectReference], err error) {
		account, err := c.kube.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			f.value = account.ImagePullSecrets
		}
		return f, c.mayBeAbsent(who, err)
	})
	return got.value, unasked(ctx, "ServiceAccount "+namespace+"/"+name, err)
}

// askSecret returns one without UID if there is none, or one of another type: the kubelet passes it over.
func (c *Cluster) askSecret(ctx context.Context, namespace, name string) (pullsecret.Secret, error) {
	none := pullsecret.Secret{Namespace: namespace, Name: name}
	who := absentee{"Secret", namespace, name}
	if name == "" || c.isAbsent(who) {
		return none, nil
	}
	got, err := c.askedSecrets.Do(ctx, namespace+"/"+name, askTimeout, func(ctx context.Context) (found[pullsecret.Secret], error) {
		secret, err := c.kube.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err != nil:
			return found[pullsecret.Secret]{none}, c.mayBeAbsent(who, err)
		case dataKeys[secret.Type] == "":
			c.absent.Add(who, c.clock.Now())
			return found[pullsecret.Secret]{none}, nil
		}
		v := versionOf(secret)
		return found[pullsecret.Secret]{pullsecret.Secret{
			Namespace: namespace, Name: name, UID: v.uid, ResourceVersion: v.resourceVersion, Type: string(secret.Type),
		}}, nil
	})
	return got.value, unasked(ctx, "Secret "+namespace+"/"+name, err)
}

// dataKeys are where the content of a secret is.
var dataKeys = map[corev1.SecretType]string{
	registry.TypeDockerConfigJSON: corev1.DockerConfigJsonKey,
	registry.TypeDockercfg:        corev1.DockerConfigKey,
}

// loadSecret implements pullsecret.Load.
func (c *Cluster) loadSecret(ctx context.Context, wanted pullsecret.Secret) ([]byte, error) {
	secret, err := c.kube.CoreV1().Secrets(wanted.Namespace).Get(ctx, wanted.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, pullsecret.ErrMissing
	case err != nil:
		return nil, err
	case string(secret.Type) != wanted.Type:
		return nil, pullsecret.ErrMissing
	}
	return secret.Data[dataKeys[secret.Type]], nil
}

func (c *Cluster) isAbsent(who absentee) bool {
	since, ok := c.absent.Get(who)
	return ok && c.clock.Since(since) < absentFor
}

// mayBeAbsent takes it for an answer that there is no such object.
func (c *Cluster) mayBeAbsent(who absentee, err error) error {
	if apierrors.IsNotFound(err) {
		c.absent.Add(who, c.clock.Now())
		return nil
	}
	return err
}

// unasked is an outage: nothing is known of what was asked for.
func unasked(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return pipeline.Transientf(pipeline.ReasonClusterUnavailable, "looking up %s: the apiserver has not answered in time: %w", what, err)
	}
	return pipeline.Transientf(pipeline.ReasonClusterUnavailable, "looking up %s: %w", what, err)
}
