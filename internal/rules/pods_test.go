package rules_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

func evaluate(t testing.TB, p *rules.Pods, q rules.PodQuestion) []rules.PodFinding {
	t.Helper()
	found, err := p.Evaluate(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Rule == "" || f.Field == "" || f.Message == "" || f.Fix == "" || len(f.Message) > 512 {
			t.Errorf("a finding is not whole: %+v", f)
		}
	}
	return found
}

// places are the rule and the field of each finding.
func places(findings []rules.PodFinding) (all []string) {
	for _, f := range findings {
		all = append(all, f.Rule+" "+f.Field)
	}
	return all
}

func volume(name string, source corev1.VolumeSource) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: source}
}

func token(name string) corev1.Volume {
	return volume(name, corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{ConfigMap: &corev1.ConfigMapProjection{}}, {ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}},
	}}})
}

type ruleCase struct {
	change func(*rules.PodQuestion, *corev1.Container)
	want   []string
}

// ruleCases change a pod of two containers in which nothing is wrong.
var ruleCases = map[string]ruleCase{
	"nothing": {func(*rules.PodQuestion, *corev1.Container) {}, nil},
	"a privileged container": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.Privileged = new(true) },
		[]string{"privileged spec.containers[1].securityContext.privileged"}},
	"namespaces of the node": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.HostPID, q.Spec.HostNetwork, q.Spec.HostIPC = true, true, true
	},
		[]string{"host-namespaces spec.hostIPC", "host-namespaces spec.hostNetwork", "host-namespaces spec.hostPID"}},
	"capabilities that are added": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_BIND_SERVICE", "CHOWN"}
	}, []string{"capabilities spec.containers[1].securityContext.capabilities.add[1]"}},
	"capabilities that are only added": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.Capabilities = &corev1.Capabilities{Add: []corev1.Capability{"NET_BIND_SERVICE"}}
	},
		[]string{"capabilities spec.containers[1].securityContext.capabilities.drop"}},
	"capabilities that are not dropped": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.Capabilities.Drop = []corev1.Capability{"CHOWN"}
	},
		[]string{"capabilities spec.containers[1].securityContext.capabilities.drop"}},
	"a directory of the node": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.Volumes = append(q.Spec.Volumes, volume("x", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}))
	}, []string{"volume-types spec.volumes[1]", "host-path spec.volumes[1].hostPath"}},
	"a volume of two types": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.Volumes[0].NFS = &corev1.NFSVolumeSource{}
	}, []string{"volume-types spec.volumes[0]"}},
	"a volume of a type that came after us": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{}
	}, []string{"volume-types spec.volumes[0]"}},
	"a port of the node": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.Ports = append(c.Ports, corev1.ContainerPort{HostPort: 80}, corev1.ContainerPort{})
	}, []string{"host-ports spec.containers[1].ports[1].hostPort"}},
	"a probe of another host": {func(_ *rules.PodQuestion, c *corev1.Container) { c.LivenessProbe.HTTPGet.Host = "169.254.169.254" },
		[]string{"host-probes spec.containers[1].livenessProbe.httpGet.host"}},
	"a handler of another host": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{TCPSocket: &corev1.TCPSocketAction{Host: "x"}}}
	}, []string{"host-probes spec.containers[1].lifecycle.preStop.tcpSocket.host"}},
	"no AppArmor": {func(q *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: "Unconfined"}
		q.Meta.Annotations = map[string]string{"container.apparmor.security.beta.kubernetes.io/app": "unconfined"}
	}, []string{
		"apparmor metadata.annotations[container.apparmor.security.beta.kubernetes.io/app]", "apparmor spec.containers[1].securityContext.appArmorProfile.type",
	}},
	"an odd label of SELinux": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.SecurityContext.SELinuxOptions = &corev1.SELinuxOptions{Type: "spc_t", User: "u", Role: "r"}
	}, []string{"selinux spec.securityContext.seLinuxOptions.role", "selinux spec.securityContext.seLinuxOptions.type", "selinux spec.securityContext.seLinuxOptions.user"}},
	"no seccomp": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: "Unconfined"}
	}, []string{"seccomp spec.containers[1].securityContext.seccompProfile.type"}},
	"seccomp that nobody asks for": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Spec.SecurityContext.SeccompProfile = nil
		c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: "Localhost"}
	}, []string{"seccomp spec.containers[0].securityContext.seccompProfile.type"}},
	"all of proc": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.SecurityContext.ProcMount = new(corev1.UnmaskedProcMount)
	},
		[]string{"proc-mount spec.containers[1].securityContext.procMount"}},
	"sysctls": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.tcp_rmem"}, {Name: "kernel.msgmax"}}
	}, []string{"sysctls spec.securityContext.sysctls[1].name"}},
	"a process of the node": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.SecurityContext.WindowsOptions = &corev1.WindowsSecurityContextOptions{HostProcess: new(true)}
	}, []string{"host-process spec.securityContext.windowsOptions.hostProcess"}},
	"more privileges later": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.AllowPrivilegeEscalation = nil },
		[]string{"privilege-escalation spec.containers[1].securityContext.allowPrivilegeEscalation"}},
	"a container that may be root": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.RunAsNonRoot = new(false) },
		[]string{"run-as-non-root spec.containers[1].securityContext.runAsNonRoot"}},
	"nobody says non-root": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Spec.SecurityContext.RunAsNonRoot = nil
		c.SecurityContext.RunAsNonRoot = new(true)
	}, []string{"run-as-non-root spec.containers[0].securityContext.runAsNonRoot"}},
	"a pod that may be root": {func(q *rules.PodQuestion, _ *corev1.Container) { q.Spec.SecurityContext.RunAsNonRoot = new(false) },
		[]string{"run-as-non-root spec.securityContext.runAsNonRoot"}},
	"root": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64(0)) },
		[]string{"root-user spec.containers[1].securityContext.runAsUser", "user spec.containers[1].securityContext.runAsUser"}},
	"another user": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64(65533)) },
		[]string{"user spec.containers[1].securityContext.runAsUser"}},
	"a file system that is written to": {func(_ *rules.PodQuestion, c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = nil },
		[]string{"read-only-root-filesystem spec.containers[1].securityContext.readOnlyRootFilesystem"}},
	"no limit, and one of 0": {func(_ *rules.PodQuestion, c *corev1.Container) {
		c.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("0")}
	}, []string{"limits spec.containers[1].resources.limits.cpu", "limits spec.containers[1].resources.limits.memory"}},
	"a token that nobody asked for": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.AutomountServiceAccountToken = nil
		q.Spec.Volumes = append(q.Spec.Volumes, token("kube-api-access-abcde"))
	}, []string{"service-account-token spec.automountServiceAccountToken"}},
	"a token that was asked for": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.AutomountServiceAccountToken = new(true)
		q.Spec.Volumes = append(q.Spec.Volumes, token("kube-api-access-abcde"), token("mine"))
	}, nil},
	"no token, by the ServiceAccount": {func(q *rules.PodQuestion, _ *corev1.Container) { q.Spec.AutomountServiceAccountToken = nil }, nil},
	"forbidden tokens": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Parameters.ServiceAccountToken = "Forbid"
		q.Spec.AutomountServiceAccountToken = new(true)
		q.Spec.Volumes = append(q.Spec.Volumes, token("kube-api-access-abcde"), token("mine"))
	}, []string{"service-account-token spec.automountServiceAccountToken", "service-account-token spec.volumes[2].projected.sources[1].serviceAccountToken"}},
	"tokens that do not matter": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Parameters.ServiceAccountToken = "Allow"
		q.Spec.AutomountServiceAccountToken = nil
		q.Spec.Volumes = append(q.Spec.Volumes, token("kube-api-access-abcde"), token("mine"))
	}, nil},
	"a template that does not say": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Kind, q.Path = "Deployment", "spec.template.spec"
		q.Fields = map[string]bool{}
		q.Spec.AutomountServiceAccountToken = nil
	}, []string{"service-account-token spec.template.spec.automountServiceAccountToken"}},
	"a template whose ServiceAccount says no": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Kind, q.Automount, q.Spec.AutomountServiceAccountToken = "Deployment", new(false), nil
	}, nil},
	"a template with a forbidden token": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Parameters.ServiceAccountToken = "Forbid"
		q.Kind, q.Automount, q.Spec.AutomountServiceAccountToken = "Deployment", new(false), new(true)
	}, []string{"service-account-token spec.automountServiceAccountToken"}},
	"a template without a token where tokens are forbidden": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Parameters.ServiceAccountToken, q.Kind = "Forbid", "Deployment"
	}, nil},
	"an image of which nothing is known": {func(q *rules.PodQuestion, _ *corev1.Container) { delete(q.Images, "spec.containers[1].image") },
		[]string{"image-age spec.containers[1].image", "image-label spec.containers[1].image", "image-shell spec.containers[1].image"}},
	"an image of which little is known": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Images["spec.containers[1].image"] = rules.ImageFacts{Known: true, Labels: map[string]string{"org.opencontainers.image.source": " "}}
	}, []string{"image-age spec.containers[1].image", "image-label spec.containers[1].image", "image-shell spec.containers[1].image"}},
	"an image that is old and has a shell": {func(q *rules.PodQuestion, _ *corev1.Container) {
		old := facts()
		old.SignedAt, old.Shells = now.Add(-31*24*time.Hour), rules.ShellsFound
		q.Images["spec.containers[1].image"] = old
	}, []string{"image-age spec.containers[1].image", "image-shell spec.containers[1].image"}},
	"an image volume of which nothing is known": {func(q *rules.PodQuestion, _ *corev1.Container) {
		q.Spec.Volumes = append(q.Spec.Volumes, volume("x", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}))
	}, []string{"image-age spec.volumes[1].image.reference", "image-label spec.volumes[1].image.reference", "image-shell spec.volumes[1].image.reference"}},
	"too many containers": {func(q *rules.PodQuestion, _ *corev1.Container) { q.Spec.InitContainers = make([]corev1.Container, 255) },
		[]string{"size spec"}},
	"too many volumes": {func(q *rules.PodQuestion, _ *corev1.Container) { q.Spec.Volumes = make([]corev1.Volume, 1025) },
		[]string{"size spec"}},
	"an init container and one for debugging": {func(q *rules.PodQuestion, _ *corev1.Container) {
		for _, c := range []corev1.Container{conforming()} {
			c.SecurityContext.Privileged = new(true)
			c.Resources.Limits = nil
			q.Spec.InitContainers = []corev1.Container{c}
			q.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)}}
		}
		q.Images["spec.initContainers[0].image"], q.Images["spec.ephemeralContainers[0].image"] = facts(), facts()
	}, []string{
		"privileged spec.ephemeralContainers[0].securityContext.privileged",
		"limits spec.initContainers[0].resources.limits.cpu", "limits spec.initContainers[0].resources.limits.memory",
		"privileged spec.initContainers[0].securityContext.privileged",
	}},
	"another profile": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Profile, q.Parameters = "Baseline", rules.PodParameters{}
		q.Spec.SecurityContext = nil
		c.SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CHOWN", "SYS_ADMIN"}}}
		q.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}
		q.Images = nil
	}, []string{"capabilities spec.containers[1].securityContext.capabilities.add[1]"}},
	"Windows": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
		q.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true)}
		q.Spec.Containers[0].SecurityContext, c.SecurityContext = nil, nil
	}, nil},
	// Kubernetes' restricted overrides its baseline here, and then exempts Windows, where the apiserver takes neither.
	"what Windows has no use for": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Spec.OS = &corev1.PodOS{Name: corev1.Windows}
		c.SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
		c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: "Unconfined"}
	}, nil},
	"a user namespace": {func(q *rules.PodQuestion, c *corev1.Container) {
		q.Spec.HostUsers = new(false)
		q.Parameters.Users = nil
		q.Spec.SecurityContext.RunAsNonRoot, c.SecurityContext.RunAsUser = nil, new(int64(0))
	}, nil},
}

