package rules_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	psa "k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/internal/rules"
)

// The versions in which a control changed, and those beside them.
var minors = []int{25, 26, 27, 29, 30, 31, 32, 33, 34, 35, 36, 37}

var profiles = map[string]api.Level{"Baseline": api.LevelBaseline, "Restricted": api.LevelRestricted}

// standards is how Kubernetes itself judges pods.
type standards struct {
	psa.Evaluator
	ours *rules.Pods
}

func newStandards(t testing.TB) standards {
	t.Helper()
	evaluator, err := psa.NewEvaluator(psa.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return standards{Evaluator: evaluator, ours: compilePods(t)}
}

func compilePods(t testing.TB, extra ...rules.Module) *rules.Pods {
	t.Helper()
	p, err := rules.CompilePods(extra)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// agree judges a pod both ways, and returns whether it is allowed.
func (s standards) agree(t testing.TB, profile string, minor int, pod *corev1.Pod) bool {
	t.Helper()
	level := api.LevelVersion{Level: profiles[profile], Version: api.MajorMinorVersion(1, minor)}
	theirs := psa.AggregateCheckResults(s.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	findings, err := s.ours.Evaluate(t.Context(), rules.PodQuestion{
		Spec: &pod.Spec, Meta: &pod.ObjectMeta, Kind: "Pod", Profile: profile, Version: fmt.Sprintf("1.%d", minor), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if theirs.Allowed != (len(findings) == 0) {
		text, _ := json.Marshal(pod)
		t.Errorf("%s 1.%d: Kubernetes says %q, we say %v, of\n%s", profile, minor, theirs.ForbiddenDetail(), findings, text)
	}
	return theirs.Allowed
}

func TestTheFixturesOfKubernetesAreJudgedAsKubernetesJudgesThem(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/pod-security-admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "test", "testdata")
	s := newStandards(t)
	for profile, level := range profiles {
		for _, minor := range minors {
			t.Run(fmt.Sprintf("%s 1.%d", profile, minor), func(t *testing.T) {
				t.Parallel()
				count := map[string]int{}
				files, _ := filepath.Glob(filepath.Join(root, string(level), fmt.Sprintf("v1.%d", minor), "*", "*.yaml"))
				for _, file := range files {
					dir := filepath.Base(filepath.Dir(file))
					count[dir]++
					if allowed := s.agree(t, profile, minor, fixture(t, file)); allowed != (dir == "pass") {
						t.Errorf("%s is allowed: %t", file, allowed)
					}
				}
				if count["pass"] < 5 || count["fail"] < 20 {
					t.Errorf("there are too few fixtures to mean anything: %v", count)
				}
			})
		}
	}
}

func fixture(t *testing.T, file string) *corev1.Pod {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(content, pod); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	// What the apiserver makes of a volume that says nothing.
	for i, v := range pod.Spec.Volumes {
		if v.VolumeSource == (corev1.VolumeSource{}) {
			pod.Spec.Volumes[i].EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
	return pod
}

func TestPodsOfChanceAreJudgedAsKubernetesJudgesThem(t *testing.T) {
	t.Parallel()
	s := newStandards(t)
	for profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			g := generator{rand.New(rand.NewPCG(1, 2))}
			var allowed int
			const pods = 4000
			for range pods {
				if s.agree(t, profile, minors[g.IntN(len(minors))], g.pod()) {
					allowed++
				}
				if t.Failed() {
					return
				}
			}
			if allowed < pods/20 || allowed > pods*19/20 {
				t.Errorf("%d of %d pods are allowed: that says little", allowed, pods)
			}
		})
	}
}

// generator makes pods in which most is well, and a few things are not.
type generator struct{ *rand.Rand }

// seldom is true one time in n.
func (g generator) seldom(n int) bool { return g.IntN(n) == 0 }

// odd is one of the choices one time in 24, and otherwise nothing.
func odd[T any](g generator, choices ...T) *T {
	if !g.seldom(24) {
		return nil
	}
	return &choices[g.IntN(len(choices))]
}

func oddText[T ~string](g generator, choices ...T) T {
	if p := odd(g, choices...); p != nil {
		return *p
	}
	return ""
}

func (g generator) pod() *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{"a": "b"}}}
	if g.seldom(12) {
		name := corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + []string{"c0", "other", ""}[g.IntN(3)]
		pod.Annotations[name] = []string{"", "runtime/default", "localhost/x", "unconfined", "localhost", "runtime/default/x"}[g.IntN(6)]
	}
	spec := &pod.Spec
	spec.HostNetwork, spec.HostPID, spec.HostIPC = g.seldom(30), g.seldom(30), g.seldom(30)
	if g.seldom(4) {
		spec.HostUsers = new(g.seldom(3))
	}
	if g.seldom(5) {
		spec.OS = &corev1.PodOS{Name: []corev1.OSName{corev1.Windows, corev1.Linux, "Windows", ""}[g.IntN(4)]}
	}
	spec.SecurityContext = g.podContext()
	for range g.IntN(3) {
		spec.Volumes = append(spec.Volumes, g.volume())
	}
	for i := range 1 + g.IntN(2) {
		spec.Containers = append(spec.Containers, g.container(fmt.Sprint("c", i)))
	}
	for range g.IntN(2) {
		spec.InitContainers = append(spec.InitContainers, g.container("init"))
	}
	if g.seldom(3) {
		spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(g.container("debug"))})
	}
	return pod
}

