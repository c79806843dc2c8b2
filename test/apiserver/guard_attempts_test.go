//go:build apiserver

package apiserver

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
)

// attempt is what somebody tries.
type attempt struct {
	user string
	do   func(t *testing.T, g *guarded, c client.Client) error
	// policy that refuses it; empty if it is allowed.
	policy string
}

func try(t *testing.T, attempts map[string]attempt) {
	t.Helper()
	for desc, a := range attempts {
		t.Run(desc, func(t *testing.T) {
			g := newGuarded(t)
			err := a.do(t, g, as(t, a.user))
			switch {
			case a.policy == "" && err != nil:
				t.Errorf("%s is refused: %v", a.user, err)
			case a.policy != "" && !refusedBy(err, a.policy):
				t.Errorf("%s is not refused by %s: %v", a.user, a.policy, err)
			}
		})
	}
}

func create(object func(*guarded) client.Object) func(*testing.T, *guarded, client.Client) error {
	return func(t *testing.T, g *guarded, c client.Client) error { return c.Create(t.Context(), object(g)) }
}

func merge(of func(*guarded) client.Object, change string) func(*testing.T, *guarded, client.Client) error {
	return func(t *testing.T, g *guarded, c client.Client) error {
		return c.Patch(t.Context(), of(g), patch(of(g), change))
	}
}

func mergeInto(subresource string, of func(*guarded) client.Object, change string) func(*testing.T, *guarded, client.Client) error {
	return func(t *testing.T, g *guarded, c client.Client) error {
		return c.SubResource(subresource).Patch(t.Context(), of(g), patch(of(g), change))
	}
}

func patch(of client.Object, change string) client.Patch {
	if _, custom := of.(*v1alpha1.BaseImageBuild); custom {
		return client.RawPatch(types.MergePatchType, []byte(change))
	}
	return client.RawPatch(types.StrategicMergePatchType, []byte(change))
}

func theJob(g *guarded) client.Object   { return g.job }
func thePod(g *guarded) client.Object   { return g.pod }
func theBuild(g *guarded) client.Object { return g.build }
func otherPod(g *guarded) client.Object { return g.other }

// connect asks for one of the subresources by which somebody gets into a pod. No node has it: whoever is not refused
// learns that.
func connect(subresource string, to func(*guarded) client.Object) func(*testing.T, *guarded, client.Client) error {
	return func(t *testing.T, g *guarded, c client.Client) error {
		user := c.(*impersonator).user
		clientset, err := kubernetes.NewForConfig(configOf(user))
		if err != nil {
			t.Fatal(err)
		}
		err = clientset.CoreV1().RESTClient().Post().Namespace(g.namespace).Resource("pods").Name(to(g).GetName()).SubResource(subresource).
			Param("command", "sh").Param("stdout", "true").Do(t.Context()).Error()
		if err != nil && strings.Contains(err.Error(), "does not have a host assigned") {
			return nil
		}
		return err
	}
}

// impersonator is a client of somebody.
type impersonator struct {
	client.Client
	user string
}

const (
	evil        = `{"spec":{"containers":[{"name":"push","image":"evil.example/evil"}]}}`
	report      = `{"status":{"containerStatuses":[{"name":"push","ready":false,"restartCount":0,"image":"x","imageID":"x","state":{"terminated":{"exitCode":0,"message":"{}"}}}]}}`
	unlabel     = `{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}`
	label       = `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"basewright"}}}`
	relabel     = `{"metadata":{"labels":{"basewright.dev/build":"another"}}}`
	disown      = `{"metadata":{"ownerReferences":null}}`
	annotate    = `{"metadata":{"annotations":{"cni.projectcalico.org/podIP":"10.0.0.1"}}}`
	debug       = `{"spec":{"ephemeralContainers":[{"name":"debug","image":"evil.example/evil"}]}}`
	resize      = `{"spec":{"containers":[{"name":"push","resources":{"requests":{"memory":"256Mi"}}}]}}`
	resume      = `{"spec":{"suspend":false}}`
	finalize    = `{"metadata":{"finalizers":["foregroundDeletion"]}}`
	started     = `{"status":{"startTime":"2026-01-01T00:00:00Z"}}`
	buildStatus = `{"status":{"phase":"Succeeded"}}`
	children    = "basewright-children"
	names       = "basewright-names"
	builds      = "basewright-builds"
	either      = "basewright-"
	signerRule  = "basewright-signer"
)

