//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/webhook"
)

const theWebhook = "system:serviceaccount:basewright-system:basewright-webhook"

// installWebhookPermissions applies the roles of config/webhook as kustomize would, for the length of the test.
func installWebhookPermissions(t *testing.T) {
	t.Helper()
	makeSystemNamespace(t)
	raw, err := os.ReadFile("../../config/webhook/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range bytes.SplitSeq(raw, []byte("\n---\n")) {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, o); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(o.GetKind(), "Cluster") {
			o.SetNamespace(systemNamespace)
		}
		createAll(t, o)
	}
}

// webhookReplica runs the certificates of a replica, with the rights of the webhook, until the test ends.
func webhookReplica(t *testing.T) *webhook.Certificates {
	t.Helper()
	own := rest.CopyConfig(cfg)
	own.Impersonate = rest.ImpersonationConfig{UserName: theWebhook, Groups: []string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:basewright-system"}}
	mgr, err := ctrl.NewManager(own, ctrl.Options{Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)}})
	if err != nil {
		t.Fatal(err)
	}
	certificates, err := webhook.SetUpCertificates(mgr, systemNamespace, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the replica ends with %v", err)
		}
	})
	return certificates
}

// trustedByAll are the certificates that all webhooks of the cluster trust.
func trustedByAll(t *testing.T) (bundles [][]byte) {
	t.Helper()
	mutating, validating := configurations(t)
	for _, o := range []client.Object{mutating, validating} {
		if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range mutating.Webhooks {
		bundles = append(bundles, w.ClientConfig.CABundle)
	}
	for _, w := range validating.Webhooks {
		bundles = append(bundles, w.ClientConfig.CABundle)
	}
	return bundles
}

// served reports why an apiserver would refuse what a replica serves with.
func served(c *webhook.Certificates, bundles [][]byte) error {
	if err := c.Check(nil); err != nil {
		return err
	}
	pair, err := c.GetCertificate(nil)
	if err != nil {
		return err
	}
	for _, bundle := range bundles {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(bundle)
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "basewright-webhook.basewright-system.svc", Roots: pool}); err != nil {
			return err
		}
	}
	return nil
}

// Two replicas start at the same time in an empty cluster, with no rights but those that are installed.
func TestCertificatesOfTwoReplicas(t *testing.T) {
	installWebhookPermissions(t)
	mutating, validating := configurations(t)
	createAll(t, mutating)
	createAll(t, validating)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: webhook.SecretName}}
	t.Cleanup(func() {
		if err := k8s.Delete(context.WithoutCancel(t.Context()), secret); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	replicas := []*webhook.Certificates{webhookReplica(t), webhookReplica(t)}
	all := func() error {
		var failed []error
		for _, r := range replicas {
			failed = append(failed, served(r, trustedByAll(t)))
		}
		one, err := replicas[0].GetCertificate(nil)
		other, err2 := replicas[1].GetCertificate(nil)
		if err := errors.Join(append(failed, err, err2)...); err != nil {
			return err
		}
		if !one.Leaf.Equal(other.Leaf) {
			return errors.New("they serve with different certificates")
		}
		return nil
	}
	eventually(t, "after the start", all)
	before := trustedByAll(t)
	if len(before) != 4 {
		t.Errorf("there are %d webhooks", len(before))
	}

	// Who deletes the Secret has another authority made. Until all know it, replicas serve with what they have.
	if err := k8s.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another authority", func() error {
		if err := all(); err != nil {
			t.Errorf("in between: %v", err)
		}
		for _, bundle := range trustedByAll(t) {
			if bytes.Count(bundle, []byte("BEGIN CERTIFICATE")) != 2 || !bytes.HasSuffix(bundle, before[0]) {
				return errors.New("not all webhooks trust both")
			}
		}
		return nil
	})

	// A configuration that is installed again is mended.
	again, _ := configurations(t)
	if err := k8s.Get(t.Context(), client.ObjectKeyFromObject(again), again); err != nil {
		t.Fatal(err)
	}
	again.Webhooks[0].ClientConfig.CABundle = nil
	if err := k8s.Update(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a configuration without a bundle", func() error {
		if slices.ContainsFunc(trustedByAll(t), func(b []byte) bool { return len(b) == 0 }) {
			return errors.New("it has none")
		}
		return nil
	})
}

// The rights to write Secrets are for one name.
func TestTheWebhookMakesNoOtherSecret(t *testing.T) {
	installWebhookPermissions(t)
	c := clientAs(t, theWebhook)
	for _, name := range []string{"other", "basewright-webhook-certs-2"} {
		if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name}}); !apierrors.IsForbidden(err) {
			t.Errorf("creating the Secret %s: %v", name, err)
		}
	}
	// Not even this one, by a create, which asks without a name.
	if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: webhook.SecretName}}); !apierrors.IsForbidden(err) {
		t.Errorf("creating the Secret: %v", err)
	}
}
