// Package webhook holds the test of what config/webhook installs.
package webhook

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// document of a kind, out of a file with several, strictly read.
func document[T any](t *testing.T, file, kind string) T {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw))); ; {
		one, err := reader.Read()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s has no %s", file, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal(one, &meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind == kind {
			var into T
			if err := yaml.UnmarshalStrict(one, &into); err != nil {
				t.Fatalf("%s of %s: %v", kind, file, err)
			}
			return into
		}
	}
}

// hook has what both kinds of webhooks have.
type hook struct {
	name       string
	config     admissionregistrationv1.WebhookClientConfig
	rules      []admissionregistrationv1.RuleWithOperations
	fails      *admissionregistrationv1.FailurePolicyType
	matches    *admissionregistrationv1.MatchPolicyType
	namespaces *metav1.LabelSelector
	objects    *metav1.LabelSelector
	effects    *admissionregistrationv1.SideEffectClass
	timeout    *int32
	versions   []string
	conditions []admissionregistrationv1.MatchCondition
}

func hooks(t *testing.T) (mutating, validating []hook) {
	t.Helper()
	m := document[admissionregistrationv1.MutatingWebhookConfiguration](t, "admission.yaml", "MutatingWebhookConfiguration")
	for _, w := range m.Webhooks {
		if w.ReinvocationPolicy == nil || *w.ReinvocationPolicy != admissionregistrationv1.IfNeededReinvocationPolicy {
			t.Errorf("%s does not see what others add after it", w.Name)
		}
		mutating = append(mutating, hook{w.Name, w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.SideEffects, w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions})
	}
	v := document[admissionregistrationv1.ValidatingWebhookConfiguration](t, "admission.yaml", "ValidatingWebhookConfiguration")
	for _, w := range v.Webhooks {
		validating = append(validating, hook{w.Name, w.ClientConfig, w.Rules, w.FailurePolicy, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector, w.SideEffects, w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions})
	}
	if m.Name != v.Name || m.Name != "basewright-admission" {
		t.Errorf("they are named %s and %s, which the certificates and the role don't know", m.Name, v.Name)
	}
	return mutating, validating
}

func TestWebhooksFailClosed(t *testing.T) {
	mutating, validating := hooks(t)
	for _, w := range slices.Concat(mutating, validating) {
		if *w.fails != admissionregistrationv1.Fail || *w.matches != admissionregistrationv1.Equivalent || *w.timeout != 10 || !slices.Equal(w.versions, []string{"v1"}) || w.objects != nil {
			t.Errorf("%s: %+v", w.name, w)
		}
		if *w.effects != admissionregistrationv1.SideEffectClassNoneOnDryRun && (*w.effects != admissionregistrationv1.SideEffectClassNone || w.name != "policies.basewright.dev") {
			t.Errorf("%s has side effects %s", w.name, *w.effects)
		}
		if s := w.config.Service; s == nil || s.Name != "basewright-webhook" || s.Namespace != "basewright-system" || w.config.CABundle != nil {
			t.Errorf("%s asks %+v", w.name, w.config)
		}
	}
}