func TestATenantCannotInterfereWithABuild(t *testing.T) {
	renamed := func(o client.Object) client.Object { o.SetName("another"); return o }
	try(t, map[string]attempt{
		"a Job with our label":        {theTenant, create(func(g *guarded) client.Object { return renamed(g.jobNamed("x")) }), either},
		"a Job with one of our names": {theTenant, create(func(g *guarded) client.Object { return own(g.jobNamed("basewright-x")) }), names},
		"a Job with the start of one": {theTenant, create(func(g *guarded) client.Object {
			j := g.jobNamed("")
			j.GenerateName = "basewright-"
			return own(j)
		}), names},
		"a pod that names our Job as its owner": {theTenant, create(func(g *guarded) client.Object { return g.podOf(g.job) }), children},
		"a pod with our label alone":            {theTenant, create(func(g *guarded) client.Object { p := g.podOf(g.job); p.OwnerReferences = nil; return p }), children},
		"an input":                              {theTenant, create(func(g *guarded) client.Object { return g.input() }), children},
		"a network policy": {theTenant, create(func(g *guarded) client.Object {
			return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "np", Labels: g.labels()}}
		}), children},
		"the content of an input": {theTenant, func(t *testing.T, g *guarded, c client.Client) error {
			return c.Patch(t.Context(), created(t, g.input()), client.RawPatch(types.MergePatchType, []byte(`{"data":{"a":"b"}}`)))
		}, children},
		"the bytes of an input": {theTenant, func(t *testing.T, g *guarded, c client.Client) error {
			return c.Patch(t.Context(), created(t, g.input()), client.RawPatch(types.MergePatchType, []byte(`{"binaryData":{"a":"YQ=="}}`)))
		}, children},
		"the image of a pod":                    {theTenant, merge(thePod, evil), children},
		"the label of a pod, taken off":         {theTenant, merge(thePod, unlabel), children},
		"the label of a pod of its own, put on": {theTenant, merge(otherPod, label), children},
		"another label of a pod":                {theTenant, merge(thePod, relabel), children},
		"the owner of a pod":                    {theTenant, merge(thePod, disown), children},
		"the label of a Job, taken off":         {theTenant, merge(theJob, unlabel), either},
		"a Job that is held back":               {theTenant, merge(theJob, resume), either},
		"the status of a pod":                   {theTenant, mergeInto("status", thePod, report), children},
		"the status of a Job":                   {theTenant, mergeInto("status", theJob, started), children},
		"a container to debug a pod":            {theTenant, mergeInto("ephemeralcontainers", thePod, debug), children},
		"the size of a pod":                     {theTenant, mergeInto("resize", thePod, resize), children},
		"a command in a pod":                    {theTenant, connect("exec", thePod), names},
		"the streams of a pod":                  {theTenant, connect("attach", thePod), names},
		"the ports of a pod":                    {theTenant, connect("portforward", thePod), names},
		"the proxy of a pod":                    {theTenant, connect("proxy", thePod), names},
		"a build":                               {theTenant, create(func(g *guarded) client.Object { return minimalBuild(g.namespace, "forged") }), builds},
		"the labels of a build":                 {theTenant, merge(theBuild, relabel), builds},
		"the status of a build":                 {theTenant, mergeInto("status", theBuild, buildStatus), builds},
		"the status of an image":                {theTenant, imageStatus, builds},
	})
}

// own makes a Job one that has nothing to do with builds. Kubernetes gives Jobs without labels those of their pods.
func own(j *batchv1.Job) *batchv1.Job {
	j.Labels, j.Spec.Template.Labels, j.OwnerReferences = nil, nil, nil
	return j
}

func TestATenantMayDoWhatHarmsNoBuild(t *testing.T) {
	remove := func(of func(*guarded) client.Object) func(*testing.T, *guarded, client.Client) error {
		return func(t *testing.T, g *guarded, c client.Client) error { return c.Delete(t.Context(), of(g)) }
	}
	try(t, map[string]attempt{
		"a Job of its own": {theTenant, create(func(g *guarded) client.Object {
			j := g.jobNamed("own")
			return own(j)
		}), ""},
		"one without a name": {theTenant, create(func(g *guarded) client.Object {
			j := g.jobNamed("")
			j.GenerateName = "own-"
			return own(j)
		}), ""},
		"the image of its pod":               {theTenant, merge(otherPod, `{"spec":{"containers":[{"name":"push","image":"own.example/own"}]}}`), ""},
		"a command in its pod":               {theTenant, connect("exec", otherPod), ""},
		"the end of a Job":                   {theTenant, remove(theJob), ""},
		"the end of a pod":                   {theTenant, remove(thePod), ""},
		"the end of a build":                 {theTenant, remove(theBuild), ""},
		"a base image":                       {theTenant, create(func(g *guarded) client.Object { return minimalBaseImage(g.namespace, "own") }), ""},
		"an annotation":                      {theTenant, merge(thePod, annotate), ""},
		"the annotation of a network plugin": {theNetworkPlugin, mergeInto("status", thePod, annotate), ""},
	})
}