func judged(t *testing.T, p *rules.Pods, tc ruleCase) []rules.PodFinding {
	t.Helper()
	q := question(2)
	tc.change(&q, &q.Spec.Containers[1])
	return evaluate(t, p, q)
}

func TestRulesForPods(t *testing.T) {
	t.Parallel()
	p := compilePods(t)
	for name, tc := range ruleCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found := judged(t, p, tc)
			if diff := cmp.Diff(tc.want, places(found)); diff != "" {
				t.Errorf("(-expected +found)\n%s%v", diff, found)
			}
		})
	}
}

func TestEveryRuleForPodsFindsSomething(t *testing.T) {
	t.Parallel()
	p := compilePods(t)
	seen := map[string]bool{}
	for _, tc := range ruleCases {
		for _, f := range judged(t, p, tc) {
			seen[f.Rule] = true
		}
	}
	for _, name := range p.Rules() {
		if !seen[name] {
			t.Errorf("nothing shows what %s finds", name)
		}
		delete(seen, name)
	}
	if len(seen) > 0 || len(p.Rules()) < 20 {
		t.Errorf("these rules are not in the list: %v", seen)
	}
}

func TestWhoAContainerRunsAs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		container, pod *int64
		image          rules.ImageFacts
		finding        string
	}{
		"the container says":                           {container: new(int64(65532)), pod: new(int64(1)), image: rules.ImageFacts{Known: true, User: "0"}},
		"the pod says":                                 {pod: new(int64(10_005)), image: rules.ImageFacts{Known: true, User: "0"}},
		"the image says":                               {image: rules.ImageFacts{Known: true, User: "65532:0"}},
		"the image says, with zeros":                   {image: rules.ImageFacts{Known: true, User: "0065532"}},
		"the container says another":                   {container: new(int64(1)), pod: new(int64(65532)), finding: "runAsUser is 1, but it must run as 65532 or 10000 to 10010"},
		"the container says root":                      {container: new(int64(0)), pod: new(int64(65532)), finding: "runAsUser is 0, but"},
		"the pod says another":                         {pod: new(int64(10_011)), finding: "runAsUser of the pod is 10011, but"},
		"the image says another":                       {image: rules.ImageFacts{Known: true, User: "9999:65532"}, finding: "the image runs as user 9999, but"},
		"the image says a name":                        {image: rules.ImageFacts{Known: true, User: "nonroot"}, finding: `nobody knows the number of the user "nonroot"`},
		"the image says a name that looks as a number": {image: rules.ImageFacts{Known: true, User: "65532x"}, finding: `nobody knows the number`},
		"the image says a sign":                        {image: rules.ImageFacts{Known: true, User: "+65532"}, finding: `nobody knows the number`},
		"the image says nothing but a group":           {image: rules.ImageFacts{Known: true, User: ":65532"}, finding: `nobody knows the number`},
		"the image says too large a number":            {image: rules.ImageFacts{Known: true, User: "18446744073709617148"}, finding: `nobody knows the number`},
		"the image says nothing":                       {image: rules.ImageFacts{Known: true}, finding: "the image runs as user 0, but"},
		"nothing is known of the image":                {image: rules.ImageFacts{User: "65532"}, finding: "nothing is known of the image"},
	}
	p := compilePods(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question(1)
			q.Spec.SecurityContext.RunAsUser = tc.pod
			q.Spec.Containers[0].SecurityContext.RunAsUser = tc.container
			q.Parameters = rules.PodParameters{Users: []rules.UserRange{{Min: 65532, Max: 65532}, {Min: 10_000, Max: 10_010}}}
			q.Images["spec.containers[0].image"] = tc.image
			found := evaluate(t, p, q)
			found = slices.DeleteFunc(found, func(f rules.PodFinding) bool { return f.Rule == "root-user" })
			switch {
			case tc.finding == "" && len(found) > 0:
				t.Errorf("found %v", found)
			case tc.finding != "" && (len(found) != 1 || !strings.Contains(found[0].Message, tc.finding)):
				t.Errorf("found %v, want %q", found, tc.finding)
			}
		})
	}
}