func TestWhoIsUnderAdmission(t *testing.T) {
	mutating, validating := hooks(t)
	for _, w := range slices.Concat(mutating, validating) {
		if w.name == "policies.basewright.dev" {
			if w.namespaces != nil {
				t.Errorf("%s is of no namespace", w.name)
			}
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(w.namespaces)
		if err != nil {
			t.Fatal(err)
		}
		for desc, tt := range map[string]struct {
			set  labels.Set
			want bool
		}{
			"a namespace with the label":    {labels.Set{"kubernetes.io/metadata.name": "a", "basewright.dev/admission": "enforced"}, true},
			"a namespace without it":        {labels.Set{"kubernetes.io/metadata.name": "a"}, false},
			"one with another value":        {labels.Set{"kubernetes.io/metadata.name": "a", "basewright.dev/admission": "off"}, false},
			"kube-system, labelled":         {labels.Set{"kubernetes.io/metadata.name": "kube-system", "basewright.dev/admission": "enforced"}, false},
			"ours, labelled":                {labels.Set{"kubernetes.io/metadata.name": "basewright-system", "basewright.dev/admission": "enforced"}, false},
			"one that looks like ours":      {labels.Set{"kubernetes.io/metadata.name": "a", "name": "kube-system", "basewright.dev/admission": "enforced"}, true},
			"one whose name begins as ours": {labels.Set{"kubernetes.io/metadata.name": "basewright-system-2", "basewright.dev/admission": "enforced"}, true},
		} {
			if got := selector.Matches(tt.set); got != tt.want {
				t.Errorf("%s, %s: got %t", w.name, desc, got)
			}
		}
	}
}

// asked lists what a webhook is asked for, as resource operation.
func asked(all []hook) []string {
	var out []string
	for _, w := range all {
		for _, r := range w.rules {
			for _, resource := range r.Resources {
				for _, o := range r.Operations {
					out = append(out, strings.Join([]string{*w.config.Service.Path, r.APIGroups[0], resource, string(o)}, " "))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestWhatIsAsked(t *testing.T) {
	mutating, validating := hooks(t)
	want := []string{"/mutate  pods CREATE", "/mutate  pods UPDATE", "/mutate  pods/ephemeralcontainers UPDATE",
		"/validate  pods CREATE", "/validate  pods UPDATE", "/validate  pods/ephemeralcontainers UPDATE", "/validate  pods/resize UPDATE",
		"/validate  replicationcontrollers CREATE", "/validate  replicationcontrollers UPDATE",
		"/validate apps daemonsets CREATE", "/validate apps daemonsets UPDATE", "/validate apps deployments CREATE", "/validate apps deployments UPDATE",
		"/validate apps replicasets CREATE", "/validate apps replicasets UPDATE", "/validate apps statefulsets CREATE", "/validate apps statefulsets UPDATE",
		"/validate batch cronjobs CREATE", "/validate batch cronjobs UPDATE", "/validate batch jobs CREATE", "/validate batch jobs UPDATE",
		"/validate-policy basewright.dev imageadmissionpolicies CREATE", "/validate-policy basewright.dev imageadmissionpolicies UPDATE"}
	got := asked(slices.Concat(mutating, validating))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Pods of the operator are told apart in the same way by both.
func TestBothWebhooksForPodsHaveTheSameConditions(t *testing.T) {
	mutating, validating := hooks(t)
	if len(mutating) != 1 || !slices.Equal(mutating[0].conditions, validating[0].conditions) {
		t.Errorf("got %+v and %+v", mutating[0].conditions, validating[0].conditions)
	}
	for _, w := range slices.Concat(mutating, validating) {
		for _, c := range w.conditions {
			if c.Name != "not-of-a-build" {
				continue
			}
			if !strings.Contains(c.Expression, "&&\nauthorizer.") && !strings.Contains(c.Expression, "&& authorizer.") && !strings.Contains(c.Expression, "&& (authorizer.") {
				t.Errorf("%s lets pass by what is written in an object: %s", w.name, c.Expression)
			}
		}
	}
}

func TestTheDeployment(t *testing.T) {
	d := document[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	budget := document[policyv1.PodDisruptionBudget](t, "deployment.yaml", "PodDisruptionBudget")
	if *d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 || budget.Spec.MinAvailable.IntValue() != 1 {
		t.Errorf("%d replicas, %+v, %+v", *d.Spec.Replicas, d.Spec.Strategy.RollingUpdate, budget.Spec)
	}
	selector, err := metav1.LabelSelectorAsSelector(budget.Spec.Selector)
	if err != nil || !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
		t.Errorf("the budget is for others: %v", err)
	}
	service := document[corev1.Service](t, "deployment.yaml", "Service")
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)) || service.Spec.Ports[0].Port != 443 {
		t.Errorf("the Service is for others: %+v", service.Spec)
	}
	pod := d.Spec.Template.Spec
	if len(pod.TopologySpreadConstraints) != 2 || pod.PriorityClassName != "basewright-webhook" {
		t.Errorf("got %+v, %s", pod.TopologySpreadConstraints, pod.PriorityClassName)
	}
	// 10 s of drain, 5 s for what is written at the end, 10 s for requests under way: cmd/webhook.
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < 30*time.Second {
		t.Errorf("it is killed after %s", grace)
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 {
		t.Errorf("got %+v", s)
	}
	if c.ReadinessProbe == nil || c.LivenessProbe == nil || c.Resources.Limits.Memory().Value() != 512<<20 || !c.Resources.Limits.Cpu().IsZero() {
		t.Errorf("got %+v", c)
	}
}

// What may be changed is told by name.
func TestTheRoleWritesNothingElse(t *testing.T) {
	role := document[rbacv1.ClusterRole](t, "rbac.yaml", "ClusterRole")
	for _, r := range role.Rules {
		for _, verb := range r.Verbs {
			switch {
			case slices.Contains([]string{"get", "list", "watch"}, verb):
			case slices.Equal(r.Resources, []string{"imageadmissionpolicies/status"}), slices.Equal(r.Resources, []string{"events"}):
			case slices.Equal(r.ResourceNames, []string{"basewright-admission"}) && verb == "patch":
			default:
				t.Errorf("it may %s %v of the whole cluster", verb, r.Resources)
			}
		}
	}
	own := document[rbacv1.Role](t, "rbac.yaml", "Role")
	for _, r := range own.Rules {
		if slices.Contains(r.Resources, "secrets") && !slices.Equal(r.ResourceNames, []string{"basewright-webhook-certs"}) {
			t.Errorf("it may %v all Secrets of its namespace", r.Verbs)
		}
	}
}

// Every file here is installed, and the whole by config/default.
func TestEveryFileIsInstalled(t *testing.T) {
	raw, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file != "kustomization.yaml" && !bytes.Contains(raw, []byte("- "+file)) {
			t.Errorf("%s is not installed", file)
		}
	}
	whole, err := os.ReadFile("../default/kustomization.yaml")
	if err != nil || !bytes.Contains(whole, []byte("- ../webhook\n")) {
		t.Errorf("config/default does not have it: %v", err)
	}
}
