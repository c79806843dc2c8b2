//go:build apiserver

package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
)

const (
	theOperator      = "system:serviceaccount:basewright-system:basewright-operator"
	theJobController = "system:serviceaccount:kube-system:job-controller"
	theGarbage       = "system:serviceaccount:kube-system:generic-garbage-collector"
	theNode          = "system:node:worker-1"
	theScheduler     = "system:kube-scheduler"
	theNetworkPlugin = "system:serviceaccount:kube-system:calico-node"
	theAdministrator = "administrator"
	// theTenant may do everything in the namespace, by "*".
	theTenant = "tenant"
)

// guarded are a namespace and what a build has in it, under the policies of config/admission.
type guarded struct {
	namespace string
	build     *v1alpha1.BaseImageBuild
	job       *batchv1.Job
	pod       *corev1.Pod
	// other is a pod that belongs to no build.
	other *corev1.Pod
}

var installed sync.Once

// newGuarded makes a namespace in which everybody may do everything, so that nothing but the policies refuses it.
func newGuarded(t *testing.T) *guarded {
	t.Helper()
	installed.Do(func() { installPolicies(t) })
	g := &guarded{namespace: newNamespace(t)}
	mayAllIn(t, g.namespace)
	g.build = created(t, minimalBuild(g.namespace, "base-2-ab12cd"))
	g.job = created(t, g.jobNamed("basewright-base-2-ab12cd-amd64"))
	g.pod = created(t, g.podOf(g.job))
	g.other = created(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "other"}, Spec: podSpec()})
	return g
}

// mayAllIn gives everybody "*" in a namespace.
func mayAllIn(t *testing.T, namespace string) {
	t.Helper()
	everything := created(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "everything"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}})
	created(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "everybody"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: everything.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"}}})
}

func podSpec() corev1.PodSpec {
	return corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "push", Image: "worker.example/worker",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}}}}}
}

func (g *guarded) labels() map[string]string {
	return map[string]string{job.LabelManagedBy: job.ManagedBy, job.LabelBuild: g.build.Name}
}

// jobNamed is a Job as the operator makes it.
func (g *guarded) jobNamed(name string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name, Labels: g.labels(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(g.build, v1alpha1.SchemeGroupVersion.WithKind("BaseImageBuild"))}},
		Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: g.labels()}, Spec: podSpec()}}}
}

// podOf is a pod as the Job controller makes it.
func (g *guarded) podOf(of *batchv1.Job) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, GenerateName: of.Name + "-", Labels: g.labels(),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(of, batchv1.SchemeGroupVersion.WithKind("Job"))}}, Spec: podSpec()}
}

func as(t *testing.T, user string) *impersonator {
	t.Helper()
	c, err := client.New(configOf(user), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &impersonator{c, user}
}

func configOf(user string) *rest.Config {
	impersonating := rest.CopyConfig(cfg)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	if group, ok := map[string]string{theNode: "system:nodes", theAdministrator: "system:masters"}[user]; ok {
		impersonating.Impersonate.Groups = append(impersonating.Impersonate.Groups, group)
	}
	return impersonating
}

// installPolicies applies config/admission and waits until the apiserver heeds each policy.
func installPolicies(t *testing.T) {
	t.Helper()
	created(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "basewright-system"}})
	for _, o := range admissionObjects(t) {
		created(t, o)
	}
	probes := map[string]client.Object{
		"basewright-children": &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe", Labels: map[string]string{job.LabelManagedBy: job.ManagedBy}}},
		"basewright-names":    &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "basewright-probe"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: podSpec()}}},
		"basewright-builds":   minimalBuild("default", "probe"),
		"basewright-signer": &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "basewright-system", Name: "probe",
			Annotations: map[string]string{"kubernetes.io/service-account.name": "basewright-signer"}}},
	}
	everything := created(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "batch", v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"configmaps", "jobs", "secrets", "baseimagebuilds"}, Verbs: []string{"create"}}}})
	created(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: everything.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "probe"}}})
	asking := as(t, "probe")
	for policy, probe := range probes {
		eventually(t, "policy "+policy, func() error {
			err := asking.Create(t.Context(), probe.DeepCopyObject().(client.Object), client.DryRunAll)
			if !refusedBy(err, policy) {
				return errors.Join(errors.New("it is not in force"), err)
			}
			return nil
		})
	}
}

func admissionObjects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	for _, file := range []string{"roles.yaml", "children.yaml", "names.yaml", "builds.yaml", "signer.yaml"} {
		raw, err := os.ReadFile("../../config/admission/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			o := &unstructured.Unstructured{}
			if err := errors.Join(err, yaml.Unmarshal(document, &o.Object)); err != nil {
				t.Fatal(err)
			}
			objects = append(objects, o)
		}
	}
	return objects
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awaitTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// refusedBy says of which policy a refusal is. Several policies may refuse a request: which of them says so is left open.
func refusedBy(err error, policy string) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy)
}

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

func create(make func(*guarded) client.Object) func(*testing.T, *guarded, client.Client) error {
	return func(t *testing.T, g *guarded, c client.Client) error { return c.Create(t.Context(), make(g)) }
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
		"an input": {theTenant, create(func(g *guarded) client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "in", Labels: g.labels()}}
		}), children},
		"a network policy": {theTenant, create(func(g *guarded) client.Object {
			return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "np", Labels: g.labels()}}
		}), children},
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
		"a Job that a CronJob asks for":   {theJobController, create(func(g *guarded) client.Object { return g.jobNamed("basewright-x") }), either},
		"a command by a controller":       {theJobController, connect("exec", thePod), names},
		"the status of a build by a node": {theNode, mergeInto("status", theBuild, buildStatus), builds},
		"the question whether it is in force": {theOperator, create(func(g *guarded) client.Object {
			return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: "q",
				Labels: map[string]string{job.LabelManagedBy: job.ManagedBy, "basewright.dev/guard": ""}}}
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