func TestOnlyContainersOfThePolicyAreJudged(t *testing.T) {
	t.Parallel()
	q := question(3)
	q.Spec.HostPID = true
	for i := range q.Spec.Containers {
		q.Spec.Containers[i].SecurityContext.Privileged = new(true)
	}
	q.Spec.Volumes = append(q.Spec.Volumes, volume("x", corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}))
	q.Fields = map[string]bool{"spec.containers[1].image": true}
	want := []string{"privileged spec.containers[1].securityContext.privileged", "host-namespaces spec.hostPID"}
	if diff := cmp.Diff(want, places(evaluate(t, compilePods(t), q))); diff != "" {
		t.Error(diff)
	}
}

func TestMessagesSayWhatToDo(t *testing.T) {
	t.Parallel()
	q := question(1)
	q.Path, q.Kind, q.Images, q.Fields = "spec.jobTemplate.spec.template.spec", "CronJob", nil, nil
	q.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	q.Parameters = rules.PodParameters{ImageMaxAge: 36 * time.Hour}
	const container = "spec.jobTemplate.spec.template.spec.containers[0]"
	old := facts()
	old.SignedAt = now.Add(-72 * time.Hour)
	q.Images = map[string]rules.ImageFacts{container + ".image": old}
	want := []rules.PodFinding{
		{Rule: "image-age", Field: container + ".image", Message: "it was signed 3 days ago, but the image must have been signed within 36 hours", Fix: "use an image that was built again"},
		{Rule: "privilege-escalation", Field: container + ".securityContext.allowPrivilegeEscalation", Message: "allowPrivilegeEscalation is true, but it must be false", Fix: "write allowPrivilegeEscalation: false"},
	}
	if diff := cmp.Diff(want, evaluate(t, compilePods(t), q)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCantBeJudgedIsNoVerdict(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*rules.PodQuestion){
		"no spec":                   func(q *rules.PodQuestion) { q.Spec = nil },
		"no profile":                func(q *rules.PodQuestion) { q.Profile = "" },
		"a profile that is not one": func(q *rules.PodQuestion) { q.Profile = "restricted" },
		"no version":                func(q *rules.PodQuestion) { q.Version = "" },
		"a strange version":         func(q *rules.PodQuestion) { q.Version = "2.1" },
		"an old version":            func(q *rules.PodQuestion) { q.Version = "1.24" },
		"a strange parameter":       func(q *rules.PodQuestion) { q.Parameters.ServiceAccountToken = "Never" },
	}
	p := compilePods(t)
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question(1)
			change(&q)
			if found, err := p.Evaluate(t.Context(), q); err == nil || found != nil {
				t.Errorf("got %v, %v", found, err)
			}
		})
	}
	for _, version := range []string{"v1.37.2", "1.37+", "1.99", "1.25.1-gke.1"} {
		q := question(1)
		q.Version = version
		if found := evaluate(t, p, q); found != nil {
			t.Errorf("%s: %v", version, found)
		}
	}
}

