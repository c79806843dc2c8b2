//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	systemNamespace   = "basewright-system"
	webhookDeployment = "basewright-webhook"
	webhookSecret     = "basewright-webhook-certs"
)

// testRegistry takes the registry away. What the webhook knows goes on, the rest is an outage and no violation.
func (a *admission) testRegistry(t *testing.T) {
	ns := a.tenant(t)
	known := a.signed()
	unknown := a.sign(t, team, "cosign3", a.variant(t, "never-seen"), "--recursive")
	pod := podOf(ns, "before", known.byDigest())
	admitted(t, pod)
	create(t, pod)
	awaitPod(t, pod) // The node has the image.

	registryIs(t, "stop")
	after := podOf(ns, "after", known.byDigest())
	create(t, after)
	awaitPod(t, after)
	outage := refused(t, podOf(ns, "unknown", unknown.byDigest()), unavailable, "could not be checked", "outage", unknown.byDigest(), registryHost)
	t.Log(outage)
	refused(t, podOf(ns, "unknown", unknown.tag()), unavailable, "could not be checked", "outage", unknown.tag(), "looking for the digest")
	refused(t, podOf(ns, "root", known.byDigest(), func(s *corev1.PodSpec) { s.HostNetwork = true }), forbidden, "spec.hostNetwork")

	registryIs(t, "start")
	admitted(t, podOf(ns, "unknown", unknown.tag()))
	t.Run("a registry that never answers", func(t *testing.T) {
		silent := a.sign(t, team, "cosign3", a.variant(t, "never-heard"), "--recursive")
		registryIs(t, "slow")
		refused(t, podOf(ns, "silent", silent.byDigest()), unavailable, "could not be checked", "outage", silent.byDigest())
		admitted(t, podOf(ns, "known", known.byDigest()))
		registryIs(t, "start")
		admitted(t, podOf(ns, "silent", silent.byDigest()))
	})
}

// registryIs changes the state of the whole registry, until the test ends at the latest.
func registryIs(t *testing.T, state string) {
	t.Helper()
	if _, err := sandbox("registry", state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := sandbox("registry", "start"); err != nil {
			t.Error(err)
		}
	})
}

// testCertificates deletes the Secret that both replicas serve with.
func (a *admission) testCertificates(t *testing.T) {
	ns := a.tenant(t)
	pod := podOf(ns, "served", a.signed().byDigest())
	admitted(t, pod)
	key := client.ObjectKey{Namespace: systemNamespace, Name: webhookSecret}
	secret := &corev1.Secret{}
	if err := k8s.Get(t.Context(), key, secret); err != nil {
		t.Fatal(err)
	}
	before := secret.UID
	if err := k8s.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "another certificate", func(ctx context.Context) (bool, string) {
		secret = &corev1.Secret{}
		err := k8s.Get(ctx, key, secret)
		return err == nil && secret.UID != before && len(secret.Data[corev1.TLSCertKey]) > 0, fmt.Sprint(err)
	})
	eventually(t, 2*time.Minute, "ten pods in a row to be admitted", func(ctx context.Context) (bool, string) {
		for range 10 {
			if err := k8s.Create(ctx, pod.DeepCopy(), client.DryRunAll); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

// testRestarts replaces every replica, twice, and kills one, while four clients make pods.
func (a *admission) testRestarts(t *testing.T) {
	ns := a.tenant(t)
	pod := podOf(ns, "load", a.signed().tag())
	admitted(t, pod)
	load := startLoad(t, 4, pod)
	for range 2 {
		run(t, nil, kubectl, "--namespace="+systemNamespace, "rollout", "restart", "deployment/"+webhookDeployment)
		run(t, nil, kubectl, "--namespace="+systemNamespace, "rollout", "status", "deployment/"+webhookDeployment, "--timeout=4m")
	}
	pods := &corev1.PodList{}
	if err := k8s.List(t.Context(), pods, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "webhook"}); err != nil || len(pods.Items) < 2 {
		t.Fatalf("the webhook has %d replicas: %v", len(pods.Items), err)
	}
	if err := k8s.Delete(t.Context(), &pods.Items[0]); err != nil {
		t.Fatal(err)
	}
	run(t, nil, kubectl, "--namespace="+systemNamespace, "wait", "--for=delete", "pod/"+pods.Items[0].Name, "--timeout=2m")
	run(t, nil, kubectl, "--namespace="+systemNamespace, "rollout", "status", "deployment/"+webhookDeployment, "--timeout=4m")
	made := load.stop()
	t.Logf("%d pods were made meanwhile", made)
	if made < 100 {
		t.Errorf("only %d pods were made: that is no load", made)
	}
}

// load is clients that make a pod again and again.
type load struct {
	made   atomic.Int64
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// startLoad fails the test with every pod that can't be made.
func startLoad(t *testing.T, clients int, pod *corev1.Pod) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for range clients {
		l.all.Go(func() {
			for ctx.Err() == nil {
				_, err := clientset.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				switch {
				case err == nil:
					l.made.Add(1)
				case ctx.Err() == nil:
					t.Errorf("a pod was lost: %v", err)
				}
			}
		})
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) stop() int64 {
	l.cancel()
	l.all.Wait()
	return l.made.Load()
}