func (g generator) podContext() *corev1.PodSecurityContext {
	if g.seldom(8) {
		return nil
	}
	c := &corev1.PodSecurityContext{
		RunAsUser: odd(g, int64(0), 1, -1), AppArmorProfile: g.appArmor(), SELinuxOptions: g.seLinux(), WindowsOptions: g.windows(), SeccompProfile: g.seccomp(),
	}
	if !g.seldom(3) {
		c.RunAsNonRoot = new(!g.seldom(12))
	}
	for g.seldom(6) {
		c.Sysctls = append(c.Sysctls, corev1.Sysctl{Name: []string{
			"kernel.shm_rmid_forced", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_rmem", "net.ipv4.tcp_notsent_lowat",
			"kernel.msgmax", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_wmem", "", "NET.IPV4.TCP_WMEM",
		}[g.IntN(11)]})
	}
	return c
}

func (g generator) appArmor() *corev1.AppArmorProfile {
	return odd(g, corev1.AppArmorProfile{Type: "RuntimeDefault"}, corev1.AppArmorProfile{Type: "Localhost"}, corev1.AppArmorProfile{Type: "Unconfined"}, corev1.AppArmorProfile{})
}

func (g generator) seccomp() *corev1.SeccompProfile {
	if g.seldom(2) {
		return &corev1.SeccompProfile{Type: "RuntimeDefault"}
	}
	return odd(g, corev1.SeccompProfile{Type: "Localhost"}, corev1.SeccompProfile{Type: "Unconfined"}, corev1.SeccompProfile{}, corev1.SeccompProfile{Type: "runtimedefault"})
}

func (g generator) seLinux() *corev1.SELinuxOptions {
	return odd(g, corev1.SELinuxOptions{}, corev1.SELinuxOptions{Type: "container_t"}, corev1.SELinuxOptions{Type: "container_engine_t"}, corev1.SELinuxOptions{Type: "spc_t"},
		corev1.SELinuxOptions{User: "u"}, corev1.SELinuxOptions{Role: "r"}, corev1.SELinuxOptions{Level: "s0"}, corev1.SELinuxOptions{Type: "container_kvm_t", Level: "s0"})
}

func (g generator) windows() *corev1.WindowsSecurityContextOptions {
	return odd(g, corev1.WindowsSecurityContextOptions{}, corev1.WindowsSecurityContextOptions{HostProcess: new(false)}, corev1.WindowsSecurityContextOptions{HostProcess: new(true)})
}

func (g generator) container(name string) corev1.Container {
	c := corev1.Container{Name: name, Image: "x", LivenessProbe: g.probe(), ReadinessProbe: g.probe(), StartupProbe: g.probe()}
	if p, q := g.probe(), g.probe(); p != nil || q != nil {
		c.Lifecycle = &corev1.Lifecycle{PostStart: handler(p), PreStop: handler(q)}
	}
	for g.seldom(6) {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 1, HostPort: int32(g.IntN(3) * g.IntN(3))})
	}
	if g.seldom(10) {
		return c
	}
	c.SecurityContext = &corev1.SecurityContext{
		Privileged: odd(g, true, false), RunAsUser: odd(g, int64(0), 1), RunAsNonRoot: odd(g, true, true, false), AllowPrivilegeEscalation: new(g.seldom(20)),
		AppArmorProfile: g.appArmor(), SELinuxOptions: g.seLinux(), WindowsOptions: g.windows(), SeccompProfile: g.seccomp(),
		ProcMount: odd(g, corev1.DefaultProcMount, corev1.UnmaskedProcMount, ""), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if g.seldom(12) {
		c.SecurityContext.AllowPrivilegeEscalation = nil
	}
	if g.seldom(6) {
		c.SecurityContext.Capabilities = g.capabilities()
	}
	return c
}

func (g generator) capabilities() *corev1.Capabilities {
	return []*corev1.Capabilities{
		nil, {}, {Drop: []corev1.Capability{"NET_RAW"}}, {Drop: []corev1.Capability{"all"}}, {Drop: []corev1.Capability{"NET_RAW", "ALL"}},
		{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}}, {Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE", "CHOWN"}},
		{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"SYS_ADMIN"}}, {Add: []corev1.Capability{"ALL"}}, {Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{""}},
	}[g.IntN(10)]
}

func (g generator) probe() *corev1.Probe {
	host := oddText(g, "127.0.0.1", "example.com", " ")
	switch g.IntN(6) {
	case 0:
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Host: host}}}
	case 1:
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: host}}}
	case 2:
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}
	}
	return nil
}

func handler(p *corev1.Probe) *corev1.LifecycleHandler {
	if p == nil {
		return nil
	}
	return &corev1.LifecycleHandler{HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket}
}

func (g generator) volume() corev1.Volume {
	v := corev1.Volume{Name: "v"}
	if g.seldom(5) {
		v.VolumeSource = []corev1.VolumeSource{
			{}, {HostPath: &corev1.HostPathVolumeSource{}}, {NFS: &corev1.NFSVolumeSource{}}, {GitRepo: &corev1.GitRepoVolumeSource{}}, {ISCSI: &corev1.ISCSIVolumeSource{}},
			{FlexVolume: &corev1.FlexVolumeSource{}}, {AzureFile: &corev1.AzureFileVolumeSource{}}, {StorageOS: &corev1.StorageOSVolumeSource{}},
		}[g.IntN(8)]
		return v
	}
	v.VolumeSource = []corev1.VolumeSource{
		{EmptyDir: &corev1.EmptyDirVolumeSource{}}, {ConfigMap: &corev1.ConfigMapVolumeSource{}}, {Secret: &corev1.SecretVolumeSource{}}, {Image: &corev1.ImageVolumeSource{}},
		{CSI: &corev1.CSIVolumeSource{}}, {Ephemeral: &corev1.EphemeralVolumeSource{}}, {DownwardAPI: &corev1.DownwardAPIVolumeSource{}},
		{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}, {Projected: &corev1.ProjectedVolumeSource{}},
	}[g.IntN(9)]
	return v
}
