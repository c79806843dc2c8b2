//go:build apiserver

package apiserver

import (
	"strconv"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
)

func TestNetworkPoliciesAreThereBeforeJobs(t *testing.T) {
	o := newOperator(t)
	o.image("connected")
	build := o.awaitBuild(1)
	jobs := o.awaitJobs(build.Name)
	list := &networkingv1.NetworkPolicyList{}
	o.check(k8s.List(t.Context(), list, client.InNamespace(o.namespace)), "listing network policies")
	if len(list.Items) != 2 {
		t.Fatalf("there are %d network policies, want 2", len(list.Items))
	}
	for _, p := range list.Items {
		if !metav1.IsControlledBy(&p, &build) || p.Labels[job.LabelManagedBy] != job.ManagedBy {
			t.Errorf("%s is not of the build, or not guarded: %+v", p.Name, p.ObjectMeta)
		}
		for _, j := range jobs {
			if versionOf(t, &p) > versionOf(t, &j) {
				t.Errorf("Job %s was there before %s", j.Name, p.Name)
			}
		}
	}
}

func versionOf(t *testing.T, o client.Object) int {
	t.Helper()
	version, err := strconv.Atoi(o.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestANetworkPolicyOfSomebodyElseIsNotTaken(t *testing.T) {
	o := newOperator(t)
	o.stop()
	image := o.image("open")
	created(t, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace,
		Name: job.Name(job.BuildName("open", 1, string(image.UID), "1"), "network")}})
	o.start()
	o.awaitCondition(image, "Stalled", metav1.ConditionTrue, v1alpha1.ReasonConflict)
	if jobs := o.jobs(); len(jobs) != 0 {
		t.Errorf("%d Jobs were made", len(jobs))
	}
}