func TestTheEndOfTheContextIsNoVerdictOnAPod(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the client has gone")
	cancel(gone)
	found, err := compilePods(t).Evaluate(ctx, question(1))
	if !errors.Is(err, gone) || pipeline.IsTerminal(err) || found != nil {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestAPodThatTakesTooMuchIsNoVerdict(t *testing.T) {
	t.Parallel()
	q := question(1)
	for range 100_000 {
		q.Spec.SecurityContext.Sysctls = append(q.Spec.SecurityContext.Sysctls, corev1.Sysctl{Name: "x"})
	}
	found, err := compilePods(t).Evaluate(t.Context(), q)
	terminal(t, err, pipeline.ReasonPolicyBudgetExceeded, nil)
	if found != nil {
		t.Error(found)
	}
}

func TestFindingsInPodsAreBounded(t *testing.T) {
	t.Parallel()
	q := question(1)
	q.Spec.HostPID = true
	for range 200 {
		q.Spec.SecurityContext.Sysctls = append(q.Spec.SecurityContext.Sysctls, corev1.Sysctl{Name: strings.Repeat("é", 5000)})
	}
	for range 100 {
		c := conforming()
		c.SecurityContext.Privileged = new(true)
		q.Spec.InitContainers = append(q.Spec.InitContainers, c)
		q.Images[fmt.Sprintf("spec.initContainers[%d].image", len(q.Spec.InitContainers)-1)] = facts()
	}
	found := evaluate(t, compilePods(t), q)
	if len(found) > rules.MaxPodFindings || !strings.Contains(fmt.Sprint(found), "more findings)") {
		t.Errorf("there are %d findings: %v", len(found), found[len(found)-1])
	}
	count := map[string]int{}
	for _, f := range found {
		count[f.Rule]++
	}
	for _, rule := range []string{"host-namespaces", "sysctls", "privileged"} {
		if count[rule] == 0 {
			t.Errorf("nothing is left of %s: %v", rule, count)
		}
	}
}

func TestPodsAreJudgedConcurrently(t *testing.T) {
	t.Parallel()
	p := compilePods(t, rules.Module{Name: "a.rego", Source: "package team\n\ndeny contains \"x\" if input.spec.containers[0].resources.limits.cpu == \"1\"\n"})
	q := question(3)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if found, err := p.Evaluate(t.Context(), q); err != nil || len(found) != 1 {
					t.Errorf("got %v, %v", found, err)
				}
			}
		})
	}
	all.Wait()
}