func TestTheClusterDoesItsWorkOnBuilds(t *testing.T) {
	try(t, map[string]attempt{
		"the operator makes a Job":             {theOperator, create(func(g *guarded) client.Object { return g.jobNamed("basewright-x") }), ""},
		"the operator makes a build":           {theOperator, create(func(g *guarded) client.Object { return minimalBuild(g.namespace, "next") }), ""},
		"the operator reports":                 {theOperator, mergeInto("status", theBuild, buildStatus), ""},
		"the Job controller makes a pod":       {theJobController, create(func(g *guarded) client.Object { return g.podOf(g.job) }), ""},
		"the Job controller ends a Job":        {theJobController, mergeInto("status", theJob, started), ""},
		"the Job controller lets a pod go":     {theJobController, merge(thePod, finalize), ""},
		"a node reports of a pod":              {theNode, mergeInto("status", thePod, report), ""},
		"the scheduler says where a pod waits": {theScheduler, mergeInto("status", thePod, `{"status":{"nominatedNodeName":"worker-1"}}`), ""},
		"a Job is collected":                   {theGarbage, merge(theJob, finalize), ""},
		"a build is collected":                 {theGarbage, merge(theBuild, finalize), ""},
		"the scheduler binds a pod": {theScheduler, func(t *testing.T, g *guarded, c client.Client) error {
			return c.SubResource("binding").Create(t.Context(), g.pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "worker-1"}})
		}, ""},
		"an administrator of the cluster reaches into a pod": {theAdministrator, connect("exec", thePod), ""},
		"an administrator of the cluster writes a status":    {theAdministrator, mergeInto("status", thePod, report), ""},

		// Whoever has a controller make something is not the controller.
		"a pod that a Job of somebody else asks for": {theJobController, create(func(g *guarded) client.Object {
			own := g.job.DeepCopy()
			own.Name = "own"
			return g.podOf(own)
		}), children},
		"a pod that a ReplicaSet asks for": {theJobController, create(func(g *guarded) client.Object {
			pod := g.podOf(g.job)
			pod.OwnerReferences[0].Kind, pod.OwnerReferences[0].APIVersion = "ReplicaSet", "apps/v1"
			return pod
		}), children},
		"a pod of our Job that somebody else controls": {theJobController, create(func(g *guarded) client.Object {
			pod := g.podOf(g.job)
			pod.OwnerReferences[0].Controller = nil
			return pod
		}), children},
		"a Job that a CronJob asks for": {theJobController, create(func(g *guarded) client.Object { return g.jobNamed("basewright-x") }), either},
		"an input that names our Job as its owner": {theJobController, create(func(g *guarded) client.Object {
			input := g.input()
			input.OwnerReferences = g.pod.OwnerReferences
			return input
		}), children},
		"a command by a controller":       {theJobController, connect("exec", thePod), names},
		"a build by a controller":         {theJobController, create(func(g *guarded) client.Object { return minimalBuild(g.namespace, "next") }), builds},
		"the status of a build by a node": {theNode, mergeInto("status", theBuild, buildStatus), builds},
		"the question whether it is in force": {theOperator, create(func(g *guarded) client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "q",
				Labels: map[string]string{job.LabelManagedBy: job.ManagedBy, job.LabelGuard: "question"}}}
		}), children},
	})
}

func imageStatus(t *testing.T, g *guarded, c client.Client) error {
	image := created(t, minimalBaseImage(g.namespace, "own"))
	return c.Status().Patch(t.Context(), image, client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`)))
}

func TestNobodyElseSigns(t *testing.T) {
	token := func(account string) func(*testing.T, *guarded, client.Client) error {
		return func(t *testing.T, _ *guarded, c client.Client) error {
			of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "basewright-system", Name: account}}
			if err := k8s.Create(t.Context(), of.DeepCopy()); client.IgnoreAlreadyExists(err) != nil {
				t.Fatal(err)
			}
			return c.SubResource("token").Create(t.Context(), of, &authenticationv1.TokenRequest{})
		}
	}
	pod := func(account string) func(*testing.T, *guarded, client.Client) error {
		return create(func(*guarded) client.Object {
			spec := podSpec()
			spec.ServiceAccountName, spec.AutomountServiceAccountToken = account, new(false)
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "basewright-system", GenerateName: "p-"}, Spec: spec}
		})
	}
	secret := func(account string) func(*testing.T, *guarded, client.Client) error {
		return create(func(*guarded) client.Object {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "basewright-system", GenerateName: "s-",
				Annotations: map[string]string{"kubernetes.io/service-account.name": account}}, Type: corev1.SecretTypeServiceAccountToken}
		})
	}
	newGuarded(t)
	mayAllIn(t, "basewright-system")
	try(t, map[string]attempt{
		"a pod with the identity that signs": {theTenant, pod("basewright-signer"), signerRule},
		"an administrator's pod with it":     {theAdministrator, pod("basewright-signer"), signerRule},
		"a token of it":                      {theTenant, token("basewright-signer"), signerRule},
		"a token of it for a node":           {theNode, token("basewright-signer"), signerRule},
		"a token of it for the operator":     {theOperator, token("basewright-signer"), ""},
		"a lasting token of it":              {theAdministrator, secret("basewright-signer"), signerRule},
		"a token of another ServiceAccount":  {theTenant, token("default"), ""},
		"a pod with another ServiceAccount":  {theTenant, pod("default"), ""},
		"a lasting token of another one":     {theTenant, secret("default"), ""},
	})
}
